"""Weights of a sparse layer as a dense matrix beside a mask: how they rearrange, and how they keep
zero what is off the pattern.

The weight is zero off the pattern and stays zero: its gradient is masked, so every optimizer whose
update of an entry depends on that entry's own gradients (SGD, Adam, AdamW, RMSprop, Adagrad,
Adadelta, with momentum and weight decay) leaves a dead entry alone. An update that mixes entries
(Muon, Shampoo) does not; call `SparseLayer.settle` behind each of its steps.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor, nn

from structure_net.core.capturing import capturing
from structure_net.core.pair_edits import refuse_misfit
from structure_net.core.rearranging import Born, Carry, Places, along, gathered
from structure_net.core.sparsity import SparsePattern

# Up to this many weights a product with the mask costs less than a custom backward (12 against 40
# microseconds); beyond, the copy that it makes falls out of the cache (12 % of a step against 3 %).
PRODUCT_LIMIT: Final = 2**16


@dataclass(frozen=True, slots=True)
class Masked:
    """Weights in a dense matrix; its methods return what becomes of them, and change nothing.

    Args:
        weight: Shape ``(outputs, inputs, *kernel)``, zero off the pattern.
        mask: Shape ``(outputs, inputs)``, bool: the pattern.
    """

    weight: Tensor
    mask: Tensor

    @property
    def shape(self) -> tuple[int, int]:
        """The numbers of output and of input units."""
        return self.weight.shape[0], self.weight.shape[1]

    @property
    def kernel(self) -> tuple[int, ...]:
        """The kernel's shape, empty of a linear layer."""
        return tuple(self.weight.shape[2:])

    @property
    def count(self) -> int:
        """The number of connections."""
        return int(self.mask.count_nonzero())

    def fan_in(self) -> Tensor:
        """Connections into each output unit. Shape ``(outputs,)``, int64."""
        return self.mask.sum(1)

    def fan_out(self) -> Tensor:
        """Connections out of each column of the pattern. Shape ``(inputs,)``, int64."""
        return self.mask.sum(0)

    def located(self, rows: Tensor, columns: Tensor) -> Tensor:
        """Where in the whole matrix each place stands, or -1 where it holds no connection. Shape
        ``(n,)``, int64.
        """
        return torch.where(self.mask[rows, columns], rows * self.shape[1] + columns, -1)

    def places(self) -> Tensor:
        """The place of each connection in the whole matrix, ascending. Shape ``(n,)``, int64."""
        return self.mask.flatten().nonzero().flatten()

    def pattern(self) -> SparsePattern:
        """The connections, sorted by row and then by column."""
        return SparsePattern.from_mask(self.mask)

    def reindexed(
        self, dim: int, index: Tensor, *, scale: Tensor | None = None, born: Born | None = None
    ) -> tuple[Masked, Carry]:
        """After the units along ``dim`` follow an index map, -1 for a new unit.

        Args:
            dim: 0 for output units, 1 for input units.
            index: Shape ``(m,)``, int64.
            scale: What the units' entries are multiplied with. Shape ``(m,)``.
            born: The connections of new units; none if None.
        """
        mask, weight = gathered(self.mask, dim, index), gathered(self.weight, dim, index)
        if scale is not None:
            weight = weight * along(scale.to(weight), dim, weight.dim())
        if born is not None:
            place = born.rows.to(mask.device), born.columns.to(mask.device)
            mask[place] = True
            if born.noise is not None:
                weight[place] = born.weights(mask.sum(1).to(born.rows.device), weight)
        return Masked(weight, mask), lambda state: gathered(state, dim, index)

    def moved(self, gone: Places, come: Places, values: Tensor) -> tuple[Masked, Carry]:
        """Without the weights at some places, and with others at places that are free or left.

        Args:
            gone: The places of those that go.
            come: The places of those that come.
            values: Their weights. Shape ``(n, *kernel)``.

        Raises:
            SurgeryError: See `refuse_misfit`.
        """
        refuse_misfit(self, gone, come)
        weight, kept = self.weight.clone(), self.mask.clone()
        weight[gone] = 0
        kept[gone] = False
        mask = kept.clone()
        weight[come] = values
        mask[come] = True
        return _changed(weight, mask, kept)

    def merged(self, kept: Tensor, dropped: Tensor, part: float) -> tuple[Masked, Carry]:
        """With ``part`` of the weights from ``dropped`` inputs handed over to ``kept`` ones."""
        weight, mask = self.weight.clone(), self.mask.clone()
        weight[:, kept] += part * weight[:, dropped]
        mask[:, kept] |= mask[:, dropped]
        weight[:, dropped] *= 1 - part
        if part == 1:
            mask[:, dropped] = False
        return _changed(weight, mask, mask & self.mask)

    def off_pattern(self) -> int:
        """How many weights off the pattern are not zero."""
        return int((self.weight * ~spread(self.mask, self.weight) != 0).sum())


