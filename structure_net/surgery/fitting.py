"""Brings a model to the architecture of a checkpoint by the edits in its journal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from structure_net.core.network_factory import StandardNetwork
from structure_net.errors import CheckpointError, JournalError
from structure_net.surgery.examples import restored_example
from structure_net.surgery.journal import Journal
from structure_net.surgery.model_states import differences
from structure_net.surgery.replaying import replay_undoably


def trace_inputs(network: nn.Module, given: object, kept: Mapping[str, Any] | None) -> object:
    """Inputs to trace with: those given, those kept, or what a network of ours takes; else None.

    Args:
        network: The network that is traced.
        given: Inputs that the caller gave, or None.
        kept: What `example_state` returned when the checkpoint was saved, or None.
    """
    if given is not None:
        return given
    device = next((parameter.device for parameter in network.parameters()), torch.device("cpu"))
    if kept is not None:
        return restored_example(kept, device)
    if isinstance(network, StandardNetwork):
        dtype = next(network.parameters()).dtype
        return torch.zeros(2, network.architecture[0], dtype=dtype, device=device)
    return None


def brought_to(
    want: Mapping[str, Tensor],
    model: nn.Module,
    journal: Journal,
    example: object,
    *,
    optimizer: Optimizer | None = None,
) -> ExitStack:
    """Carries out a journal's edits, unless the model's tensors fit already.

    Args:
        want: The tensors by their names in the model, ties included.
        model: At the final architecture, or at the journal's start.
        journal: The lineage.
        example: Inputs to trace with, or None.
        optimizer: The model's optimizer.

    Returns:
        Closing it takes everything back.

    Raises:
        CheckpointError: The model does not fit and cannot be brought there; it is as it was.
    """
    before = differences(model, want)
    if not before:
        return ExitStack()
    problem = f"The checkpoint does not fit the model: {_first(before)}."
    if not journal.edits:
        raise CheckpointError(f"{problem} It holds no edits: build the model as it was saved.")
    if example is None:
        raise CheckpointError(f"{problem} To carry out the journal's edits first, give example=.")
    try:
        undo = replay_undoably(model, journal, example, optimizer=optimizer)
    except JournalError as error:
        raise CheckpointError(f"{problem} Its journal does not lead there: {error}") from error
    after = differences(model, want)
    if after:
        undo.close()
        raise CheckpointError(
            f"After the journal's edits the checkpoint does not fit the model: {_first(after)}. "
            "The journal is not complete, or the model was not at the start architecture."
        )
    return undo


def _first(lines: Sequence[str]) -> str:
    more = f" (and {len(lines) - 3} more)" if len(lines) > 3 else ""
    return "; ".join(lines[:3]) + more
