"""When to grow: values that read the progress of training and answer with a reason, or None.

A trigger keeps no state of its own. Whatever it needs to know (the last growth, say) is in the
`Progress`, so that a resumed run decides as the uninterrupted one. Step triggers are asked after
every optimizer step, the others between epochs.

A metric that no epoch has measured is an error as soon as there is an epoch: a trigger that can
never fire is a mistake.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import Field, dataclass, fields
from numbers import Integral
from typing import ClassVar, Literal

from structure_net.errors import MissingAnalysisError
from structure_net.evolution.history import TrainingHistory


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a network stands in its life.

    Args:
        history: The epochs so far.
        step: Optimizer steps so far.
        growth_epoch: Epochs done when it last grew; 0 if it never did.
        growth_step: Steps taken when it last grew; 0 if it never did.
    """

    history: TrainingHistory
    step: int = 0
    growth_epoch: int = 0
    growth_step: int = 0

    @property
    def epoch(self) -> int:
        """Epochs so far."""
        return self.history.epoch


class Trigger(ABC):
    """Answers with a reason to grow now, or None.

    ``every_step``: whether it is asked after each step rather than between epochs.
    """

    every_step: ClassVar[bool] = False

    @abstractmethod
    def due(self, progress: Progress) -> str | None:
        """The reason to grow now, in words; None if there is none.

        Raises:
            MissingAnalysisError: It reads a metric that none of the epochs so far has measured.
        """

    @property
    def in_steps(self) -> bool:
        """Whether this trigger, or one that it is made of, is asked after each step."""
        return self.every_step

    def __and__(self, other: Trigger) -> All:
        return All(self, other)

    def __or__(self, other: Trigger) -> Any:
        return Any(self, other)

    def __invert__(self) -> Not:
        return Not(self)


@dataclass(frozen=True, slots=True)
class Plateau(Trigger):
    """Due when a metric has not improved by ``min_delta`` for ``patience`` epochs.

    Epochs are counted since the last growth, so that growth is given time to act. The first of
    them sets the level to beat.

    Raises:
        ValueError: ``patience`` is below 1 or ``min_delta`` negative.
    """

    patience: int = 3
    min_delta: float = 0.0
    metric: str = "validation_loss"
    mode: Literal["min", "max"] = "min"

    def __post_init__(self) -> None:
        _at_least("patience", self.patience, 1)
        if self.min_delta < 0:
            raise ValueError(f"min_delta must be 0 or more; got {self.min_delta}.")
        if self.mode not in {"min", "max"}:
            raise ValueError(f"mode must be 'min' or 'max'; got {self.mode!r}.")

    def due(self, progress: Progress) -> str | None:
        """See `Trigger.due`."""
        _check_measured(self, progress, self.metric)
        sign = 1.0 if self.mode == "min" else -1.0
        values = [
            sign * record.metrics[self.metric]
            for record in progress.history.since(progress.growth_epoch)
            if self.metric in record.metrics
        ]
        if not values:
            return None
        best, waited = values[0], 0
        for value in values[1:]:
            improved = value < best - self.min_delta
            best, waited = (value, 0) if improved else (best, waited + 1)
        if waited < self.patience:
            return None
        return f"{self.metric} did not improve on {sign * best:.4g} for {waited} epochs"


@dataclass(frozen=True, slots=True)
class Cooldown(Trigger):
    """Due when at least ``epochs`` epochs and ``steps`` steps have passed since the last growth.

    A network that never grew counts from its birth. Combine it with another trigger by `All`.

    Raises:
        ValueError: A number is negative.
    """

    epochs: int = 0
    steps: int = 0

    def __post_init__(self) -> None:
        _at_least("epochs", self.epochs, 0)
        _at_least("steps", self.steps, 0)

    def due(self, progress: Progress) -> str | None:
        """See `Trigger.due`."""
        epochs = progress.epoch - progress.growth_epoch
        steps = progress.step - progress.growth_step
        if epochs < self.epochs or steps < self.steps:
            return None
        return f"{epochs} epochs and {steps} steps since the last growth"


@dataclass(frozen=True, slots=True)
class EveryNSteps(Trigger):
    """Due after every ``n``-th optimizer step of the network's life.

    Raises:
        ValueError: ``n`` is below 1.
    """

    n: int
    every_step: ClassVar[bool] = True

    def __post_init__(self) -> None:
        _at_least("n", self.n, 1)

    def due(self, progress: Progress) -> str | None:
        """See `Trigger.due`."""
        fired = progress.step > 0 and progress.step % self.n == 0
        return f"step {progress.step}" if fired else None


@dataclass(frozen=True, slots=True)
class EveryNEpochs(Trigger):
    """Due after every ``n``-th epoch of the network's life.

    Raises:
        ValueError: ``n`` is below 1.
    """

    n: int

    def __post_init__(self) -> None:
        _at_least("n", self.n, 1)

    def due(self, progress: Progress) -> str | None:
        """See `Trigger.due`."""
        fired = progress.epoch > 0 and progress.epoch % self.n == 0
        return f"epoch {progress.epoch}" if fired else None


@dataclass(frozen=True, slots=True)
class MetricAbove(Trigger):
    """Due when the newest epoch's ``metric`` is above ``threshold``."""

    metric: str
    threshold: float

    def due(self, progress: Progress) -> str | None:
        """See `Trigger.due`."""
        value = _newest(self, progress, self.metric)
        fired = value is not None and value > self.threshold
        return f"{self.metric} {value:.4g} is above {self.threshold:.4g}" if fired else None