def spread(mask: Tensor, weight: Tensor) -> Tensor:
    """``mask`` with the weight's number of dimensions."""
    return mask[(...,) + (None,) * (weight.dim() - mask.dim())]


@torch.no_grad()
def zero_off(weight: Tensor, mask: Tensor) -> None:
    """Zeroes ``weight`` off the pattern ``mask``, in place.

    Raises:
        ValueError: They differ in their numbers of units.
    """
    if mask.shape != weight.shape[:2]:
        raise ValueError(
            f"The mask must have the shape {tuple(weight.shape[:2])} of the weight's "
            f"units; got {tuple(mask.shape)}."
        )
    weight.masked_fill_(~spread(mask, weight), 0)


def _changed(weight: Tensor, mask: Tensor, kept: Tensor) -> tuple[Masked, Carry]:
    """New weights; state stays where ``kept`` has a connection."""
    alive = spread(kept, weight)
    return Masked(weight, mask), lambda state: state * alive.to(state)


class _MaskedGradient(torch.autograd.Function):
    """The identity whose gradient is masked: for a weight that is zero off the mask already.

    The gradient is masked in place, so that its result may feed one product only, whose backward
    makes a gradient of its own.
    """

    @staticmethod
    def forward(ctx: Any, weight: Tensor, mask: Tensor) -> Tensor:
        ctx.mask = mask
        return weight.view_as(weight)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0].mul_(ctx.mask), None


class GradientMask:
    """Masks the gradient of a weight; keeps the mask in the weight's type while it stays the same.

    Copies and pickles begin anew.
    """

    def __init__(self) -> None:
        self._made: tuple[Tensor, int, int, torch.dtype, Tensor | None] | None = None

    def __reduce__(self) -> tuple[type[GradientMask], tuple[()]]:
        return GradientMask, ()

    @property
    def memory(self) -> int:
        """The bytes of the mask in the weight's type; 0 before the first step, or if full."""
        factor = None if self._made is None else self._made[4]
        return 0 if factor is None else factor.numel() * factor.element_size()

    def over(self, weight: Tensor, mask: Tensor, *, single: bool) -> Tensor:
        """``weight``, with a masked gradient.

        Args:
            weight: Shape ``(outputs, inputs, *kernel)``, zero off the mask.
            mask: Shape ``(outputs, inputs)``, bool.
            single: Whether it is used once, as the weight of a product, which may cost less.

        Raises:
            ValueError: Weight and mask do not fit, as where another weight was set by hand.
        """
        if mask.shape != weight.shape[:2]:
            shape = f"shape {tuple(mask.shape)} of the layer's mask"
            raise ValueError(
                f"weight must have the {shape if mask.numel() else 'shape of its list'}; got "
                f"{tuple(weight.shape)}. Write weights with fill(), connections by surgery."
            )
        # A trace is checked by another one without gradients, and used with and without them.
        traced = torch._C._get_tracing_state() is not None
        if not traced and not (torch.is_grad_enabled() and weight.requires_grad):
            return weight
        if traced or capturing() or _transforming():
            return weight * spread(mask, weight)
        factor = self._factor(weight, mask)
        if factor is None:
            return weight
        if not single or weight.numel() <= PRODUCT_LIMIT:
            return weight * factor
        masked: Tensor = _MaskedGradient.apply(weight, factor)  # type: ignore[no-untyped-call]  # torch's
        return masked

    def _factor(self, weight: Tensor, mask: Tensor) -> Tensor | None:
        """The mask in the weight's type, made once per mask; None where all connections exist.

        A product with a float mask takes a third to an eighth of the time of one with a bool mask,
        for as much memory as the weight (`memory`). The old mask is kept so that its memory, by
        which it is known, cannot be reused.
        """
        if mask.is_meta:
            return spread(mask, weight)
        made, dtype = self._made, weight.dtype
        try:
            version = mask._version
        except RuntimeError:  # made under torch.inference_mode, and never written since
            version = 0
        known = made is not None and made[1:4] == (version, mask.data_ptr(), dtype)
        if made is not None and known and made[0].shape == mask.shape:
            return made[4]
        factor = None if bool(mask.all()) else spread(mask, weight).to(dtype)
        self._made = (mask.detach(), version, mask.data_ptr(), dtype, factor)
        return factor


def masks_memory(network: nn.Module) -> int:
    """The bytes that masked layers hold beside their parameters and buffers, once they trained."""
    held = (value for one in network.modules() for value in vars(one).values())
    return sum(one.memory for one in held if isinstance(one, GradientMask))


def _transforming() -> bool:
    """Whether a transform of `torch.func` is active: its tensors have no memory of their own."""
    return bool(torch._C._are_functorch_transforms_active())
