"""GradMax: new units that lower the loss fastest, by power iteration through the network itself."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from structure_net.core.running import call, untouched
from structure_net.errors import SurgeryError
from structure_net.surgery.initialisers import (
    Initialiser,
    Newborn,
    Probe,
    Slot,
    needed,
    refuse_read,
)


@dataclass(frozen=True, slots=True)
class GradMax(Initialiser):
    r"""Outgoing weights zero, incoming ones such that the outgoing ones' gradient is largest.

    With :math:`g = \partial L / \partial W_{out}` of the new columns, the rows :math:`w` maximise
    :math:`\sum_k \lVert g_k(w_k) \rVert^2` at the norm of the layer's old rows, orthogonal to each
    other where there is room. Each iteration replaces them by the orthogonal rows closest to the
    old ones plus the gradient of that sum. For a layer that is read linearly the gradient is
    :math:`2 w M^T M` with :math:`M = \mathrm{E}[\delta x^T]`, so that the rows come to span the
    leading right singular vectors of ``M``. The method as published sets the incoming weights to
    zero instead; where the activation's derivative at 0 is 0, as torch has it for ReLU, such units
    never learn.

    Args:
        iterations: How often; each costs a forward and two backward passes over the probe.
        probe_size: Samples, where growth by a strategy takes them from the training data.

    References:
        Evci et al., "GradMax: Growing Neural Networks using Gradient Information", ICLR 2022.
    """

    iterations: int = 10
    probe_size: int = 512

    @property
    def preserves(self) -> bool:
        """True."""
        return True

    def refine(self, model: nn.Module, newborn: Newborn, probe: Probe | None, seed: int) -> None:
        """Writes the new rows.

        Raises:
            SurgeryError: There is no probe, the layer's new readers are not zero at birth, or the
                model has an operation without a second derivative.
        """
        del seed
        inputs, targets, loss = needed(probe, "GradMax")
        if not newborn.writers or not newborn.readers:
            raise SurgeryError(f"GradMax needs weights on both sides of {newborn.layer!r}.")
        refuse_read(newborn, "GradMax")
        newborn = replace(newborn, writers=_directions(newborn.writers))
        norms = [_norm(slot) for slot in newborn.writers]
        with untouched(model), torch.enable_grad():
            model.eval()
            for _ in range(self.iterations):
                value = loss(call(model, inputs), targets)
                for slot, norm, rows in zip(
                    newborn.writers, norms, _ascent(value, newborn), strict=True
                ):
                    slot.write(_orthogonal(rows, slot.rows(slot.tensor)) * norm)


def _directions(slots: tuple[Slot, ...]) -> tuple[Slot, ...]:
    """The rows that have a direction; gains, one entry for each unit, stay as they are beside
    them."""
    wide = tuple(s for s in slots if s.tensor.numel() > s.tensor.shape[s.dim])
    return wide or slots


def _norm(slot: Slot) -> float:
    """The root mean square norm of the old rows, or 1 where they are zero."""
    old = torch.ones(slot.tensor.shape[slot.dim], dtype=torch.bool, device=slot.tensor.device)
    old[slot.new] = False
    rows = slot.tensor.detach().movedim(slot.dim, 0)[old].flatten(1)
    size = rows.norm(dim=1).square().mean().sqrt().item() if len(rows) else 0.0
    return size if size > 0.0 else 1.0


def _ascent(loss: Tensor, newborn: Newborn) -> tuple[Tensor, ...]:
    """The gradient of the readers' squared gradient, for the new rows of each writer."""
    readers = [slot.tensor for slot in newborn.readers]
    writers = [slot.tensor for slot in newborn.writers]
    try:
        first = torch.autograd.grad(loss, readers, create_graph=True)
        gain = torch.stack(
            [s.rows(g).square().sum() for s, g in zip(newborn.readers, first, strict=True)]
        ).sum()
        second = torch.autograd.grad(gain, writers)
    except RuntimeError as error:
        raise SurgeryError(
            f"GradMax needs second derivatives, and the model says: {error}"
        ) from error
    return tuple(slot.rows(g) for slot, g in zip(newborn.writers, second, strict=True))


def _orthogonal(rows: Tensor, before: Tensor) -> Tensor:
    """Unit rows: the orthogonal matrix closest to the old directions plus the new ones.

    The old ones damp the step, which keeps it from jumping back and forth behind a ReLU.
    """
    total = F.normalize(rows, dim=1) + F.normalize(before.detach(), dim=1)
    left, _, right = torch.linalg.svd(total, full_matrices=False)
    return F.normalize(left @ right, dim=1)
