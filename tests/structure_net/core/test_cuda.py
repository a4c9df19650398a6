"""Sparse layers on a CUDA device compute what they compute on the CPU, and rearrange there."""

from __future__ import annotations

import copy
from typing import Literal

import pytest
import torch

from structure_net.core import (
    SparseConv2d,
    StandardSparseLayer,
    TemporaryPatchLayer,
    assign,
    create_standard_network,
    lsuv_,
    measure_latency,
    validate_network,
)
from tests.elsewhere import away

pytestmark = pytest.mark.away


def batch(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_a_sparse_network_and_its_gradients_are_those_of_the_cpu() -> None:
    network = create_standard_network([12, 400, 300, 3], density=0.2, seed=0).double()
    other, inputs = copy.deepcopy(network).to(away()), batch(5, 12)
    network(inputs).square().sum().backward()
    other(inputs.to(away())).square().sum().backward()
    for here, there in zip(network.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(there.grad.cpu(), here.grad, rtol=1e-10, atol=1e-10)


def test_layers_rearrange_with_the_same_draws_as_on_the_cpu() -> None:
    layer = SparseConv2d(4, 6, 3, density=0.5, generator=torch.Generator().manual_seed(0))
    other = copy.deepcopy(layer).to(away())
    for dim, source in ((0, [0, 2, 5, -1]), (1, [-1, 1, 0, -1])):
        for one in (layer, other):
            generator = torch.Generator().manual_seed(7)
            assign(one, one.reindexed(dim, source, new="fresh", generator=generator))
            one.settle()
    assert other.weight.device.type == away()
    assert other.pattern == layer.pattern
    # The scale of a draw is a root that the device may round otherwise.
    torch.testing.assert_close(other.weight.cpu(), layer.weight, rtol=1e-6, atol=0)


def test_trial_connections_are_accepted_on_the_device() -> None:
    network = create_standard_network([6, 8, 3], density=0.5, seed=0).double().to(away())
    base = network.layers[0]
    absent = (~base.pattern.mask()).nonzero()[:3]
    trial = TemporaryPatchLayer(base, absent, scale=1.0, generator=torch.Generator().manual_seed(0))
    before = trial(batch(4, 6).to(away()))
    torch.testing.assert_close(trial.accept()(batch(4, 6).to(away())), before, rtol=0, atol=1e-10)


def test_a_network_is_scaled_and_checked_on_the_device() -> None:
    network = create_standard_network([16, 32, 4], density=0.5, seed=0).double().to(away())
    inputs = batch(64, 16).to(away())
    assert all(one.converged for one in lsuv_(network, inputs))
    assert validate_network(network, inputs).complete
    assert all(parameter.device.type == away() for parameter in network.parameters())


@pytest.mark.parametrize("storage", ["live", "masked"])
def test_a_layer_lies_where_pytorch_makes_layers_wherever_its_pattern_lies(
    storage: Literal["live", "masked"], request: pytest.FixtureRequest
) -> None:
    request.getfixturevalue("live_storage" if storage == "live" else "masked")
    here = create_standard_network([30, 40, 3], density=0.2, seed=0)
    with torch.device(away()):
        there = create_standard_network([30, 40, 3], density=0.2, seed=0)
    assert all(one.device.type == away() for one in there.state_dict().values())
    for one, other in zip(here.parameters(), there.parameters(), strict=True):
        torch.testing.assert_close(other.cpu(), one, rtol=1e-6, atol=0)
    pattern = there.layers[0].pattern
    assert pattern.rows.device.type == away()
    layer = StandardSparseLayer(30, 40, pattern=pattern)
    assert all(one.device.type == "cpu" for one in layer.state_dict().values())
    assert layer.pattern == pattern


def test_latency_waits_for_the_device_of_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[torch.device] = []
    model = torch.nn.Linear(3, 2, device=away())
    monkeypatch.setattr(torch.get_device_module(away()), "synchronize", waited.append)
    measure_latency(model, torch.ones(1, 3, device=away()), repeats=2)
    assert waited == 3 * [model.weight.device]
