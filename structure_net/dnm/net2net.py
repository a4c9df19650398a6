"""Function-preserving migration: a network becomes a larger one that computes the same."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from torch import nn
from torch.optim import Optimizer

from structure_net.core.arguments import check_number, check_whole
from structure_net.surgery import (
    Applied,
    CopyUnits,
    InsertLayer,
    SplitNeurons,
    apply,
)
from structure_net.surgery.edits import ActivationName, AddNeurons


class DNMNet2Net:
    """Widens, divides and deepens any module in place, and keeps what it computes.

    Each call is one edit of `structure_net.surgery`: readers, normalisations and the state of
    optimizers follow, and the result can be undone.

    Args:
        example: Inputs to trace the model with: a tensor, a tuple, or a mapping of keyword
            arguments.
        noise: What tells a copy from its origin: a standard deviation, relative to that of the
            weights. 0 keeps the function exactly, but copies without noise learn alike.
        seed: What copies and noise are drawn from; each edit takes the next.

    Raises:
        TypeError: ``noise`` is no number, or ``seed`` not whole.
        ValueError: One is negative.

    References:
        Chen et al., "Net2Net: Accelerating Learning via Knowledge Transfer", ICLR 2016.
    """

    def __init__(self, example: Any, *, noise: float = 0.0, seed: int = 0) -> None:
        check_number(0, noise=noise)
        check_whole(0, seed=seed)
        self.example = example
        self.noise = noise
        self.seed = seed
        self._edits = 0

    def widen(
        self,
        model: nn.Module,
        layer: str,
        count: int,
        *,
        optimizer: Optimizer | Iterable[Optimizer] | None = None,
    ) -> Applied:
        """Adds ``count`` units to ``layer``, copies of random ones that share their readers.

        Raises:
            SurgeryError: The width of the layer cannot change so; nothing was changed.
        """
        return apply(
            model,
            AddNeurons(layer, count),
            self.example,
            optimizer=optimizer,
            initialiser=CopyUnits(self.noise),
            seed=self._next(),
        )

    def divide(
        self,
        model: nn.Module,
        layer: str,
        units: Sequence[int],
        *,
        optimizer: Optimizer | Iterable[Optimizer] | None = None,
    ) -> Applied:
        """Divides units of ``layer``, by number: each half gets half of what reads the unit.

        Raises:
            SurgeryError: The width of the layer cannot change so; nothing was changed.
        """
        edit = SplitNeurons(layer, tuple(units), self.noise)
        return apply(model, edit, self.example, optimizer=optimizer, seed=self._next())

    def deepen(
        self,
        model: nn.Module,
        layer: str,
        *,
        activation: ActivationName = "relu",
        optimizer: Optimizer | Iterable[Optimizer] | None = None,
    ) -> Applied:
        """Puts a layer behind ``layer``, the identity at birth.

        Raises:
            SurgeryError: Nothing can be put there; nothing was changed.
        """
        edit = InsertLayer(layer, activation=activation)
        return apply(model, edit, self.example, optimizer=optimizer, seed=self._next())

    def _next(self) -> int:
        self._edits += 1
        return self.seed + self._edits - 1
