"""Rebuilds an architecture from a journal: the same edits in the same order with the same seeds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from typing import Any

from torch import nn
from torch.optim import Optimizer

from structure_net.errors import JournalError, SurgeryError
from structure_net.surgery.applying import apply
from structure_net.surgery.entries import OPAQUE, START, EditEntry
from structure_net.surgery.journal import Journal
from structure_net.surgery.lineage import architecture, final_widths, widths


def replay(
    model: nn.Module, journal: Journal, example: Any, *, optimizer: Optimizer | None = None
) -> nn.Module:
    """Carries out a journal's edits on a model at the journal's start architecture, in place.

    The result has the module tree, the shapes and the sparse patterns of the network that wrote the
    journal; its weights are whatever ``model`` had and fresh ones. Nothing is verified on the way,
    since every edit was when it was made.

    Args:
        model: At the start architecture.
        journal: Edits and events; events are passed over.
        example: Inputs of the model: a tensor, a tuple or a dict.
        optimizer: The model's optimizer; others follow at their next step.

    Returns:
        ``model``.

    Raises:
        JournalError: The model is not at the start architecture, the journal holds a change that
            was made by hand, an edit cannot be carried out, or the widths come out otherwise than
            the journal says. The model and its optimizer are as they were.
    """
    replay_undoably(model, journal, example, optimizer=optimizer).pop_all()
    return model


def replay_undoably(
    model: nn.Module, journal: Journal, example: Any, *, optimizer: Optimizer | None = None
) -> ExitStack:
    """`replay`; closing what it returns takes everything back.

    Raises:
        JournalError: See `replay`.
    """
    _check_start(model, journal)
    _check_replayable(journal)
    with ExitStack() as undo:
        for number, entry in _edits(journal):
            try:
                applied = apply(
                    model,
                    entry.edit,
                    example,
                    optimizer=optimizer,
                    seed=entry.seed,
                    verify=False,
                )
            except SurgeryError as error:
                raise JournalError(
                    f"Entry {number}, {entry.edit}, cannot be replayed: {error} "
                    "The model must be at the journal's start architecture."
                ) from error
            undo.callback(applied.undo)
        _check_end(model, journal)
        kept = undo.pop_all()
    return kept  # noqa: RET504 - a return inside `with` looks as if it might not be reached


def _edits(journal: Journal) -> Iterator[tuple[int, EditEntry]]:
    return ((n, entry) for n, entry in enumerate(journal) if isinstance(entry, EditEntry))


def _check_replayable(journal: Journal) -> None:
    for number, entry in enumerate(journal):
        if not isinstance(entry, EditEntry) and entry.kind == OPAQUE:
            who = entry.component or "a component"
            raise JournalError(
                f"Entry {number} is a change that {who} made by hand in iteration "
                f"{entry.iteration}; only edits can be replayed. Build the model at its final "
                "architecture, or let the component propose edits."
            )


def _check_start(model: nn.Module, journal: Journal) -> None:
    for entry in journal.events(START):
        wanted = _sizes(entry.detail)
        found = _sizes(architecture(model)) if wanted else {}
        for layer in dict.fromkeys([*wanted, *found]):
            if wanted.get(layer) != found.get(layer):
                raise JournalError(
                    f"The model is not at the journal's start architecture: '{layer}' has "
                    f"{_size(found.get(layer))}, the journal {_size(wanted.get(layer))}."
                )
        return


def _check_end(model: nn.Module, journal: Journal) -> None:
    told = {change.layer for entry in journal.edits for change in entry.changes}
    found = widths(architecture(model)) if told else {}
    for layer, width in final_widths(journal).items():
        if layer in told and found.get(layer) != width:
            raise JournalError(
                f"After the replay '{layer}' has {found.get(layer, 'no')} outputs; "
                f"the journal says {width}. The journal is not of this network."
            )


def _sizes(described: Mapping[str, Any]) -> dict[str, tuple[int, int]]:
    layers = described.get("layers", {})
    return {name: (layer["inputs"], layer["outputs"]) for name, layer in layers.items()}


def _size(size: tuple[int, int] | None) -> str:
    return "no such layer" if size is None else f"{size[0]} inputs and {size[1]} outputs"
