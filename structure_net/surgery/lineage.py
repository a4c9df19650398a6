"""What a network looks like at a point of its lineage, and how two lineages differ.

Two entries count as the same step when they do the same to an architecture: an edit with its seed,
or a change by hand. Words, times, measurements and the name of a loss do not count.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from structure_net.core.statistics import network_stats
from structure_net.surgery.edits import Edit
from structure_net.surgery.entries import (
    LOSS,
    OPAQUE,
    STANDS_FOR,
    START,
    EditEntry,
    Entry,
    EventEntry,
    WidthChange,
)
from structure_net.surgery.grafts import Grafted
from structure_net.surgery.journal import Journal


def architecture(model: nn.Module) -> dict[str, Any]:
    """The layers of ``model`` with weights, as JSON data for the events `START` and `OPAQUE`.

    Returns:
        ``"layers"``: for each layer its kind, inputs, outputs (in units: features, channels),
        connections and parameters, in the order of the modules; a layer with grafts keeps its
        name. ``"parameters"`` and
        ``"connections"``: the whole network's.
    """
    stats = network_stats(model)
    grafted = [name for name, module in model.named_modules() if isinstance(module, Grafted)]
    layers = {
        _own_name(layer["name"], grafted): {
            "kind": layer["kind"],
            "inputs": layer["inputs"],
            "outputs": layer["outputs"],
            "connections": layer["connections"],
            "parameters": layer["parameters"],
        }
        for layer in stats["layers"]
    }
    return {
        "layers": layers,
        "parameters": stats["total_parameters"],
        "connections": stats["total_connections"],
    }


def _own_name(name: str, grafted: Iterable[str]) -> str:
    """The name that edits know a layer by: a grafted one stands one level deeper."""
    for outer in grafted:
        inner = f"{outer}.origin"
        if name == inner or name.startswith(f"{inner}."):
            name = outer + name[len(inner) :]
    return name


def widths(described: Mapping[str, Any]) -> dict[str, int]:
    """The outputs of each layer in what `architecture` returned."""
    return {name: layer["outputs"] for name, layer in described.get("layers", {}).items()}


def width_changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[WidthChange, ...]:
    """The layers whose outputs differ, that were born or that are gone.

    Args:
        before: What `architecture` returned before an edit.
        after: What it returned after.
    """
    old, new = widths(before), widths(after)
    return tuple(
        WidthChange(name, old.get(name), new.get(name))
        for name in dict.fromkeys([*old, *new])
        if old.get(name) != new.get(name)
    )


def final_widths(journal: Iterable[Entry]) -> dict[str, int]:
    """The outputs of each layer at the end of a journal, as far as its entries tell."""
    current: dict[str, int] = {}
    for entry in journal:
        if isinstance(entry, EditEntry):
            for change in entry.changes:
                if change.after is None:
                    current.pop(change.layer, None)
                else:
                    current[change.layer] = change.after
        elif entry.kind == START:
            current = widths(entry.detail)
        elif entry.kind == OPAQUE:
            current = widths(entry.detail.get("after", {})) or current
    return current


@dataclass(frozen=True, slots=True)
class JournalDiff:
    """How two lineages differ; `str` puts them side by side.

    Args:
        common: The first steps, which both took.
        left: What only the first did then.
        right: What only the second did then.
        left_widths: The outputs of each layer at the end of the first.
        right_widths: The outputs of each layer at the end of the second.
        names: What to call the two.
    """

    common: tuple[Entry, ...]
    left: tuple[Entry, ...]
    right: tuple[Entry, ...]
    left_widths: Mapping[str, int] = field(default_factory=dict)
    right_widths: Mapping[str, int] = field(default_factory=dict)
    names: tuple[str, str] = ("left", "right")

    @property
    def same(self) -> bool:
        """Whether both took the same steps."""
        return not self.left and not self.right

    def __str__(self) -> str:
        return "\n".join([*_step_lines(self), "", *_width_lines(self)])


def diff(a: Journal, b: Journal, *, names: tuple[str, str] = ("left", "right")) -> JournalDiff:
    """Compares two lineages step by step.

    Args:
        a: The first journal.
        b: The second journal.
        names: What to call them.

    Returns:
        The steps that both took from the start, then those of each. Only edits and changes by hand
        are steps; a start architecture is one where the two journals start differently.
    """
    left, right = _steps(a), _steps(b)
    shared = 0
    for one, other in zip(left, right, strict=False):
        if not _same(one, other):
            break
        shared += 1
    return JournalDiff(
        common=tuple(left[:shared]),
        left=tuple(left[shared:]),
        right=tuple(right[shared:]),
        left_widths=final_widths(a),
        right_widths=final_widths(b),
        names=names,
    )


def _steps(journal: Iterable[Entry]) -> list[Entry]:
    return [e for e in journal if isinstance(e, EditEntry) or e.kind in (START, OPAQUE)]


def _same(one: Entry, other: Entry) -> bool:
    if isinstance(one, EditEntry) and isinstance(other, EditEntry):
        return (one.edit, one.seed) == (other.edit, other.seed)
    if isinstance(one, EventEntry) and isinstance(other, EventEntry):
        return (one.kind, _built(one)) == (other.kind, _built(other))
    return False


def _built(event: EventEntry) -> dict[str, Any]:
    """What an event says of an architecture."""
    return {key: value for key, value in event.detail.items() if key != LOSS}


def describe(entry: Entry) -> str:
    """One line that says what an entry is."""
    if isinstance(entry, EditEntry):
        return f"{entry.iteration}: {_short(entry.edit)}"
    if entry.kind == START:
        return f"{entry.iteration}: start {_chain(widths(entry.detail))}"
    if entry.kind == OPAQUE:
        return f"{entry.iteration}: changed by hand by {entry.component or 'the user'}"
    return f"{entry.iteration}: {entry.kind}"


def _short(edit: Edit) -> str:
    """``edit`` as it would be written, without what stands at its default."""
    words = []
    for item in dataclasses.fields(edit):
        value = getattr(edit, item.name)
        if item.default is dataclasses.MISSING:
            words.append(repr(value))
        elif value != item.default:
            words.append(f"{item.name}={value!r}")
    text = f"{type(edit).__name__}({', '.join(words)})"
    return text if len(text) <= 60 else f"{text[:56]}...)"


def _chain(outputs: Mapping[str, int]) -> str:
    return "-".join(str(width) for width in outputs.values())


def _step_lines(comparison: JournalDiff) -> list[str]:
    steps = f"{len(comparison.common)} common step{'' if len(comparison.common) == 1 else 's'}"
    if comparison.same:
        return [f"{steps}; no difference.", *(f"  {describe(e)}" for e in comparison.common)]
    left = [describe(entry) for entry in comparison.left]
    right = [describe(entry) for entry in comparison.right]
    rows = [
        (left[n] if n < len(left) else "", right[n] if n < len(right) else "")
        for n in range(max(len(left), len(right)))
    ]
    common = [f"  {describe(entry)}" for entry in comparison.common]
    return [f"{steps}.", *common, "", *_table([comparison.names, *rows])]


def _width_lines(comparison: JournalDiff) -> list[str]:
    left, right = comparison.left_widths, comparison.right_widths
    rows = [
        (name, str(left.get(name, "-")), str(right.get(name, "-")))
        for name in dict.fromkeys([*left, *right])
    ]
    return _table([("layer", *comparison.names), *rows]) if rows else []


def _table(rows: list[tuple[str, ...]]) -> list[str]:
    spans = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "  ".join(cell.ljust(span) for cell, span in zip(row, spans, strict=True)).rstrip()
        for row in rows
    ]
    return [lines[0], "  ".join("-" * span for span in spans), *lines[1:]]


def trimmed(journal: Journal, model: nn.Module) -> Journal:
    """A journal that begins with ``model`` as it stands, for runs of many thousand edits.

    Events stay, but for the start and changes by hand; edits go, and a `START` of the network as it
    is now follows. It counts for all that went (`Journal.changes`), so that a run goes on with the
    same seeds, and keeps the name of the loss. Replay, undo by replay and loading into a network at
    the start then begin at ``model``, connections included: save it with what is returned, and load
    that into a network of its widths. What strategies read from edits is forgotten: the ages of
    units, copies that are still to be handed over, and when a schedule of pruning last removed
    something.

    Args:
        journal: The network's own; it stays as it is.
        model: The network at the journal's end.
    """
    kept = [e for e in journal.events() if e.kind not in (START, OPAQUE)]
    detail = {**architecture(model), STANDS_FOR: journal.changes - len(kept)}
    known = [e.detail[LOSS] for e in journal.events(START) if LOSS in e.detail]
    if known:
        detail[LOSS] = known[0]
    return Journal([*kept, EventEntry(START, _last_iteration(journal), detail=detail)])


def _last_iteration(journal: Journal) -> int:
    return journal[-1].iteration if len(journal) else 0
