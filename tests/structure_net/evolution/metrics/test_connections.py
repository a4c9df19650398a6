"""Every layer's weights, one for each pair of connected units."""

from __future__ import annotations

import torch
from torch import nn

from structure_net.core import create_standard_network
from structure_net.core.layers import SparseConv2d
from structure_net.evolution.metrics import LayerConnections, layer_connections


def test_a_linear_layer_has_its_weights() -> None:
    model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    found = layer_connections(model)
    assert list(found) == ["0", "2"]
    assert torch.equal(found["0"].weights, model[0].weight)
    assert found["0"].pattern is None
    assert found["0"].largest == float(model[0].weight.detach().abs().max())


def test_a_convolution_has_the_norms_of_its_kernels() -> None:
    model = nn.Conv2d(3, 5, (2, 3))
    (found,) = layer_connections(model).values()
    assert found.weights.shape == (5, 3)
    expected = model.weight.square().sum((2, 3)).sqrt()
    assert torch.allclose(found.weights, expected, rtol=1e-6, atol=0)


def test_a_transposed_convolution_has_its_outputs_first() -> None:
    model = nn.ConvTranspose2d(3, 5, 2)
    (found,) = layer_connections(model).values()
    assert torch.allclose(found.weights[4, 1], model.weight[1, 4].norm(), rtol=1e-6, atol=0)


def test_a_grouped_convolution_connects_within_its_groups() -> None:
    (found,) = layer_connections(nn.Conv2d(4, 6, 3, groups=2)).values()
    assert found.pattern is not None
    assert found.weights.shape == (12,)
    mask = found.pattern.mask()
    assert bool(mask[:3, :2].all())
    assert bool(mask[3:, 2:].all())
    assert int(mask.sum()) == 12


def test_a_sparse_layer_has_its_live_weights() -> None:
    model = create_standard_network([9, 8, 3], density=0.3, seed=0)
    for name, found in layer_connections(model).items():
        layer = model.get_submodule(name)
        assert found.pattern == layer.pattern
        assert torch.equal(found.weights, layer.live_weights)


def test_a_sparse_convolution_has_a_norm_for_each_live_kernel() -> None:
    layer = SparseConv2d(4, 6, 3, density=0.5, generator=torch.Generator().manual_seed(0))
    (found,) = layer_connections(layer).values()
    expected = layer.live_weights.flatten(1).norm(dim=1)
    assert torch.allclose(found.weights, expected, rtol=1e-6, atol=0)


def test_a_module_in_two_places_counts_once() -> None:
    layer = nn.Linear(3, 3)
    assert list(layer_connections(nn.Sequential(layer, layer))) == ["0"]


def test_nothing_connected_has_no_largest_weight() -> None:
    assert LayerConnections(torch.empty(0)).largest == 0
