r"""How the gradients of single samples differ, without keeping any of them.

The weight gradient of one sample is :math:`g_i = \sum_t \delta_{it} x_{it}^T` over positions ``t``;
its norm comes from inputs and output gradients alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Final, Protocol

import torch
from torch import Tensor

from structure_net.core.products import LiveIndex
from structure_net.core.sparse_compute import features_first, multiplied, value_gradient
from structure_net.core.sparsity import SparseLayer
from structure_net.core.storage import StoredLayer
from structure_net.core.windows import windows
from structure_net.evolution.reductions.layer_gradients import LayerCall, LayerCalls
from structure_net.evolution.reductions.reduction import Reduction, With
from structure_net.evolution.reductions.values import BatchSeen, Gradients, Values

_AT_ONCE: Final = 2**22
"""So many entries of single gradients exist at a time, where norms cannot do without."""


@dataclass(frozen=True, slots=True, eq=False)
class SampleGradients:
    r"""The gradients of one layer's weights, live ones only, and bias, sample by sample.

    Args:
        count: The number ``n`` of samples.
        mean_square: :math:`\sum_i \lVert g_i \rVert^2 / n`.
        square_of_mean: :math:`\lVert \sum_i g_i / n \rVert^2`.
        directed: Samples whose gradient is not 0.
        square_of_directions: :math:`\lVert \sum_i g_i / \lVert g_i \rVert \rVert^2` over these, of
            which the mean cosine between samples follows (`metrics.cosine_of_total`).
    """

    count: int
    mean_square: float
    square_of_mean: float
    directed: int
    square_of_directions: float


class SampleGradientNorms(Reduction):
    """Running sums over single samples' gradients, as large as the layers' weights; of sparse
    linear layers, as their live ones."""

    differentiates: ClassVar[frozenset[With]] = frozenset({With.OUTPUTS})

    def __init__(self) -> None:
        self._calls = LayerCalls()
        self._sums: dict[str, _Sums] = {}

    def input(self, values: Values) -> None:
        """See `Reduction.input`."""
        self._calls.input(values)

    def output(self, values: Values) -> None:
        """See `Reduction.output`."""
        self._calls.output(values)

    def gradients(self, found: Gradients) -> None:
        """See `Reduction.gradients`."""
        calls: dict[str, list[LayerCall]] = {}
        for call in self._calls.matched(found):
            calls.setdefault(call.layer, []).append(call)
        for layer, several in calls.items():
            if layer not in self._sums:
                self._sums[layer] = _Sums(_form(several[0]))
            self._sums[layer].add(several)

    def batch(self, seen: BatchSeen) -> None:
        """See `Reduction.batch`."""
        self._calls.clear()

    def result(self, readers: Mapping[str, tuple[str, ...]]) -> dict[str, SampleGradients]:
        """By layer: linear layers and convolutions of 1 and 2 dimensions, sparse ones too."""
        return {name: self._sums[name].result() for name in readers if name in self._sums}


class _Form(Protocol):
    """How single gradients are summed, by what a layer is."""

    def pair(self, call: LayerCall) -> tuple[Tensor, Tensor]:
        """What the weights see, and the gradients; positions stand last."""

    def squares(self, seen: Tensor, delta: Tensor) -> Iterator[Tensor]:
        """The squared norm of each sample's gradient."""

    def added(self, known: Tensor | None, seen: Tensor, delta: Tensor, unit: Tensor) -> Tensor:
        """``known`` with the sum of all gradients, and that of gradients times ``unit``."""

    def square_norms(self, total: Tensor) -> tuple[float, float]:
        """Of both sums."""


def _form(call: LayerCall) -> _Form:
    module = call.module
    if not isinstance(module, SparseLayer) or module.density == 1:
        return _Matrix(None)
    if module.channel_dim == -1 and getattr(module, "storage", "live") == "live":
        return _Live(module)
    return _Matrix(_mask(call, module))


