"""The growths that a journal tells of, strategy by strategy: what triggers count from.

Behind each growth stands an event that says which strategy grew, when, and what triggered it.
Edits that only carry an earlier growth on (the hand-overs of a copy that fades in) are followed by
an event of another kind, so that they count nowhere: a cooldown goes on while copies fade in.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from torch import nn

from structure_net.core.statistics import live_parameters
from structure_net.surgery.edits import ShareNeurons
from structure_net.surgery.entries import EditEntry, EventEntry
from structure_net.surgery.journal import Journal

GREW: Final = "grew"
"""The kind of the journal's event behind each growth: when, and what triggered it."""

CONTINUED: Final = "continued"
"""The kind of the event behind edits that carry an earlier growth on; it holds the same."""

_CARRYING_ON: Final = (ShareNeurons,)
_NTH: Final = "nth"


@dataclass(frozen=True, slots=True)
class Grower:
    """A strategy of a system, as the journal tells it from others.

    Args:
        name: Its class name.
        nth: Which of the system's strategies of this class, from 1.
    """

    name: str
    nth: int = 1


@dataclass(frozen=True, slots=True)
class Growths:
    """How often something grew, and when it did last.

    Args:
        count: How often.
        epoch: Epochs done at the last time; 0 if there was none.
        step: Steps taken then.
        samples: Samples seen then; None where the loop did not tell.
    """

    count: int = 0
    epoch: int = 0
    step: int = 0
    samples: int | None = 0

    def since(self, seen: int | None) -> int | None:
        """How many of the samples ``seen`` came later; None where one of the two is not known."""
        return None if seen is None or self.samples is None else seen - self.samples


@dataclass(frozen=True, slots=True)
class Lived:
    """What a network has behind it, for triggers.

    Args:
        entries: Of the journal, which this is read from.
        growths: See `growths_of`.
        parameters: Live parameters now.
    """

    entries: int
    growths: Mapping[Grower | None, Growths]
    parameters: int


def lived(network: nn.Module, journal: Journal) -> Lived:
    """What ``network`` has behind it."""
    return Lived(len(journal), growths_of(journal), live_parameters(network))


def growers(names: Iterable[str]) -> tuple[Grower, ...]:
    """The strategies of a system, by their class names in order."""
    found: list[Grower] = []
    for name in names:
        found.append(Grower(name, 1 + sum(one.name == name for one in found)))
    return tuple(found)


def kind_of_growth(edits: Sequence[EditEntry]) -> str:
    """`CONTINUED` if all that was done carries an earlier growth on, else `GREW`."""
    carried = bool(edits) and all(isinstance(one.edit, _CARRYING_ON) for one in edits)
    return CONTINUED if carried else GREW


def growth_event(
    kind: str, grower: Grower, iteration: int, detail: Mapping[str, Any]
) -> EventEntry:
    """The event behind a growth of ``grower``, from which `growths_of` tells it again."""
    nth = {_NTH: grower.nth} if grower.nth > 1 else {}
    return EventEntry(kind, iteration, grower.name, {**detail, **nth})


def growths_of(journal: Journal) -> dict[Grower | None, Growths]:
    """The growths of each strategy that ever grew, and under None those of all together."""
    found: dict[Grower | None, Growths] = {None: Growths()}
    for event in journal.events(GREW):
        told = event.detail
        when = (told["epoch"], told["step"], told["samples"])
        for key in (None, Grower(event.component, told.get(_NTH, 1))):
            found[key] = Growths(found.get(key, Growths()).count + 1, *when)
    return found
