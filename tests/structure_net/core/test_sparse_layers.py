from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from structure_net.core import (
    ExtremaAwareSparseLayer,
    SparseConv2d,
    SparseLayer,
    SparsePattern,
    StandardSparseLayer,
    TemporaryPatchLayer,
)
from structure_net.testing import check_sparse_layer

pytestmark = pytest.mark.usefixtures("either_storage")


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def patched(base: SparseLayer) -> TemporaryPatchLayer:
    free = (~base.pattern.mask()).nonzero()
    return TemporaryPatchLayer(base, free[::3][:5], scale=1.0, generator=generator(3))


LAYERS: dict[str, Callable[[], SparseLayer]] = {
    "linear": lambda: StandardSparseLayer(9, 7, density=0.3, generator=generator()),
    "linear without bias": lambda: StandardSparseLayer(
        5, 8, density=0.4, bias=False, generator=generator()
    ),
    "full": lambda: StandardSparseLayer(4, 3, generator=generator()),
    "one input": lambda: StandardSparseLayer(1, 3, generator=generator()),
    "one output": lambda: StandardSparseLayer(4, 1, density=0.5, generator=generator()),
    "empty rows": lambda: StandardSparseLayer(
        6, 5, pattern=SparsePattern.from_pairs([(0, 0), (0, 5), (3, 2)], (5, 6))
    ),
    "large": lambda: StandardSparseLayer(600, 500, density=0.01, generator=generator()),
    "convolution": lambda: SparseConv2d(4, 6, 3, density=0.4, generator=generator()),
    "convolution with geometry": lambda: SparseConv2d(
        3, 5, (3, 2), stride=2, padding=(1, 2), dilation=2, density=0.5, generator=generator()
    ),
    "pointwise convolution": lambda: SparseConv2d(
        6, 4, 1, density=0.4, bias=False, generator=generator()
    ),
    "extrema": lambda: ExtremaAwareSparseLayer(8, 6, density=0.3, generator=generator()),
    "extrema, exact": lambda: ExtremaAwareSparseLayer(
        8, 6, density=0.3, activation="tanh", momentum=None, generator=generator()
    ),
    "patched linear": lambda: patched(
        StandardSparseLayer(9, 7, density=0.3, generator=generator())
    ),
    "patched convolution": lambda: patched(
        SparseConv2d(4, 6, 3, padding=1, density=0.4, generator=generator())
    ),
    "patched extrema": lambda: patched(
        ExtremaAwareSparseLayer(9, 7, density=0.3, generator=generator())
    ),
}


@pytest.mark.parametrize("name", LAYERS)
def test_every_layer_keeps_the_promises_of_a_sparse_layer(name: str) -> None:
    check_sparse_layer(LAYERS[name]())
