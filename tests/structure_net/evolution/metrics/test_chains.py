"""Chains of layers, found in models of several kinds, and their derivatives."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from structure_net.core import StandardSparseLayer, create_standard_network
from structure_net.evolution.metrics import (
    LayerChain,
    Unavailable,
    chain_jacobians,
    layer_chains,
    layered_graph_of,
    whole_chain,
)
from structure_net.evolution.metrics import chains as tested


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Linear(6, 8)
        self.inner = nn.Linear(8, 5)
        self.outer = nn.Linear(5, 8)
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        return self.head(x + self.outer(self.inner(x).relu()))


def plain() -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(7, 6), nn.ReLU(), nn.Linear(6, 5), nn.BatchNorm1d(5), nn.GELU(), nn.Linear(5, 3)
    )


def convolutional() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 6, 3), nn.ReLU(),
        nn.AvgPool2d(2), nn.Flatten(), nn.Linear(54, 5), nn.Tanh(), nn.Linear(5, 3),
    )  # fmt: skip


def chains(model: nn.Module, *shape: int) -> tuple[LayerChain, ...]:
    return layer_chains(model, layered_graph_of(model, torch.randn(2, *shape)))


def test_a_plain_network_is_one_chain_of_its_weights() -> None:
    model = plain()
    (chain,) = chains(model, 7)
    assert chain.layers == ("0", "2", "5")
    for found, layer in zip(chain.maps, (model[0], model[2], model[5]), strict=True):
        assert torch.equal(found, layer.weight)


def test_a_sparse_network_is_one_chain() -> None:
    model = create_standard_network([12, 16, 3], density=0.3, seed=0)
    (chain,) = chains(model, 12)
    assert torch.equal(chain.maps[0], model.layers[0].dense_weight())


def test_a_convolution_maps_what_does_not_vary_in_space() -> None:
    model = convolutional()
    (chain,) = chains(model, 2, 8, 8)
    assert chain.layers == ("0", "3", "7", "9")
    constant = torch.randn(2)
    image = constant[None, :, None, None].expand(1, 2, 8, 8)
    response = model[0](image)[0, :, 4, 4] - model[0].bias
    assert torch.allclose(chain.maps[0] @ constant, response, atol=1e-5)
    features = torch.randn(6)
    flat = features[:, None].expand(6, 9).reshape(54)
    assert torch.allclose(chain.maps[2] @ features, model[7].weight @ flat, atol=1e-5)


def test_a_residual_network_has_the_chains_between_its_sums() -> None:
    model = Residual()
    graph = layered_graph_of(model, torch.randn(2, 6))
    assert [chain.layers for chain in layer_chains(model, graph)] == [
        ("stem",),
        ("inner", "outer"),
    ]
    whole = whole_chain(model, graph)
    assert isinstance(whole, Unavailable)
    assert "one line" in whole.reason


def test_the_chain_of_a_plain_network_is_whole() -> None:
    model = plain()
    whole = whole_chain(model, layered_graph_of(model, torch.randn(2, 7)))
    assert isinstance(whole, LayerChain)
    assert whole.layers == ("0", "2", "5")


def test_derivatives_hold_what_stands_between_layers() -> None:
    model = plain().double().eval()
    inputs = torch.randn(4, 7, dtype=torch.float64)
    found = chain_jacobians(model, ["0", "2", "5"], inputs)
    assert isinstance(found, tuple)
    assert [one.shape for one in found] == [(4, 6, 7), (4, 5, 6), (4, 3, 5)]
    slopes = (model[0](inputs) > 0).double()
    expected = slopes[:, :, None] * model[0].weight
    assert torch.allclose(found[0], expected, rtol=0, atol=1e-12)
    for sample in range(4):
        whole = torch.autograd.functional.jacobian(lambda x: model(x[None])[0], inputs[sample])
        product = found[2][sample] @ found[1][sample] @ found[0][sample]
        assert torch.allclose(product, whole, rtol=0, atol=1e-12)


def test_derivatives_leave_the_model_as_it_was() -> None:
    model = plain().train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    chain_jacobians(model, ["0", "2", "5"], torch.randn(4, 7))
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert model.training
    assert not any(module._forward_pre_hooks for module in model.modules())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_an_activation_in_place_does_not_disturb_the_derivatives() -> None:
    model = nn.Sequential(nn.Linear(4, 5), nn.ReLU(inplace=True), nn.Linear(5, 2)).double()
    inputs = torch.randn(3, 4, dtype=torch.float64)
    found = chain_jacobians(model, ["0", "2"], inputs)
    assert isinstance(found, tuple)
    slopes = (model[0](inputs) > 0).double()
    assert torch.allclose(found[0], slopes[:, :, None] * model[0].weight, rtol=0, atol=1e-12)


def test_layers_with_positions_have_no_derivatives_of_this_kind() -> None:
    missing = chain_jacobians(convolutional(), ["0", "3"], torch.randn(2, 2, 8, 8))
    assert isinstance(missing, Unavailable)
    assert "one vector a sample" in missing.reason


def test_a_layer_that_is_called_twice_has_none() -> None:
    layer = nn.Linear(4, 4)
    missing = chain_jacobians(nn.Sequential(layer, layer), ["0"], torch.randn(2, 4))
    assert isinstance(missing, Unavailable)
    assert "called 2 times" in missing.reason


def test_a_chain_without_layers_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one layer"):
        chain_jacobians(plain(), [], torch.randn(2, 7))


@pytest.mark.usefixtures("either_storage")
def test_a_sparse_layer_too_large_for_a_matrix_is_in_no_chain(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    layers = (nn.Linear(4, 8), StandardSparseLayer(8, 5, density=0.5), nn.Linear(5, 2))
    model = nn.Sequential(*layers)
    graph = layered_graph_of(model, torch.randn(2, 4))
    assert [chain.layers for chain in layer_chains(model, graph)] == [("0", "1", "2")]
    monkeypatch.setattr(tested, "MOST_ENTRIES", 39)
    assert [chain.layers for chain in layer_chains(model, graph)] == [("0",), ("2",)]
    found = whole_chain(model, graph)
    assert isinstance(found, Unavailable)
    assert "too large" in found.reason
