"""GradMax: new units that lower the loss fastest, by power iteration through the network itself."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from structure_net.core.running import call, preserve
from structure_net.core.undoing import Undoing, set_gradients
from structure_net.errors import SurgeryError
from structure_net.surgery.initialisers import (
    Initialiser,
    Newborn,
    Probe,
    needed,
    output_sizes,
    refuse_read,
)
from structure_net.surgery.places import finite_loss
from structure_net.surgery.slots import Slot


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

    At the end each row is scaled such that its output on the probe is as large, in root mean
    square, as those of the old units: rows of the old ones' norm would give much more where the
    inputs vary most in few directions, and their outgoing weights would learn too fast. Where the
    units are no rows of one layer, or its outputs cannot be observed, the norm stays.

    Args:
        iterations: How often; each costs a forward and two backward passes over the probe.
        probe_size: Samples, where growth by a strategy takes them from the training data.

    References:
        Evci et al., "GradMax: Growing Neural Networks using Gradient Information", ICLR 2022.
    """

    iterations: int = 10
    probe_size: int = 192

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
        norms = [slot.size_of_old() for slot in newborn.writers]
        undo = Undoing()
        with undo, undo:
            preserve(model, undo)
            set_gradients(undo, on=True)
            model.eval()
            for _ in range(self.iterations):
                value = loss(call(model, inputs), targets)
                finite_loss(value)
                for slot, norm, rows in zip(
                    newborn.writers, norms, _ascent(value, newborn), strict=True
                ):
                    slot.write(_orthogonal(rows, slot.rows(slot.tensor)) * norm)
        _size_by_output(model, newborn, inputs)


def _size_by_output(model: nn.Module, newborn: Newborn, inputs: Any) -> None:
    """Scales the new rows so that they give as much as the old ones, where that can be seen."""
    sizes = output_sizes(model, newborn.layer, inputs) if newborn.channels else None
    if sizes is None or len(newborn.writers) != 1:
        return
    new = list(newborn.channels)
    wanted = sizes[[i for i in range(len(sizes)) if i not in set(new)]].mean()
    if bool(wanted > 0) and bool((sizes[new] > 0).all()):
        slot = newborn.writers[0]
        slot.write(slot.rows(slot.tensor).detach() * (wanted / sizes[new]).to(slot.tensor)[:, None])


def _directions(slots: tuple[Slot, ...]) -> tuple[Slot, ...]:
    """The rows that have a direction; gains, one entry for each unit, stay as they are beside
    them."""
    wide = tuple(s for s in slots if math.prod(s.shape) > s.shape[s.dim])
    return wide or slots


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
