from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from structure_net.core import SparseConv2d, SparseLayer, assign, create_standard_network
from structure_net.core.crossover import Storage
from structure_net.core.flops import Flops, count_flops
from structure_net.core.storage import StoredLayer


def counted(model: nn.Module, inputs: torch.Tensor) -> float:
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        model(inputs)
    return counter.get_total_flops() / len(inputs)


def convolutional() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Conv2d(4, 4, 3, groups=2, stride=2),
        nn.ConvTranspose2d(4, 2, 2),
        nn.Flatten(),
        nn.Linear(32, 5),
    )


@pytest.mark.parametrize(
    ("model", "shape"),
    [
        (convolutional(), (3, 3, 8, 8)),
        (nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), (2, 5, 8)),
        (nn.Linear(3, 2), (4, 3)),
    ],
    ids=["convolutional", "attention", "linear"],
)
def test_dense_models_count_as_torch_counts(model: nn.Module, shape: tuple[int, ...]) -> None:
    inputs = torch.randn(shape)
    found = count_flops(model, inputs)
    assert found.total == found.dense == counted(model, inputs)
    assert sum(found.layers.values()) == found.total


def test_known_layers_count_two_operations_per_weight_and_position() -> None:
    found = count_flops(convolutional(), torch.randn(2, 3, 8, 8))
    assert found.layers["0"] == 2 * 4 * 3 * 9 * 64
    assert found.layers["3"] == 2 * 4 * 2 * 9 * 9
    assert found.layers["6"] == 2 * 5 * 32
    assert "1" not in found.layers


def test_sparse_layers_count_their_live_connections() -> None:
    network = create_standard_network([12, 16, 3], density=0.3, seed=0)
    found = count_flops(network, torch.randn(5, 12))
    assert isinstance(found, Flops)
    assert found.total == 2 * sum(layer.connections for layer in network.layers)
    assert found.dense == 2 * (12 * 16 + 16 * 3)
    assert set(found.layers) == {"layers.0", "layers.1"}


def test_a_sparse_convolution_counts_every_position() -> None:
    layer = SparseConv2d(4, 6, 3, density=0.5)
    found = count_flops(nn.Sequential(layer, nn.ReLU()), torch.randn(2, 4, 8, 8))
    positions = layer(torch.randn(1, 4, 8, 8))[0, 0].numel()
    assert found.total == 2 * layer.connections * positions
    assert found.dense == 2 * 4 * 6 * 9 * positions


def sparse_models() -> list[tuple[nn.Module, tuple[int, ...], int]]:
    """Models of sparse layers, the shape of their inputs, and the positions of their outputs."""
    draw = torch.Generator().manual_seed(0)
    network = create_standard_network([12, 16, 7, 3], density=0.3, seed=0)
    kernels = SparseConv2d(3, 4, (3, 2), stride=2, padding=1, density=0.3, generator=draw)
    single = SparseConv2d(3, 4, 3, dilation=2, density=0.3, granularity="weight", generator=draw)
    return [(network, (5, 12), 1), (kernels, (5, 3, 8, 7), 16), (single, (5, 3, 8, 7), 12)]


@pytest.mark.parametrize("storage", ["live", "masked"])
@pytest.mark.parametrize(
    ("model", "shape", "positions"), sparse_models(), ids=["linear", "kernels", "weights"]
)
def test_torch_counts_what_a_sparse_layer_computes_there_and_back(
    model: nn.Module, shape: tuple[int, ...], positions: int, storage: Storage
) -> None:
    weights = 0
    for layer in model.modules():
        if isinstance(layer, StoredLayer):
            assign(layer, layer.stored(storage))
            weights += layer.weight.numel()
    with FlopCounterMode(display=False) as counter:
        outputs = model(torch.randn(shape, requires_grad=True))
    assert counter.get_total_flops() == 2 * 5 * positions * weights
    with FlopCounterMode(display=False) as counter:
        outputs.sum().backward()
    assert counter.get_total_flops() == 4 * 5 * positions * weights
    live = sum(one.connections for one in model.modules() if isinstance(one, SparseLayer))
    assert count_flops(model, torch.randn(shape)).total == 2 * positions * live


def test_a_layer_that_runs_twice_counts_twice() -> None:
    layer = nn.Linear(4, 4)
    assert count_flops(nn.Sequential(layer, nn.ReLU(), layer), torch.randn(2, 4)).total == 64


def test_counting_leaves_the_model_as_it_was() -> None:
    model = convolutional().train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    count_flops(model, torch.randn(2, 3, 8, 8))
    assert all(module.training for module in model.modules())
    assert not any(module._forward_hooks for module in model.modules())
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name])


def test_an_example_without_samples_is_refused() -> None:
    with pytest.raises(ValueError, match="samples"):
        count_flops(nn.Linear(3, 2), ())