@dataclass(frozen=True, slots=True)
class MetricBelow(Trigger):
    """Due when the newest epoch's ``metric`` is below ``threshold``."""

    metric: str
    threshold: float

    def due(self, progress: Progress) -> str | None:
        """See `Trigger.due`."""
        value = _newest(self, progress, self.metric)
        fired = value is not None and value < self.threshold
        return f"{self.metric} {value:.4g} is below {self.threshold:.4g}" if fired else None


@dataclass(frozen=True, slots=True, init=False)
class _Several(Trigger):
    """Triggers together."""

    triggers: tuple[Trigger, ...]

    def __init__(self, *triggers: Trigger) -> None:
        object.__setattr__(self, "triggers", _parts(triggers))

    @property
    def in_steps(self) -> bool:
        """Whether any part is asked after each step."""
        return any(trigger.in_steps for trigger in self.triggers)


@dataclass(frozen=True, slots=True, init=False)
class All(_Several):
    """Due when all of ``triggers`` are."""

    def due(self, progress: Progress) -> str | None:
        """See `Trigger.due`."""
        reasons = [trigger.due(progress) for trigger in self.triggers]
        said = [reason for reason in reasons if reason is not None]
        return " and ".join(said) if len(said) == len(reasons) else None


@dataclass(frozen=True, slots=True, init=False)
class Any(_Several):
    """Due when any of ``triggers`` is; the first reason counts."""

    def due(self, progress: Progress) -> str | None:
        """See `Trigger.due`."""
        reasons = (trigger.due(progress) for trigger in self.triggers)
        return next((reason for reason in reasons if reason is not None), None)


@dataclass(frozen=True, slots=True)
class Not(Trigger):
    """Due when ``trigger`` is not."""

    trigger: Trigger

    @property
    def in_steps(self) -> bool:
        """Whether the part is asked after each step."""
        return self.trigger.in_steps

    def due(self, progress: Progress) -> str | None:
        """See `Trigger.due`."""
        return None if self.trigger.due(progress) is not None else f"not {self.trigger}"


def _fields(trigger: Trigger | type[Trigger]) -> tuple[Field[object], ...]:
    # Every kind is a dataclass, but the interface is open to users and is none.
    return fields(trigger)  # type: ignore[arg-type]


def trigger_to_dict(trigger: Trigger) -> dict[str, object]:
    """A trigger as plain data, ready for JSON: its class under ``kind``, then its fields.

    Raises:
        TypeError: The trigger is not one of this module.
    """
    name = _NAMES.get(type(trigger))
    if name is None:
        known = ", ".join(sorted(_KINDS))
        raise TypeError(f"A stored trigger must be one of {known}; got {type(trigger).__name__}.")
    values = {item.name: _stored(getattr(trigger, item.name)) for item in _fields(trigger)}
    return {"kind": name, **values}


def trigger_from_dict(data: Mapping[str, object]) -> Trigger:
    """The trigger that `trigger_to_dict` wrote.

    Raises:
        ValueError: The name or a field is unknown, or a value is out of range.
    """
    values = dict(data)
    name = values.pop("kind", None)
    kind = _KINDS.get(name) if isinstance(name, str) else None
    if kind is None:
        raise ValueError(f"kind must be one of {', '.join(sorted(_KINDS))}; got {name!r}.")
    known = {item.name for item in _fields(kind)}
    if set(values) != known:
        raise ValueError(
            f"{name} must have the fields {', '.join(sorted(known))};"
            f" got {', '.join(sorted(values)) or 'none'}."
        )
    if "triggers" in known:
        return kind(*_read_parts(values["triggers"]))
    if "trigger" in known:
        (values["trigger"],) = _read_parts([values["trigger"]])
    return kind(**values)


def _read_parts(parts: object) -> list[Trigger]:
    if not isinstance(parts, list) or not all(isinstance(part, Mapping) for part in parts):
        raise ValueError(f"A combination must hold triggers; got {parts!r:.80}.")
    return [trigger_from_dict(part) for part in parts]


def _stored(value: object) -> object:
    if isinstance(value, Trigger):
        return trigger_to_dict(value)
    return [_stored(part) for part in value] if isinstance(value, tuple) else value


def _newest(reader: Trigger, progress: Progress, metric: str) -> float | None:
    _check_measured(reader, progress, metric)
    last = progress.history.last
    return None if last is None else last.metrics.get(metric)


def _check_measured(reader: Trigger, progress: Progress, metric: str) -> None:
    """Refuses a metric that none of the epochs so far has measured."""
    history = progress.history
    if len(history) and not any(metric in record.metrics for record in history):
        measured = {name for record in history for name in record.metrics}
        known = ", ".join(sorted(measured)) or "nothing"
        raise MissingAnalysisError(
            f"{type(reader).__name__} needs the metric {metric!r}, which no epoch so far has"
            f" measured (there is: {known}). Name one of these, or measure it: the validation_..."
            " metrics need a validation_loader, others are given to after_epoch."
        )


def _parts(triggers: tuple[Trigger, ...]) -> tuple[Trigger, ...]:
    if not triggers:
        raise ValueError("A combination needs at least one trigger; got none.")
    return triggers


def _at_least(name: str, value: object, least: int) -> None:
    if not isinstance(value, Integral):
        raise TypeError(f"{name} must be a whole number; got {value!r}.")
    if int(value) < least:
        raise ValueError(f"{name} must be {least} or more; got {value}.")


_KINDS: dict[str, type[Trigger]] = {
    "Plateau": Plateau,
    "Cooldown": Cooldown,
    "EveryNSteps": EveryNSteps,
    "EveryNEpochs": EveryNEpochs,
    "MetricAbove": MetricAbove,
    "MetricBelow": MetricBelow,
    "All": All,
    "Any": Any,
    "Not": Not,
}
_NAMES = {kind: name for name, kind in _KINDS.items()}
