"""A dense matrix with a mask as the storage of a sparse layer: what its linear and its convolution
share.

The weight is zero off the pattern and stays zero: its gradient is masked, so every optimizer whose
    update of an entry
depends on that entry's own gradients (SGD, Adam, AdamW, RMSprop, Adagrad, Adadelta, with momentum
and weight decay) leaves a dead entry alone. An update that mixes entries (Muon, Shampoo) does not;
call `SparseLayer.settle` behind each of its steps.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, Final

import torch
from torch import Tensor, nn

from structure_net.core.changes import TensorChange
from structure_net.core.drawing import random_lines, random_pattern
from structure_net.core.sparsity import (
    Newborn,
    Pairs,
    SparseLayer,
    SparsePattern,
    merge_indices,
    pair_indices,
)
from structure_net.errors import SurgeryError

RELU_GAIN: Final = math.sqrt(2.0)

# Up to this many weights a product with the mask costs less than a custom backward (12 against 40
# microseconds); beyond, the copy that it makes falls out of the cache (12 % of a step against 3 %).
PRODUCT_LIMIT: Final = 2**16


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


class MaskedLayer(SparseLayer):
    """A sparse layer that stores its weight densely, beside a mask.

    Attributes:
        weight: Shape ``(outputs, inputs, *kernel)``, zero off the pattern.
        mask: Shape ``(outputs, inputs)``, bool: the pattern.
        bias: Shape ``(outputs,)``, or None.
        gain: The factor of freshly drawn weights.
    """

    mask: Tensor

    def __init__(self, pattern: SparsePattern, kernel: tuple[int, ...], *, bias: bool) -> None:
        super().__init__()
        mask = pattern.mask()
        self.weight = nn.Parameter(torch.zeros(*pattern.shape, *kernel))
        self.bias = nn.Parameter(torch.zeros(pattern.shape[0])) if bias else None
        self.register_buffer("mask", mask)
        self.gain = RELU_GAIN
        self._factor: tuple[Tensor, int, int, torch.dtype, Tensor | None] | None = None

    @property
    def in_channels(self) -> int:
        """The number of input units."""
        return self.weight.shape[1]

    @property
    def out_channels(self) -> int:
        """The number of output units."""
        return self.weight.shape[0]

    @property
    def pattern(self) -> SparsePattern:
        """The live connections, sorted by row and then by column."""
        return SparsePattern.from_mask(self.mask)

    @property
    def live_weights(self) -> Tensor:
        """The weights of the live connections, in the pattern's order. Shape ``(n, *kernel)``."""
        return self.weight[self.mask]

    @property
    def connections(self) -> int:
        """The number of live weights: a kernel of a convolution counts each of its entries."""
        return int(self.mask.count_nonzero()) * self._kernel_size

    @property
    def density(self) -> float:
        """The fraction of possible connections that exist, in [0, 1]."""
        return int(self.mask.count_nonzero()) / self.mask.numel()

    def dense_weight(self) -> Tensor:
        """The weight, with a masked gradient. Shape ``(outputs, inputs, *kernel)``."""
        return self._masked_weight(single=False)

    def product_weight(self) -> Tensor:
        """`dense_weight` at the least cost, for one use as the weight of a product."""
        return self._masked_weight(single=True)

    def reset_parameters(
        self, generator: torch.Generator | None = None, *, gain: float = RELU_GAIN
    ) -> None:
        r"""Draws the live weights from :math:`N(0, g^2 / f_i)`, and zeroes the bias.

        ``f_i`` counts the live weights into unit ``i``, so that every unit starts at the same scale
        however few connections it has.

        Args:
            generator: The source of randomness; torch's default generator if None.
            gain: ``g``; the square root of 2 in front of a ReLU. Units that grow later are drawn
                with it, too.

        References:
            He et al., "Delving deep into rectifiers", ICCV 2015. Evci et al., "Gradient flow in
            sparse neural networks and how lottery tickets win", AAAI 2022.
        """
        self.gain = gain
        with torch.no_grad():
            self.weight.copy_(self._drawn(self.mask, self.mask.sum(1), generator))
            if self.bias is not None:
                self.bias.zero_()

    def reindexed(
        self,
        dim: int,
        source: Sequence[int] | Tensor,
        *,
        new: Newborn,
        scale: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> tuple[TensorChange, ...]:
        """The layer after its outputs (``dim`` 0) or inputs (``dim`` 1) follow an index map.

        See `SparseLayer.reindexed`.
        """
        index = self._index(dim, source)
        born = (index < 0).nonzero().flatten()
        mask = gathered(self.mask, dim, index)
        weight = gathered(self.weight.detach(), dim, index)
        if scale is not None:
            weight = weight * _along(scale.to(weight), dim, weight.dim())
        if len(born) and new != "empty":
            lines = self._lines(dim, len(born), generator)
            mask.index_copy_(dim, born, lines)
            if new == "fresh":
                fan_in = lines.sum(1) if dim == 0 else mask.sum(1)
                weight.index_copy_(dim, born, self._drawn(lines, fan_in, generator))
        changes = [
            TensorChange("weight", weight, lambda state: gathered(state, dim, index)),
            TensorChange("mask", mask, lambda state: gathered(state, dim, index)),
        ]
        if dim == 0 and self.bias is not None:
            bias = gathered(self.bias.detach(), 0, index)
            bias = bias if scale is None else bias * scale.to(bias)
            changes.append(TensorChange("bias", bias, lambda state: gathered(state, 0, index)))
        return tuple(changes)

    def connected(self, pairs: Pairs, values: Tensor | None = None) -> tuple[TensorChange, ...]:
        """The layer with ``pairs`` as further live connections. See `SparseLayer.connected`."""
        rows, columns = self._places(pairs)
        taken = self.mask[rows, columns]
        if bool(taken.any()):
            first = int(taken.nonzero()[0])
            pair = (int(rows[first]), int(columns[first]))
            raise SurgeryError(
                f"Output unit {pair[0]} is connected to input unit {pair[1]} already; "
                "a pair to connect must be absent from the layer's pattern."
            )
        weight, mask = self.weight.detach().clone(), self.mask.clone()
        weight[rows, columns] = self._values(values, len(rows))
        mask[rows, columns] = True
        return self._changed(weight, mask)

    def disconnected(self, pairs: Pairs) -> tuple[TensorChange, ...]:
        """The layer without the live connections ``pairs``. See `SparseLayer.disconnected`."""
        rows, columns = self._places(pairs)
        absent = ~self.mask[rows, columns]
        if bool(absent.any()):
            first = int(absent.nonzero()[0])
            pair = (int(rows[first]), int(columns[first]))
            raise SurgeryError(
                f"Output unit {pair[0]} is not connected to input unit {pair[1]}; "
                "a pair to disconnect must be in the layer's pattern."
            )
        weight, mask = self.weight.detach().clone(), self.mask.clone()
        weight[rows, columns] = 0
        mask[rows, columns] = False
        if not bool(mask.any()):
            raise SurgeryError(
                f"Disconnecting {len(rows)} pairs would leave the layer without a connection; "
                "keep at least one."
            )
        return self._changed(weight, mask)

    def merged(self, pairs: Pairs, *, part: float = 1.0) -> tuple[TensorChange, ...]:
        """The layer whose readers of ``dropped`` read ``kept``. See `SparseLayer.merged`."""
        kept, dropped = merge_indices(pairs, self.in_channels)
        kept, dropped = kept.to(self.mask.device), dropped.to(self.mask.device)
        weight, mask = self.weight.detach().clone(), self.mask.clone()
        weight[:, kept] += part * weight[:, dropped]
        mask[:, kept] |= mask[:, dropped]
        weight[:, dropped] *= 1 - part
        if part == 1:
            mask[:, dropped] = False
        return self._changed(weight, mask)

    def off_pattern(self) -> int:
        """How many weights off the pattern are not zero: 0 unless something else wrote them."""
        return int((self.weight.detach() * ~self._spread(self.mask) != 0).sum())

    def settle(self) -> None:
        """Zeroes the weight off the pattern.

        Raises:
            ValueError: The mask and the weight differ in shape.
        """
        if self.mask.shape != self.weight.shape[:2]:
            raise ValueError(
                f"The mask must have the shape {tuple(self.weight.shape[:2])} of the weight's "
                f"units; got {tuple(self.mask.shape)}."
            )
        with torch.no_grad():
            self.weight.masked_fill_(~self._spread(self.mask), 0)

    @abstractmethod
    def branch(self, pattern: SparsePattern) -> MaskedLayer:
        """A layer like this one on ``pattern``, with zero weights and without a bias."""

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_factor": None}

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        self.settle()

    @property
    def _kernel_size(self) -> int:
        return math.prod(self.weight.shape[2:])

    def _spread(self, mask: Tensor) -> Tensor:
        """``mask`` with the weight's number of dimensions."""
        dims = self.weight.dim() - 2
        return mask[(...,) + (None,) * dims] if dims else mask

    def _masked_weight(self, *, single: bool) -> Tensor:
        weight = self.weight
        if not (torch.is_grad_enabled() and weight.requires_grad):
            return weight
        if torch.compiler.is_compiling() or _transforming():
            return weight * self._spread(self.mask)
        factor = self._gradient_factor(weight.dtype)
        if factor is None:
            return weight
        if not single or weight.numel() <= PRODUCT_LIMIT:
            return weight * factor
        masked: Tensor = _MaskedGradient.apply(weight, factor)  # type: ignore[no-untyped-call]  # torch's
        return masked

    def _gradient_factor(self, dtype: torch.dtype) -> Tensor | None:
        """The mask in ``dtype``, made once per mask; None where every connection exists.

        A product with a float mask is eight times as fast as one with a bool mask. The old mask is
        kept so that its memory, by which it is known, cannot be reused.
        """
        mask, made = self.mask, self._factor
        try:
            version = mask._version
        except RuntimeError:  # made under torch.inference_mode, and never written since
            version = 0
        known = made is not None and made[1:4] == (version, mask.data_ptr(), dtype)
        if made is not None and known and made[0].shape == mask.shape:
            return made[4]
        full = bool(mask.all())
        factor = None if full else self._spread(mask).to(dtype)
        self._factor = (mask.detach(), version, mask.data_ptr(), dtype, factor)
        return factor

    def _drawn(self, mask: Tensor, fan_in: Tensor, generator: torch.Generator | None) -> Tensor:
        """Fresh weights on ``mask``, whose rows have ``fan_in``: ``(*mask.shape, *kernel)``."""
        kernel = self.weight.shape[2:]
        deviation = self.gain * (fan_in.clamp(min=1) * self._kernel_size).to(torch.float64).rsqrt()
        live = mask.nonzero()
        noise = _normal((len(live), *kernel), generator).to(self.weight)
        weight = self.weight.new_zeros(*mask.shape, *kernel)
        weight[mask] = noise * _along(deviation.to(self.weight)[live[:, 0]], 0, noise.dim())
        return weight

    def _lines(self, dim: int, count: int, generator: torch.Generator | None) -> Tensor:
        """The mask of ``count`` new units along ``dim``, at the layer's density."""
        width = self.mask.shape[1 - dim]
        lines = random_lines(count, width, round(self.density * count * width), generator)
        return (lines if dim == 0 else lines.T).to(self.mask.device)

    def _index(self, dim: int, source: Sequence[int] | Tensor) -> Tensor:
        if dim not in (0, 1):
            raise ValueError(f"dim must be 0 (outputs) or 1 (inputs); got {dim}.")
        index = torch.as_tensor(source, dtype=torch.int64, device=self.weight.device)
        size = self.weight.shape[dim]
        if len(index) == 0:
            raise SurgeryError(
                f"The edit would leave the layer without {('outputs', 'inputs')[dim]}; "
                "keep at least one."
            )
        if bool(((index < -1) | (index >= size)).any()):
            raise SurgeryError(
                f"A source must be -1 or below the layer's {size} {('outputs', 'inputs')[dim]}; "
                f"got {index.tolist()}."
            )
        return index

    def _places(self, pairs: Pairs) -> tuple[Tensor, Tensor]:
        try:
            rows, columns = pair_indices(pairs, (self.out_channels, self.in_channels))
        except ValueError as error:
            raise SurgeryError(str(error)) from error
        return rows.to(self.mask.device), columns.to(self.mask.device)

    def _values(self, values: Tensor | None, count: int) -> Tensor:
        kernel = tuple(self.weight.shape[2:])
        if values is None:
            return self.weight.new_zeros(count, *kernel)
        if tuple(values.shape) not in ((count,), (count, *kernel)):
            raise SurgeryError(
                f"values must have shape {(count,)} or {(count, *kernel)}; "
                f"got {tuple(values.shape)}."
            )
        values = values.detach().to(self.weight)
        return values if values.dim() > 1 else _along(values, 0, 1 + len(kernel))

    def _changed(self, weight: Tensor, mask: Tensor) -> tuple[TensorChange, ...]:
        alive = self._spread(mask)
        return (
            TensorChange("weight", weight, lambda state: state * alive.to(state)),
            TensorChange("mask", mask, lambda state: state.clone()),
        )


def _transforming() -> bool:
    """Whether a transform of `torch.func` is active: its tensors have no memory of their own."""
    return bool(torch._C._are_functorch_transforms_active())


def resolved_pattern(
    shape: tuple[int, int],
    density: float | None,
    pattern: SparsePattern | None,
    generator: torch.Generator | None,
) -> SparsePattern:
    """``pattern``, or a random one of ``density`` (1 if None).

    Raises:
        ValueError: Both are given, ``density`` is not in (0, 1], or ``pattern`` has another shape.
    """
    if pattern is None:
        density = 1.0 if density is None else density
        if not 0 < density <= 1:
            raise ValueError(f"density must be in (0, 1]; got {density}.")
        return random_pattern(shape, max(1, round(density * shape[0] * shape[1])), generator)
    if density is not None:
        raise ValueError(f"Give a density or a pattern, not both; got {density} and {pattern}.")
    if pattern.shape != shape:
        raise ValueError(f"The pattern must have the layer's shape {shape}; got {pattern.shape}.")
    return pattern


def gathered(tensor: Tensor, dim: int, index: Tensor) -> Tensor:
    """``tensor`` along ``dim`` at ``index`` (shape ``(m,)``, int64); zero where it is negative."""
    index = index.to(tensor.device)
    born = (index < 0).nonzero().flatten()
    return tensor.index_select(dim, index.clamp(min=0)).index_fill_(dim, born, 0)


def _along(vector: Tensor, dim: int, dims: int) -> Tensor:
    """``vector`` as axis ``dim`` of ``dims`` axes."""
    return vector.reshape([-1 if axis == dim else 1 for axis in range(dims)])


def _normal(shape: tuple[int, ...], generator: torch.Generator | None) -> Tensor:
    device = generator.device if generator is not None else torch.device("cpu")
    return torch.randn(shape, generator=generator, device=device)
