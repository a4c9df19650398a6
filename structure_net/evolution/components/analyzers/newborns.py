"""Which units of a network were born lately, as its journal tells."""

from __future__ import annotations

from collections.abc import Iterable

from structure_net.surgery.edits import (
    AddNeurons,
    DoubleWidth,
    MergeNeurons,
    RemoveNeurons,
    ResetNeurons,
    SplitNeurons,
)
from structure_net.surgery.entries import OPAQUE, EditEntry, Entry, WidthChange

Births = dict[int, int]
"""By unit: the iteration in which it was born; units of the start are not there."""


def births(journal: Iterable[Entry]) -> dict[str, Births | None]:
    """When the units of each layer were born; reset counts as birth.

    Args:
        journal: The network's own.

    Returns:
        By layer that an edit touched; None where the journal does not tell (heads, whose channels
        do not lie in a row; layers of another width than the one that is named). A change by hand
        ends what is known, so that all units before it count as old.
    """
    found: dict[str, Births | None] = {}
    for entry in journal:
        if isinstance(entry, EditEntry):
            for change in entry.changes:
                _follow(found, change, entry)
            if isinstance(entry.edit, ResetNeurons):
                _reset(found, entry.edit, entry.iteration)
        elif entry.kind == OPAQUE:
            found.clear()
    return found


def _follow(found: dict[str, Births | None], change: WidthChange, entry: EditEntry) -> None:
    layer, before, after = change.layer, change.before, change.after
    if after is None:
        found.pop(layer, None)
        return
    if before is None:
        found[layer] = dict.fromkeys(range(after), entry.iteration)
        return
    known = found.get(layer, {})
    edit = entry.edit
    if known is None:
        return
    if isinstance(edit, AddNeurons | SplitNeurons | DoubleWidth) and after > before:
        found[layer] = known | dict.fromkeys(range(before, after), entry.iteration)
    elif isinstance(edit, RemoveNeurons | MergeNeurons) and before - after == len(_gone(edit)):
        gone = _gone(edit)
        kept = [unit for unit in range(before) if unit not in gone]
        found[layer] = {new: known[old] for new, old in enumerate(kept) if old in known}
    else:
        found[layer] = None


def _gone(edit: RemoveNeurons | MergeNeurons) -> frozenset[int]:
    if isinstance(edit, RemoveNeurons):
        return frozenset(edit.indices)
    return frozenset(dropped for _, dropped in edit.pairs)


def _reset(found: dict[str, Births | None], edit: ResetNeurons, iteration: int) -> None:
    known = found.get(edit.layer, {})
    if known is not None:
        found[edit.layer] = known | dict.fromkeys(edit.indices, iteration)
