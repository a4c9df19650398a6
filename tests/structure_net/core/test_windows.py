from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from structure_net.core.layers import SparseConv2d, StandardSparseLayer
from structure_net.core.sparsity import SparseLayer
from structure_net.core.windows import Geometry, as_image, geometry_of, offsets, windows


def _normal(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


LAYERS = {
    "linear": (nn.Linear(5, 3), (4, 5)),
    "tokens": (nn.Linear(5, 3), (4, 6, 5)),
    "sparse": (StandardSparseLayer(5, 3, density=0.6), (4, 5)),
    "conv1d": (nn.Conv1d(2, 3, 3, stride=2, padding=2, dilation=2), (4, 2, 9)),
    "conv2d": (nn.Conv2d(2, 3, (3, 2), stride=(2, 1), padding=(1, 0)), (4, 2, 7, 6)),
    "same": (nn.Conv2d(2, 3, 3, padding="same"), (4, 2, 7, 6)),
    "reflected": (nn.Conv2d(2, 3, 3, padding=1, padding_mode="reflect"), (4, 2, 7, 6)),
    "sparse conv": (SparseConv2d(2, 3, 3, padding=1, stride=2, density=0.5), (4, 2, 7, 6)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_is_its_weight_times_its_windows(name: str) -> None:
    layer, shape = LAYERS[name]
    layer = layer.double()
    inputs = _normal(*shape)
    geometry = geometry_of(layer)
    assert geometry is not None
    weight = layer.dense_weight() if isinstance(layer, SparseLayer) else layer.weight
    assert isinstance(weight, Tensor)
    seen = windows(geometry, as_image(layer, inputs))
    product = torch.einsum("op,nphw->nohw", weight.flatten(1), seen)
    if isinstance(layer.bias, Tensor):
        product = product + layer.bias[:, None, None]
    torch.testing.assert_close(product, as_image(layer, layer(inputs)), atol=1e-12, rtol=0)


@pytest.mark.parametrize("name", LAYERS)
def test_offsets_are_the_windows_position_by_position(name: str) -> None:
    layer, shape = LAYERS[name]
    geometry = geometry_of(layer)
    assert geometry is not None
    image = as_image(layer, _normal(*shape))
    views = torch.stack(list(offsets(geometry, image)), 2)
    assert views.shape[2] == geometry.size
    assert torch.equal(views.flatten(1, 2), windows(geometry, image))


def test_a_single_sample_is_a_batch_of_one() -> None:
    assert as_image(nn.Linear(5, 3), torch.zeros(5)).shape == (1, 5, 1, 1)
    assert as_image(nn.Conv2d(2, 3, 3), torch.zeros(2, 7, 6)).shape == (1, 2, 7, 6)


def test_other_modules_have_no_window() -> None:
    assert geometry_of(nn.Embedding(3, 2)) is None
    assert geometry_of(nn.ConvTranspose2d(2, 3, 3)) is None
    assert geometry_of(nn.Conv2d(4, 4, 3, groups=2)) == Geometry((3, 3), groups=2)