def _mask(call: LayerCall, module: SparseLayer) -> Tensor:
    """The live weights of a sparse layer as `_Matrix` lays them out, ``(1, O, P)``."""
    mask = module.pattern.mask().to(call.inputs)
    # A pattern of single weights has a column for each place of a kernel already.
    slots = mask.shape[1] // module.in_channels
    mask = mask.repeat_interleave(call.geometry.size // slots, 1)
    if module.bias is not None:
        mask = torch.cat([mask, mask.new_ones(len(mask), 1)], 1)
    return mask.unsqueeze(0)


class _Sums:
    """Sums over the samples of one layer."""

    def __init__(self, form: _Form) -> None:
        self._form = form
        self._count = 0
        self._square: Tensor | float = 0.0
        self._directed: Tensor | int = 0
        self._totals: Tensor | None = None

    def add(self, calls: Sequence[LayerCall]) -> None:
        """The samples of all calls of the layer in one batch."""
        pairs = [self._form.pair(call) for call in calls]
        seen, delta = (torch.cat(several, -1) for several in zip(*pairs, strict=True))
        squares = torch.cat(list(self._form.squares(seen, delta)))
        lengths = squares.sqrt()
        self._count += len(squares)
        self._square += squares.double().sum()
        self._directed += lengths.count_nonzero()
        unit = torch.where(lengths > 0, 1 / lengths, 0)
        self._totals = self._form.added(self._totals, seen, delta, unit)

    def result(self) -> SampleGradients:
        assert self._totals is not None
        total, directions = self._form.square_norms(self._totals)
        return SampleGradients(
            self._count,
            float(self._square) / self._count,
            total / self._count**2,
            int(self._directed),
            directions,
        )


class _Matrix:
    """Of a layer that is a matrix, or several beside each other: products of both.

    Args:
        mask: Of a sparse layer. Shape ``(1, O, P)``; None if all weights exist.
    """

    def __init__(self, mask: Tensor | None) -> None:
        self._mask = mask

    def pair(self, call: LayerCall) -> tuple[Tensor, Tensor]:
        """Shapes ``(N, groups, P, T)`` and ``(N, groups, O, T)``."""
        groups = call.geometry.groups
        seen = windows(call.geometry, call.inputs).unflatten(1, (groups, -1)).flatten(3)
        if getattr(call.module, "bias", None) is not None:
            seen = torch.cat([seen, seen.new_ones(*seen.shape[:2], 1, seen.shape[3])], 2)
        return seen, call.gradient.unflatten(1, (groups, -1)).flatten(3)

    def added(self, known: Tensor | None, seen: Tensor, delta: Tensor, unit: Tensor) -> Tensor:
        rows = torch.cat([delta, delta * unit.view(-1, 1, 1, 1)], 2)
        rows = rows.permute(1, 2, 0, 3).flatten(2)
        columns = seen.permute(1, 0, 3, 2).flatten(1, 2)
        return rows @ columns if known is None else known.baddbmm_(rows, columns)

    def squares(self, seen: Tensor, delta: Tensor) -> Iterator[Tensor]:
        samples, groups, inputs, positions = seen.shape
        if positions == 1:
            rows, columns = delta[..., 0].square(), seen[..., 0].square()
            if self._mask is None:
                yield (rows.sum(2) * columns.sum(2)).sum(1)
            else:
                # A sparse layer has no groups.
                yield ((rows.flatten(1) @ self._mask[0]) * columns.flatten(1)).sum(1)
            return
        size = max(1, _AT_ONCE // (groups * inputs * delta.shape[2]))
        for start in range(0, samples, size):
            part = slice(start, start + size)
            gradient = torch.einsum("ngot,ngpt->ngop", delta[part], seen[part])
            if self._mask is not None:
                gradient = gradient * self._mask
            yield gradient.square().sum((1, 2, 3))

    def square_norms(self, total: Tensor) -> tuple[float, float]:
        first, second = (self._square_norm(part) for part in total.chunk(2, 1))
        return first, second

    def _square_norm(self, total: Tensor) -> float:
        live = total if self._mask is None else total * self._mask
        return float(live.double().square().sum())


class _Live:
    """Of a sparse linear layer, at the cost of its live weights.

    Args:
        layer: As it is stored now.
    """

    def __init__(self, layer: SparseLayer) -> None:
        self._index: LiveIndex
        if isinstance(layer, StoredLayer):
            self._index = layer.index
        else:
            self._index = LiveIndex.from_pattern(layer.pattern)
        self._bias = layer.bias is not None

    def pair(self, call: LayerCall) -> tuple[Tensor, Tensor]:
        """Shapes ``(N, P, T)`` and ``(N, O, T)``."""
        return call.inputs.to(call.gradient).flatten(2), call.gradient.flatten(2)

    def added(self, known: Tensor | None, seen: Tensor, delta: Tensor, unit: Tensor) -> Tensor:
        both = (delta, delta * unit.view(-1, 1, 1))
        total = torch.stack([torch.cat(list(self._sums(seen, one))) for one in both])
        return total if known is None else known + total

    def squares(self, seen: Tensor, delta: Tensor) -> Iterator[Tensor]:
        if seen.shape[2] > 1:
            for one, of in zip(seen, delta, strict=True):
                parts = self._sums(one[None], of[None])
                yield torch.stack([part.square().sum() for part in parts]).sum(0, keepdim=True)
            return
        ones = seen.new_ones(self._index.columns.shape)
        rows = multiplied(features_first(seen[..., 0].square()), ones, None, self._index)
        yield ((rows + 1 if self._bias else rows) * delta[..., 0].square()).sum(1)

    def square_norms(self, total: Tensor) -> tuple[float, float]:
        first, second = (float(one.double().square().sum()) for one in total)
        return first, second

    def _sums(self, seen: Tensor, delta: Tensor) -> Iterator[Tensor]:
        """Over samples and positions: of the live weights, and of the bias if there is one."""
        lines = [features_first(one.movedim(1, 2).flatten(0, 1)) for one in (delta, seen)]
        yield value_gradient(lines[0], lines[1], self._index)
        if self._bias:
            yield delta.sum((0, 2))
