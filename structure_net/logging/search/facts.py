"""What is known of an experiment: the value that is indexed, found and filtered by."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

from structure_net.errors import SearchError

Scalar = str | int | float | bool


@dataclass(frozen=True, slots=True)
class ExperimentFacts:
    """An experiment as far as it is known; what is not known keeps its default.

    Args:
        name: Tells it from all others in an index, such as a run's folder.
        kind: ``run``, ``trial``, or a word of the caller's own.
        model: What kind of network, in a few words or by its class, such as ``MLP``.
        dataset: The name of the data set.
        status: ``finished``, ``interrupted``, ``stopped``, ``failed``, ...
        reason: Why it ended as it did.
        created: When it began: ISO 8601.
        seed: Decides its random choices.
        start_widths: The network's widths at birth, from input to output.
        widths: At the end.
        start_parameters: Live parameters at birth.
        parameters: At the end.
        start_connections: Live connections at birth.
        connections: At the end.
        start_density: Live connections over possible ones at birth, in (0, 1].
        density: At the end.
        curves: Measured values by name, one for each epoch; not finite where training failed.
        edits: How often each kind of edit was made and kept, by its class: ``AddNeurons``, ...
            ``MoveConnections`` counts as one that removes and one that adds.
        edited_at: When, by the same names: fractions of the run in [0, 1].
        strategies: How many edits each strategy made, by its class; 0 for one that made none.
        taken_back: Edits that were tried and taken back.
        metrics: Results by name, such as ``test_accuracy``.
        settings: What was asked for, by name, such as ``learning_rate``.
        seconds: Wall-clock time.
        tags: Words to find it by.
        text: What else there is to say: a question, a note, an arm of a comparison.

    Raises:
        SearchError: The name is empty.
    """

    name: str
    kind: str = "run"
    model: str = ""
    dataset: str = ""
    status: str = ""
    reason: str = ""
    created: str = ""
    seed: int | None = None
    start_widths: tuple[int, ...] = ()
    widths: tuple[int, ...] = ()
    start_parameters: int | None = None
    parameters: int | None = None
    start_connections: int | None = None
    connections: int | None = None
    start_density: float | None = None
    density: float | None = None
    curves: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    edits: Mapping[str, int] = field(default_factory=dict)
    edited_at: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    strategies: Mapping[str, int] = field(default_factory=dict)
    taken_back: int = 0
    metrics: Mapping[str, float] = field(default_factory=dict)
    settings: Mapping[str, Scalar] = field(default_factory=dict)
    seconds: float | None = None
    tags: tuple[str, ...] = ()
    text: str = ""

    def __post_init__(self) -> None:
        if not self.name:
            raise SearchError("An experiment must have a name that tells it from others; got ''.")
        for item in ("start_widths", "widths", "tags"):
            object.__setattr__(self, item, tuple(getattr(self, item)))
        for item in ("curves", "edited_at"):
            series = {key: tuple(values) for key, values in getattr(self, item).items()}
            object.__setattr__(self, item, series)

    @property
    def epochs(self) -> int:
        """The length of the longest curve."""
        return max(map(len, self.curves.values()), default=0)

    def to_json(self) -> str:
        """The facts as one line of JSON."""
        names = (item.name for item in dataclasses.fields(self))
        return json.dumps({name: getattr(self, name) for name in names})

    @classmethod
    def from_json(cls, text: str) -> Self:
        """What `to_json` wrote."""
        return cls(**json.loads(text))
