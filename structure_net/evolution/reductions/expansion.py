r"""The moments of every place where a unit could be added (`structure_net.core.expansion`).

For each layer whose units another one reads, products of the layer's inputs, of the reader's inputs
and of the gradient at the reader's outputs. Where the two layers lie on different grids, as behind
a pooling, the inputs are averaged onto the reader's. Of large images some samples of each batch are
taken, evenly.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Final

import torch
from torch import Tensor
from torch.nn import functional as F

from structure_net.core.expansion import PlaceMoments
from structure_net.core.windows import offsets, windows
from structure_net.evolution.reductions.layer_gradients import LayerCall, LayerCalls, with_ones
from structure_net.evolution.reductions.reduction import Reduction, With
from structure_net.evolution.reductions.values import BatchSeen, Gradients, Values

MOST_ENTRIES: Final = 2**25
"""Places with a larger matrix of moments are left out: it has no place in memory."""

_MOST_ROWS: Final = 2**14
_MOST_PRODUCTS: Final = 2**33
"""Rows of a batch and their products that are worth their time; a batch gives less beyond."""


class PlaceSums(Reduction):
    """Running sums of the products that make `PlaceMoments`, one set for each pair of layers."""

    differentiates: ClassVar[frozenset[With]] = frozenset({With.OUTPUTS})

    def __init__(self) -> None:
        self._calls = LayerCalls()
        self._now: dict[str, LayerCall | None] = {}
        self._sums: dict[tuple[str, str], _Sums] = {}

    def input(self, values: Values) -> None:
        """See `Reduction.input`."""
        self._calls.input(values)

    def output(self, values: Values) -> None:
        """See `Reduction.output`."""
        self._calls.output(values)

    def gradients(self, found: Gradients) -> None:
        """See `Reduction.gradients`."""
        for call in self._calls.matched(found):
            # A layer that is called twice has no one place in the network.
            self._now[call.layer] = None if call.layer in self._now else call

    def batch(self, seen: BatchSeen) -> None:
        """See `Reduction.batch`."""
        now, self._now = self._now, {}
        self._calls.clear()
        for layer, readers in seen.readers.items():
            for reader in readers:
                writer, taker = now.get(layer), now.get(reader)
                if writer is None or taker is None or not _fits(writer, taker):
                    self._sums.pop((layer, reader), None)
                    continue
                if (layer, reader) not in self._sums:
                    self._sums[layer, reader] = _Sums(writer, taker)
                self._sums[layer, reader].add(writer, taker)

    def result(self, readers: Mapping[str, tuple[str, ...]]) -> dict[str, tuple[PlaceMoments, ...]]:
        """By layer, one for each of its readers; layers without a place are not there.

        A place needs a linear layer or an ungrouped convolution on both sides, each called once in
        a pass, and no more than `MOST_ENTRIES` entries in a moment.
        """
        found = {
            layer: tuple(
                self._sums[layer, reader].moments(layer, reader)
                for reader in names
                if (layer, reader) in self._sums
            )
            for layer, names in readers.items()
        }
        return {layer: places for layer, places in found.items() if places}


def _fits(writer: LayerCall, reader: LayerCall) -> bool:
    if writer.geometry.groups != 1 or reader.geometry.groups != 1:
        return False
    if len(writer.inputs) != len(reader.inputs):
        return False
    inputs, features = _widths(writer, reader)
    return reader.geometry.size * max(inputs, features) ** 2 <= MOST_ENTRIES


def _widths(writer: LayerCall, reader: LayerCall) -> tuple[int, int]:
    """The weights of a new unit, and of one output of the reader, biases left out."""
    inputs = writer.inputs.shape[1] * writer.geometry.size
    return inputs, reader.inputs.shape[1] * reader.geometry.size


class _Sums:
    """Sums over the samples of one place."""

    def __init__(self, writer: LayerCall, reader: LayerCall) -> None:
        inputs, features = _widths(writer, reader)
        self._bias = getattr(writer.module, "bias", None) is not None
        inputs += self._bias
        features += getattr(reader.module, "bias", None) is not None
        outputs, kernel = reader.gradient.shape[1], reader.geometry.size

        def zeros(*shape: int) -> Tensor:
            # Summed as they are computed: a copy in higher precision costs as much as the product.
            return torch.zeros(*shape, dtype=writer.inputs.dtype, device=writer.inputs.device)

        self._samples = 0
        self._positions = 1
        self._inputs = zeros(inputs, inputs)
        self._features = zeros(features, features)
        self._cross = zeros(kernel, features, inputs)
        self._gradient = zeros(kernel, outputs, inputs)
        self._feature_gradient = zeros(outputs, features)
        self._curvature = zeros(outputs, outputs)

    def add(self, writer: LayerCall, reader: LayerCall) -> None:
        chosen = _chosen(writer, reader)
        image = _onto(_seen(writer, chosen), reader.inputs.shape[2:])
        features = _rows(_seen(reader, chosen))
        delta = _rows(reader.gradient[chosen])
        self._samples += len(chosen)
        self._positions = len(delta) // len(chosen)
        grid = image.shape[2] * image.shape[3]
        whole = _rows(image)
        self._inputs.addmm_(whole.T, whole, alpha=self._positions / grid)
        self._features.addmm_(features.T, features)
        self._feature_gradient.addmm_(delta.T, features)
        self._curvature.addmm_(delta.T, delta, alpha=1 / self._positions)
        for place, view in enumerate(offsets(reader.geometry, image)):
            rows = _rows(view)
            self._cross[place].addmm_(features.T, rows)
            self._gradient[place].addmm_(delta.T, rows)

    def moments(self, layer: str, reader: str) -> PlaceMoments:
        return PlaceMoments(
            layer,
            reader,
            self._samples,
            self._positions,
            inputs=self._mean(self._inputs),
            features=self._mean(self._features),
            cross=self._mean(self._cross),
            gradient=self._mean(self._gradient),
            feature_gradient=self._mean(self._feature_gradient),
            curvature=self._mean(self._curvature),
            bias=self._bias,
        )

    def _mean(self, total: Tensor) -> Tensor:
        return (total / self._samples).to("cpu", torch.float64)


def _chosen(writer: LayerCall, reader: LayerCall) -> Tensor:
    """Which samples are worth their time, evenly over the batch."""
    inputs, features = _widths(writer, reader)
    rows = min(_MOST_ROWS, _MOST_PRODUCTS // (reader.geometry.size * max(inputs, features) ** 2))
    grid = max(call.inputs[0, 0].numel() for call in (writer, reader))
    samples = len(writer.inputs)
    count = max(1, min(samples, rows // grid))
    device = writer.inputs.device
    return torch.linspace(0, samples - 1, count, device=device).round().long()


def _seen(call: LayerCall, chosen: Tensor) -> Tensor:
    """What each output of the layer sees, a constant 1 for its bias. Shape ``(n, p, H', W')``."""
    return with_ones(windows(call.geometry, call.inputs[chosen]), call.module)


def _onto(image: Tensor, grid: torch.Size) -> Tensor:
    return image if image.shape[2:] == grid else F.adaptive_avg_pool2d(image, (grid[0], grid[1]))


def _rows(image: Tensor) -> Tensor:
    return image.movedim(1, -1).flatten(0, -2)
