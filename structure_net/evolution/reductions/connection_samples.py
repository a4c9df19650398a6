"""The gradient at some of the connections that sparse layers lack, drawn at random.

The gradient of all of them is a product as wide as the dense layer; that of a sample costs as much
as a layer with so many connections.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Final
from zlib import crc32

import torch
from torch import Tensor

from structure_net.core.live_index import LiveIndex
from structure_net.core.sparse_compute import features_first, value_gradient
from structure_net.core.sparse_convolution import sparse_conv2d
from structure_net.core.sparsity import SparseLayer, SparsePattern
from structure_net.evolution.reductions.layer_gradients import LayerCall, LayerCalls
from structure_net.evolution.reductions.reduction import Reduction, With
from structure_net.evolution.reductions.values import BatchSeen, Gradients, Values

_AT_ONCE: Final = 2048
"""Candidates are drawn and summed so many together, so that what is found of the first ones does
not depend, to the last bit, on how many are asked for."""


@dataclass(frozen=True, slots=True, eq=False)
class ConnectionSample:
    """Absent connections of one sparse layer, in the order in which they were drawn.

    Args:
        places: ``output * columns + column`` of the layer's pattern. Shape ``(n,)``, int64.
        gradient: The mean over the samples at each. Shape ``(n, *kernel)``, at least in float32.
    """

    places: Tensor
    gradient: Tensor


class ConnectionSamples(Reduction):
    """Running sums of the gradients at candidates.

    Args:
        candidates: How many of each layer; fewer where it lacks fewer.
        seed: What they are drawn with. More candidates begin with the same ones.
    """

    differentiates: ClassVar[frozenset[With]] = frozenset({With.OUTPUTS})

    def __init__(self, candidates: int, seed: int) -> None:
        self._candidates = candidates
        self._seed = seed
        self._calls = LayerCalls()
        self._drawn: dict[str, tuple[_Candidates, ...]] = {}
        self._sums: dict[str, Tensor] = {}
        self._samples = 0

    def input(self, values: Values) -> None:
        """See `Reduction.input`."""
        if isinstance(values.module, SparseLayer):
            self._calls.input(values)

    def output(self, values: Values) -> None:
        """See `Reduction.output`."""
        self._calls.output(values)

    def gradients(self, found: Gradients) -> None:
        """See `Reduction.gradients`."""
        for call in self._calls.matched(found):
            parts = [part.gradient(call) for part in self._of(call)]
            if parts:
                gradient, known = torch.cat(parts), self._sums.get(call.layer)
                self._sums[call.layer] = gradient if known is None else known + gradient

    def batch(self, seen: BatchSeen) -> None:
        """See `Reduction.batch`."""
        self._calls.clear()
        self._samples += seen.samples

    def result(self, readers: Mapping[str, tuple[str, ...]]) -> dict[str, ConnectionSample]:
        """By layer; sparse layers that lack no connection are not there."""
        del readers
        most = self._candidates
        return {
            layer: ConnectionSample(
                torch.cat([part.places for part in self._drawn[layer]])[:most],
                total[:most] / self._samples,
            )
            for layer, total in self._sums.items()
        }

    def _of(self, call: LayerCall) -> tuple[_Candidates, ...]:
        layer = call.module
        assert isinstance(layer, SparseLayer)
        if call.layer not in self._drawn:
            pattern = layer.pattern
            seed = self._seed % 2**31 + crc32(call.layer.encode())
            taken = (pattern.rows * pattern.shape[1] + pattern.columns).cpu()
            count = -(-self._candidates // _AT_ONCE) * _AT_ONCE
            places = drawn_absent(taken, pattern.shape, count, torch.Generator().manual_seed(seed))
            kernel = tuple(layer.live_weights.shape[1:])
            self._drawn[call.layer] = tuple(
                _Candidates.at(part, pattern.shape, kernel, call.inputs)
                for part in places.split(_AT_ONCE)
                if len(part)
            )
        return self._drawn[call.layer]


@dataclass(frozen=True, slots=True, eq=False)
class _Candidates:
    """Places in the order drawn, where each is among them in order, and the index of these."""

    places: Tensor
    found: Tensor
    index: LiveIndex
    kernel: tuple[int, ...]

    @classmethod
    def at(
        cls, places: Tensor, shape: tuple[int, int], kernel: tuple[int, ...], like: Tensor
    ) -> _Candidates:
        ordered, sorting = places.sort()
        pattern = SparsePattern(ordered // shape[1], ordered % shape[1], shape)
        device = like.device
        on_device = SparsePattern(pattern.rows.to(device), pattern.columns.to(device), shape)
        return cls(places, sorting.argsort().to(device), LiveIndex.from_pattern(on_device), kernel)

    def gradient(self, call: LayerCall) -> Tensor:
        """The sum over samples, in the order drawn. Shape ``(n, *kernel)``."""
        if getattr(call.module, "channel_dim", -1) == -1:
            delta, seen = (
                features_first(one.movedim(1, -1).flatten(0, -2))
                for one in (call.gradient, call.inputs.to(call.gradient))
            )
            return value_gradient(delta, seen, self.index)[self.found]
        with torch.enable_grad():
            values = call.gradient.new_zeros(len(self.places), *self.kernel).requires_grad_()
            inputs = call.inputs.to(values).detach()
            outputs = sparse_conv2d(inputs, values, None, self.index, call.geometry)
        (gradient,) = torch.autograd.grad(outputs, values, call.gradient)
        return gradient[self.found]


def drawn_absent(
    taken: Tensor, shape: tuple[int, int], count: int, generator: torch.Generator
) -> Tensor:
    """Places of a matrix that are not taken, evenly drawn; the first ones do not depend on how many
    are asked for.

    Args:
        taken: ``row * columns + column``, ascending. Shape ``(k,)``, int64.
        shape: Rows and columns.
        count: How many; fewer where there are fewer.
        generator: On the CPU.

    Returns:
        Shape ``(n,)``, int64, in the order in which they were drawn.
    """
    size = shape[0] * shape[1]
    count = min(count, size - len(taken))
    drawn, tries = torch.zeros(0, dtype=torch.int64), 0
    while len(drawn) < count and tries < 4 * size:
        # Always as many at once, so that more candidates begin with the same numbers.
        more = torch.randint(size, (_AT_ONCE,), generator=generator)
        drawn = _firsts(torch.cat([drawn, more[~_among(more, taken)]]))
        tries += _AT_ONCE
    if len(drawn) < count:
        left = torch.ones(size, dtype=torch.bool)
        left[taken] = False
        left[drawn] = False
        drawn = torch.cat([drawn, left.nonzero().flatten()])
    return drawn[:count]


def _among(places: Tensor, taken: Tensor) -> Tensor:
    if not len(taken):
        return torch.zeros(len(places), dtype=torch.bool)
    found = torch.searchsorted(taken, places).clamp_max(len(taken) - 1)
    return taken[found] == places


def _firsts(places: Tensor) -> Tensor:
    """Each place where it stands first."""
    ordered, sorting = places.sort(stable=True)
    first = torch.ones(len(places), dtype=torch.bool)
    first[1:] = ordered[1:] != ordered[:-1]
    return places[sorting[first].sort().values]
