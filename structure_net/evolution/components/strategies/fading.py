"""Copies of units that fade in: what is due, as the journal tells.

A split whose copies begin without readers (`SplitNeurons` with a share below one half) is followed
by edits that hand readers over, epoch by epoch, until unit and copy share them equally. As long as
the two are alike the function stays; what they have learned apart by then moves it, by the fraction
that is handed over. Nothing is remembered but the journal, so that a resumed or replayed run goes
on where it was.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from structure_net.core.arguments import check_whole
from structure_net.evolution.context import NetworkContext
from structure_net.evolution.editing import Proposal
from structure_net.evolution.growths import GREW
from structure_net.evolution.interfaces import EditingStrategy
from structure_net.surgery.edits import (
    AddNeurons,
    DoubleWidth,
    MergeNeurons,
    RemoveNeurons,
    ResetNeurons,
    ShareNeurons,
    SplitNeurons,
)
from structure_net.surgery.entries import OPAQUE, EditEntry, Entry, WidthChange

EQUAL: Final = 0.5
_ROUNDING: Final = 1e-9


@dataclass(frozen=True, slots=True)
class Fade:
    """A copy that fades in.

    Args:
        layer: The layer.
        unit: The unit that was split.
        copy: Its copy.
        born: The copy's share at birth.
        share: Its share now, of what read the unit at birth.
        iteration: When it was split.
        epoch: When it was split, where the journal tells.
    """

    layer: str
    unit: int
    copy: int
    born: float
    share: float
    iteration: int
    epoch: int | None = None

    def due(self, context: NetworkContext, epochs: int) -> float:
        """The fraction that the unit has to hand over now, 0 where nothing is due."""
        if self.epoch is None:
            elapsed = context.iteration - self.iteration
        else:
            elapsed = context.history.epoch - self.epoch
        progress = min(1.0, max(0, elapsed) / epochs) if epochs else 1.0
        wanted = self.born + (EQUAL - self.born) * progress
        fraction = (wanted - self.share) / (1.0 - self.share)
        return fraction if fraction > _ROUNDING else 0.0


class FadeInStrategy(EditingStrategy):
    """Hands readers over to copies that fade in: ask it every epoch.

    `NeuronSplitStrategy` does so itself whenever it is asked; where a trigger asks it seldom, let
    this one stand beside it without a trigger.

    Args:
        progressive_activation_epochs: How long a copy takes.

    Raises:
        TypeError: It is not whole.
        ValueError: It is negative.
    """

    def __init__(self, progressive_activation_epochs: int = 5) -> None:
        check_whole(0, progressive_activation_epochs=progressive_activation_epochs)
        self.progressive_activation_epochs = progressive_activation_epochs

    def propose(self, context: NetworkContext, analysis: Any) -> list[Proposal]:
        """What is due."""
        del analysis
        return due_shares(context, self.progressive_activation_epochs)


def due_shares(context: NetworkContext, epochs: int) -> list[Proposal]:
    """The hand-overs that are due, so that a copy has its full share after ``epochs`` epochs.

    The clock is the epoch of the history, from that of the journal's event behind the split; the
    context's iteration where there is no such event.

    Args:
        context: Its journal, history and iteration are read.
        epochs: How long a copy takes; 0: all at once.
    """
    due: dict[tuple[str, float], list[Fade]] = {}
    for fade in fades(context.journal):
        fraction = fade.due(context, epochs)
        if fraction:
            due.setdefault((fade.layer, round(fraction, 12)), []).append(fade)
    return [
        Proposal(
            ShareNeurons(layer, tuple((fade.unit, fade.copy) for fade in together), fraction),
            f"fade in: {1 - (1 - together[0].share) * (1 - fraction):.0%} of the readers are the"
            " copies'",
        )
        for (layer, fraction), several in due.items()
        for together in _disjoint(several)
    ]


def fades(journal: Sequence[Entry] | Any) -> tuple[Fade, ...]:
    """The copies that have less than an equal share, and are known to be there still.

    Args:
        journal: The network's own. A change by hand ends what is known.
    """
    found: list[Fade] = []
    for entry in journal:
        if isinstance(entry, EditEntry):
            found = [fade for one in found for fade in _followed(one, entry)]
            found += _begun(entry)
        elif entry.kind == OPAQUE:
            found = []
        elif entry.kind == GREW:
            epoch = entry.detail.get("epoch")
            found = [replace(f, epoch=epoch) if f.epoch is None else f for f in found]
    return tuple(fade for fade in found if fade.share < EQUAL - _ROUNDING)


def _begun(entry: EditEntry) -> Iterator[Fade]:
    edit = entry.edit
    if not isinstance(edit, SplitNeurons) or edit.share >= EQUAL:
        return
    for change in entry.changes:
        before, after = change.before, change.after
        if change.layer != edit.layer or before is None or after is None:
            continue
        if after - before != len(edit.indices):
            continue
        for copy, unit in enumerate(edit.indices, before):
            yield Fade(edit.layer, unit, copy, edit.share, edit.share, entry.iteration)


def _followed(fade: Fade, entry: EditEntry) -> Iterator[Fade]:
    """The fade behind an edit, nothing where it ends."""
    edit = entry.edit
    if isinstance(edit, ShareNeurons) and edit.layer == fade.layer:
        given = (fade.unit, fade.copy) in edit.pairs
        left = (1 - fade.share) * (1 - edit.fraction)
        yield replace(fade, share=1 - left) if given else fade
        return
    if isinstance(edit, ResetNeurons) and edit.layer == fade.layer:
        if not {fade.unit, fade.copy} & set(edit.indices):
            yield fade
        return
    change = next((one for one in entry.changes if one.layer == fade.layer), None)
    places = range(max(fade.unit, fade.copy) + 1) if change is None else _places(change, entry)
    if places is not None and {fade.unit, fade.copy} <= set(places):
        order = list(places)
        yield replace(fade, unit=order.index(fade.unit), copy=order.index(fade.copy))


def _places(change: WidthChange, entry: EditEntry) -> Sequence[int] | None:
    """The old units in the order that they have behind a change of width; None if not known."""
    before, after, edit = change.before, change.after, entry.edit
    if before is None or after is None:
        return None
    if isinstance(edit, AddNeurons | SplitNeurons | DoubleWidth) and after > before:
        return range(before)
    gone: set[int] = set()
    if isinstance(edit, RemoveNeurons):
        gone = set(edit.indices)
    elif isinstance(edit, MergeNeurons):
        gone = {dropped for _, dropped in edit.pairs}
    known = before - after == len(gone) > 0
    return [unit for unit in range(before) if unit not in gone] if known else None


def _disjoint(several: Sequence[Fade]) -> list[list[Fade]]:
    """Fades in bundles in which each unit stands once, as one edit can carry them out."""
    bundles: list[list[Fade]] = []
    for fade in several:
        units = {fade.unit, fade.copy}
        for bundle in bundles:
            if not any(units & {other.unit, other.copy} for other in bundle):
                bundle.append(fade)
                break
        else:
            bundles.append([fade])
    return bundles
