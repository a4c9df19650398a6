"""Running sums that make `PlaceMoments`: products of what two layers read, and of the gradient at
what the second one gives.
"""

from __future__ import annotations

from typing import Final, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from structure_net.core.expansion import PlaceMoments
from structure_net.core.windows import Geometry, offsets, windows

MOST_ENTRIES: Final = 2**25
"""Places with a larger matrix of moments are left out: it has no place in memory."""

_MOST_ROWS: Final = 2**14
_MOST_PRODUCTS: Final = 2**33
"""Rows of a batch and their products that are worth their time; a batch gives less beyond."""


class Side(Protocol):
    """One call of a linear layer or convolution, as `LayerCall` is."""

    @property
    def module(self) -> nn.Module:
        """The layer."""

    @property
    def geometry(self) -> Geometry:
        """Its window."""

    @property
    def inputs(self) -> Tensor:
        """Shape ``(N, C, H, W)``."""

    @property
    def gradient(self) -> Tensor:
        """Of each sample's own loss at the layer's output. Shape ``(N, O, H', W')``."""


class PlaceAccumulator:
    """Sums over the samples of one place.

    Args:
        writer: The first call of the layer that would get the new unit.
        reader: That of the layer that would read it.
    """

    def __init__(self, writer: Side, reader: Side) -> None:
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

    def add(self, writer: Side, reader: Side) -> None:
        """Adds the samples of a batch that are worth their time; of large images some, evenly."""
        chosen = chosen_samples(writer, reader)
        image = onto_grid(seen_by(writer, chosen), reader.inputs.shape[2:])
        features = rows_of(seen_by(reader, chosen))
        delta = rows_of(reader.gradient[chosen])
        self._samples += len(chosen)
        self._positions = len(delta) // len(chosen)
        grid = image.shape[2] * image.shape[3]
        whole = rows_of(image)
        self._inputs.addmm_(whole.T, whole, alpha=self._positions / grid)
        self._features.addmm_(features.T, features)
        self._feature_gradient.addmm_(delta.T, features)
        self._curvature.addmm_(delta.T, delta, alpha=1 / self._positions)
        for place, view in enumerate(offsets(reader.geometry, image)):
            rows = rows_of(view)
            self._cross[place].addmm_(features.T, rows)
            self._gradient[place].addmm_(delta.T, rows)

    def moments(self, layer: str, reader: str) -> PlaceMoments:
        """The means over all samples so far.

        Args:
            layer: The name of the layer that would get the new unit.
            reader: That of its reader.
        """
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


def is_place(writer: Side, reader: Side) -> bool:
    """Whether moments of the two can be summed: both ungrouped, and no matrix of them too large."""
    if writer.geometry.groups != 1 or reader.geometry.groups != 1:
        return False
    if len(writer.inputs) != len(reader.inputs):
        return False
    return max(_products(writer, reader)) <= MOST_ENTRIES


def chosen_samples(writer: Side, reader: Side) -> Tensor:
    """Which samples of a batch are worth their time, evenly over it. Shape ``(n,)``, int64."""
    samples = len(writer.inputs)
    count = min(samples, worthwhile(writer, reader))
    device = writer.inputs.device
    return torch.linspace(0, samples - 1, count, device=device).round().long()


def worthwhile(writer: Side, reader: Side) -> int:
    """How many samples of a batch are worth their time, by the size of the moments and grids."""
    rows = min(_MOST_ROWS, _MOST_PRODUCTS // max(_products(writer, reader)))
    grid = max(call.inputs[0, 0].numel() for call in (writer, reader))
    return max(1, rows // grid)


def seen_by(call: Side, chosen: Tensor) -> Tensor:
    """What each output of the layer sees, a constant 1 for its bias. Shape ``(n, p, H', W')``."""
    return with_ones(windows(call.geometry, call.inputs[chosen]), call.module)


def with_ones(image: Tensor, module: nn.Module) -> Tensor:
    """The image with a channel of ones behind the others where the layer has a bias."""
    if getattr(module, "bias", None) is None:
        return image
    return torch.cat([image, image.new_ones(len(image), 1, *image.shape[2:])], 1)


def onto_grid(image: Tensor, grid: torch.Size) -> Tensor:
    """The image averaged onto another grid, ``(N, C, H, W)`` to ``(N, C, *grid)``."""
    return image if image.shape[2:] == grid else F.adaptive_avg_pool2d(image, (grid[0], grid[1]))


def rows_of(image: Tensor) -> Tensor:
    """An image as a matrix with one row for each position. Shape ``(N * H * W, C)``."""
    return image.movedim(1, -1).flatten(0, -2)


def _products(writer: Side, reader: Side) -> tuple[int, int, int]:
    """The sizes of the largest moments: of inputs, of features, of both."""
    inputs, features = _widths(writer, reader)
    return inputs**2, features**2, reader.geometry.size * inputs * features


def _widths(writer: Side, reader: Side) -> tuple[int, int]:
    """The weights of a new unit, and of one output of the reader, biases left out."""
    inputs = writer.inputs.shape[1] * writer.geometry.size
    return inputs, reader.inputs.shape[1] * reader.geometry.size
