"""How what a layer reads varies: the covariance of its inputs, or of the patches of its kernel."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import torch
from torch import Tensor

from structure_net.core.windows import Geometry, as_image, geometry_of, windows
from structure_net.evolution.reductions.reduction import Reduction
from structure_net.evolution.reductions.values import Values

MOST_INPUTS: Final = 2048
"""Layers that read more at a position are left out: the eigenvectors of such a matrix take long."""

MOST_ROWS: Final = 2**14
"""Positions of a call that are looked at; of larger images some samples are taken, evenly."""


class InputCovariances(Reduction):
    """Covariances of what each linear layer and ungrouped convolution of up to two dimensions
    reads."""

    def __init__(self) -> None:
        self._count: dict[str, int] = {}
        self._total: dict[str, Tensor] = {}
        self._products: dict[str, Tensor] = {}
        self._start: dict[str, Tensor] = {}

    def input(self, values: Values) -> None:
        """See `Reduction.input`."""
        geometry = geometry_of(values.module)
        if geometry is None or geometry.groups != 1 or not values.tensor.numel():
            return
        if values.units * geometry.size > MOST_INPUTS:
            return
        rows = _patches(geometry, as_image(values.module, values.tensor))
        rows = rows.to(torch.float32 if rows.device.type == "mps" else torch.float64)
        layer = values.layer
        # About the mean of the first call, so that no digits are lost where means are large.
        rows = rows - self._start.setdefault(layer, rows.mean(0))
        products, total = rows.T @ rows, rows.sum(0)
        self._count[layer] = self._count.get(layer, 0) + len(rows)
        self._total[layer] = total + self._total.get(layer, 0)
        self._products[layer] = products + self._products.get(layer, 0)

    def result(self, readers: Mapping[str, tuple[str, ...]]) -> dict[str, Tensor]:
        """By layer: shape ``(q, q)`` with ``q`` inputs of each output, ordered as the columns of
        the layer's flattened weight; float64 on the CPU."""
        found = {}
        for layer, count in self._count.items():
            mean = self._total[layer] / count
            moments = self._products[layer] / count - torch.outer(mean, mean)
            found[layer] = moments.to("cpu", torch.float64)
        return found


def _patches(geometry: Geometry, image: Tensor) -> Tensor:
    """Shape ``(n, C * size)``, a row for each position of the kernel."""
    samples = max(1, min(len(image), MOST_ROWS // max(1, image[0, 0].numel())))
    chosen = torch.linspace(0, len(image) - 1, samples, device=image.device).round().long()
    return windows(geometry, image[chosen]).movedim(1, -1).flatten(0, -2)
