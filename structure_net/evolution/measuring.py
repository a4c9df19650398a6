"""How well a network does on batches: mean loss, and accuracy where targets are classes."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from structure_net.core.running import evaluate
from structure_net.core.undoing import Undoing
from structure_net.errors import StructureNetError
from structure_net.evolution.batches import (
    ITERABLE_AGAIN,
    Batch,
    Loss,
    batch_length,
    forward,
    loss_of,
)
from structure_net.evolution.context import NetworkContext


@dataclass(slots=True)
class Tally:
    """Losses and hits of several batches; read in one go, since reading one waits for the device.

    Each batch counts by its number of samples.
    """

    losses: list[Tensor] = field(default_factory=list)
    classes: list[tuple[Tensor, Tensor]] = field(default_factory=list)
    lengths: list[int] = field(default_factory=list)

    def add(self, loss: Tensor, output: Any, targets: Any) -> None:
        """Notes one batch."""
        self.losses.append(loss.detach())
        self.lengths.append(batch_length(targets))
        if is_classification(output, targets):
            self.classes.append((output.detach().argmax(1), targets))

    def read(self) -> tuple[Tensor, Tensor | None, Tensor]:
        """Losses, hits (None if targets are no classes) and lengths: float64, CPU, one a batch."""
        losses = torch.stack(self.losses).to("cpu", torch.float64)
        lengths = torch.tensor(self.lengths, dtype=torch.float64)
        if len(self.classes) < len(self.losses):
            return losses, None, lengths
        found, right = (torch.cat(classes) for classes in zip(*self.classes, strict=True))
        hits = torch.stack([part.sum() for part in (found == right).split(self.lengths)])
        return losses, hits.to("cpu", torch.float64), lengths


@dataclass(frozen=True, slots=True)
class Score:
    """Mean loss, and the fraction of samples whose largest output is their class."""

    loss: float
    accuracy: float | None


def is_classification(output: Any, targets: Any) -> bool:
    """Whether ``output`` holds scores, shape ``(N, C)``, and ``targets`` the classes."""
    return (
        isinstance(output, Tensor)
        and isinstance(targets, Tensor)
        and output.dim() == 2
        and targets.dim() == 1
        and targets.dtype == torch.int64
    )


def held_out(context: NetworkContext, limit: int | None = None) -> Score:
    """The network's score on validation batches, in evaluation mode; modes are put back.

    Args:
        context: Its network is judged with its loss.
        limit: At most so many batches; all if None.

    Raises:
        StructureNetError: There is no validation batch.
    """
    with precision(context.device):
        found = measured(context.network, context.held_out_batches(limit), context.loss)
    if found is None:
        raise StructureNetError(f"The validation_loader gave no batch. {ITERABLE_AGAIN}")
    return found


@torch.no_grad()
def measured(network: nn.Module, batches: Iterable[Batch], loss: Loss) -> Score | None:
    """A network's score on batches that are on its device, in evaluation mode; modes are put back.

    Returns:
        The mean over all samples; None where there is no batch.
    """
    tally = Tally()
    undo = Undoing()
    with undo, undo:
        evaluate(network, undo)
        for inputs, targets in batches:
            output = forward(network, inputs)
            tally.add(loss_of(loss, output, targets), output, targets)
    if not tally.losses:
        return None
    losses, hits, lengths = tally.read()
    samples = float(lengths.sum())
    accuracy = None if hits is None else float(hits.sum()) / samples
    return Score(float(losses @ lengths) / samples, accuracy)


def precision(device: torch.device | str) -> AbstractContextManager[object]:
    """Mixed precision (bfloat16) on CUDA, full precision elsewhere; can be entered repeatedly."""
    if torch.device(device).type != "cuda":
        return nullcontext()
    return torch.autocast("cuda", dtype=torch.bfloat16)
