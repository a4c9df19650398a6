"""What one call of one layer read, wrote or ended up with, and what several reductions need of it.

Sums over positions and means over them are computed at most once for each tensor, when the first
reduction asks. A layer that reads just what another one ended up with takes these over.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Final, NamedTuple

import torch
from torch import Tensor, nn

from structure_net.core.unit_sums import unit_sums
from structure_net.evolution.activations import Activation
from structure_net.evolution.calls import Call
from structure_net.evolution.unit_layers import directions

_PIECE: Final = 1 << 20
_HALVES: Final = frozenset((torch.float16, torch.bfloat16))


class Samples(NamedTuple):
    """How many samples a batch has, and whether they lie along the second axis of its tensors."""

    number: int
    second: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Moments:
    """Sums over one tensor.

    Args:
        count: The number of values of each unit.
        sums: Their sum and their sum of squares. Shape ``(2, C)``.
    """

    count: int
    sums: Tensor


class Values:
    """The tensor of one call of one layer, by unit.

    Args:
        call: The call.
        tensor: What was read, written or ended up with. Any shape with an axis of units.
        samples: The samples of the batch.
        activation: What it stands behind.
        before: What that activation took, where it is smooth.
        known: The values that another layer ended up with, if these are the same.

    Attributes:
        tensor: The tensor, detached; gone once the reductions were told, so that who needs it later
            keeps it.
        axis: The axis of the units, from 0.
    """

    __slots__ = (
        "_block",
        "_by_sample",
        "_moments",
        "_sums",
        "activation",
        "axis",
        "before",
        "call",
        "samples",
        "tensor",
    )

    def __init__(
        self,
        call: Call,
        tensor: Tensor,
        samples: Samples,
        *,
        activation: Activation | None = None,
        before: Tensor | None = None,
        known: Values | None = None,
    ) -> None:
        self.call = call
        self.samples = samples
        self.activation = activation
        self.before = before
        self.tensor = tensor
        self.axis = call.axis % tensor.dim()
        self._block: tuple[Tensor, tuple[int, ...]] | None = None
        self._sums: Tensor | None = known._sums if known else None
        self._moments: Moments | None = known._moments if known else None
        self._by_sample: tuple[Tensor | None] | None = known._by_sample if known else None

    @property
    def layer(self) -> str:
        """The layer's name."""
        return self.call.layer

    @property
    def module(self) -> nn.Module:
        """The layer."""
        return self.call.module

    @property
    def units(self) -> int:
        """``C``."""
        return self.tensor.size(self.axis)

    def release(self) -> None:
        """Lets go of the tensor and keeps what was computed of it."""
        self.tensor = _nothing()
        self._block = self.before = None

    def block(self) -> tuple[Tensor, tuple[int, ...]]:
        """The values as (before, unit, after) without a copy, and the axes to reduce.

        At least in float32. Where nothing comes after the units, as (before, unit).
        """
        if self._block is None:
            self._block = by_unit(self.tensor, self.axis)
        return self._block

    def parts(self) -> Sequence[Tensor]:
        """`block` in pieces that stay in the processor's cache while one thing after the other is
        read from them; in one piece on other devices, and where it is small."""
        block, _ = self.block()
        if block.device.type != "cpu" or block.nbytes <= 2 * _PIECE:
            return (block,)
        return torch.split(block, max(1, _PIECE * len(block) // block.nbytes))

    def rows(self) -> Tensor:
        """The values at every sample and position. Shape ``(n, C)``, at least in float32."""
        block, over = self.block()
        return block if len(over) == 1 else block.movedim(1, 2).reshape(-1, block.size(1))

    def sums(self) -> Tensor | None:
        """The `SUMS` of each unit, shape ``(6, C)``; None where no kernel reads these values."""
        if self._sums is None:
            self.know(unit_sums(self.block()[0]))
        return self._sums

    def know(self, sums: Tensor | None) -> None:
        """Takes `sums` from who computed them."""
        if sums is not None:
            self._sums = sums
            self._moments = Moments(self.tensor.numel() // sums.size(1), sums[:2])

    def moments(self) -> Moments:
        """See `Moments`."""
        if self._moments is None and self.sums() is None:
            block, over = self.block()
            sums = [torch.stack((p.sum(over), (p * p).sum(over))) for p in self.parts()]
            # There are several pieces on the CPU only, which has float64.
            whole = sums[0] if len(sums) == 1 else torch.stack(sums).double().sum(0)
            self._moments = Moments(block.numel() // block.size(1), whole)
        assert self._moments is not None
        return self._moments

    def by_sample(self, rows: Tensor | None = None) -> Tensor | None:
        """The mean of each unit over the positions of each sample.

        The samples are along the first axis, or several rows of it one after the other belong to
        each; along the second where the network's inputs have them there, the layer says so (a
        recurrent layer without ``batch_first``), or the first axis cannot hold them.

        Args:
            rows: Which samples, int64; all if None.

        Returns:
            Shape ``(N, C)``, at least in float32; None where the values do not belong to samples.
        """
        if self._by_sample is None:
            if rows is not None:
                return self._means(rows)
            self._by_sample = (self._means(),)
        means = self._by_sample[0]
        return means if rows is None or means is None else means[rows]

    def total_by_sample(self) -> Tensor | None:
        """The sum of each unit over the positions of each sample, like `by_sample`."""
        means = self.by_sample()
        if means is None:
            return None
        return means * (self.tensor.numel() // means.numel())

    def samples_first(self, tensor: Tensor) -> Tensor | None:
        """``tensor``, of the shape of these values, with the samples along the first axis.

        Returns:
            Shape ``(N, ...)``, the positions of a sample that were rows along the second axis;
            None where the values do not belong to samples.
        """
        count, second = self.samples
        fits = tensor.dim() > 2 and tensor.size(1) == count
        if fits and (second or tensor.size(0) % count or self.call.second):
            return tensor.movedim(1, 0)
        if self.axis == 0 or not count or tensor.size(0) % count:
            return None
        return tensor if tensor.size(0) == count else tensor.unflatten(0, (count, -1))

    def _means(self, rows: Tensor | None = None) -> Tensor | None:
        whole = self.samples_first(self.tensor)
        if whole is None:
            return None
        whole = _wide(whole if rows is None else whole[rows])
        units, count = self.units, len(whole)
        if whole.numel() == count * units:
            return whole.reshape(count, units)
        after = math.prod(self.tensor.shape[self.axis + 1 :])
        return whole.reshape(count, -1, units, after).mean((1, 3))


@dataclass(frozen=True, slots=True, eq=False)
class Gradients:
    """The gradients of one batch's loss, detached.

    Args:
        units: With respect to what a call's units ended up with, by the call's number; of the shape
            of the values. Calls without a gradient are not there.
        outputs: With respect to what a call wrote, by the call's number.
        parameters: By the parameter's name, zeros where the loss does not depend on it.
    """

    units: Mapping[int, Tensor] = field(default_factory=dict)
    outputs: Mapping[int, Tensor] = field(default_factory=dict)
    parameters: Mapping[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class BatchSeen:
    """A batch that has gone through the network.

    Args:
        inputs: What the network took.
        targets: What its loss took.
        output: What it gave, detached only where a reduction detaches it.
        samples: ``N``.
        readers: By layer: the layers that read its units one by one, as far as was seen.
    """

    inputs: Any
    targets: Any
    output: Any
    samples: int
    readers: Mapping[str, tuple[str, ...]]


def by_direction(call: Call, tensor: Tensor) -> Tensor:
    """``tensor`` with one axis of units: both directions of a recurrent layer as positions."""
    if not call.recurrent or directions(call.module) == 1:
        return tensor
    return tensor.reshape(*tensor.shape[:-1], 2, -1)


def by_unit(values: Tensor, axis: int) -> tuple[Tensor, tuple[int, ...]]:
    """See `Values.block`."""
    whole, dimensions = _wide(values.detach()), values.dim()
    axis %= dimensions
    if dimensions == 2 and axis == 1:
        return whole, (0,)
    units, after = values.size(axis), math.prod(values.shape[axis + 1 :])
    if after == 1:
        return whole.reshape(-1, units), (0,)
    return whole.reshape(-1, units, after), (0, 2)


@cache
def _nothing() -> Tensor:
    """What stands for a tensor that was let go of."""
    return torch.empty(0)


def _wide(values: Tensor) -> Tensor:
    return values.float() if values.dtype in _HALVES else values
