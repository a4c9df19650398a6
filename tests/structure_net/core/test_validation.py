from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from structure_net.core import (
    SparsePattern,
    StandardNetwork,
    StandardSparseLayer,
    create_standard_network,
    validate_network,
)
from structure_net.core.reachability import reachable
from tests.zoo import ZOO


def sparse(pairs: list[tuple[int, int]], shape: tuple[int, int]) -> StandardSparseLayer:
    return StandardSparseLayer(shape[1], shape[0], pattern=SparsePattern.from_pairs(pairs, shape))


def kinds(model: nn.Module, example: Any = None, **options: float) -> dict[tuple[str, str], int]:
    health = validate_network(model, example, **options)
    return {(problem.layer, problem.kind): problem.count for problem in health.problems}


def test_a_newborn_network_is_healthy() -> None:
    health = validate_network(create_standard_network([64, 64, 32, 10], 0.05, seed=0))
    assert health.healthy
    assert health.complete
    assert str(health) == "Healthy."


def test_without_an_example_the_result_says_what_was_not_checked() -> None:
    health = validate_network(nn.Linear(2, 2))
    assert not health.complete
    assert "no example was given" in str(health)


def test_dead_paths_are_told_apart() -> None:
    model = nn.Sequential(
        sparse([(0, 0), (1, 0), (3, 2)], (4, 3)),
        nn.ReLU(),
        sparse([(0, 2), (1, 0), (1, 1), (2, 0)], (3, 4)),
        nn.ReLU(),
        sparse([(0, 0), (1, 2)], (2, 3)),
    )
    assert kinds(model, torch.randn(5, 3), vanishing=0) == {
        ("0", "no_incoming"): 1,  # unit 2
        ("0", "no_outgoing"): 1,  # unit 3
        ("0", "unused"): 1,  # unit 1, which only a unit reads that none reads
        ("2", "unreachable"): 1,  # unit 0, which reads only the first layer's unit 2
        ("2", "no_outgoing"): 1,  # unit 1
        ("4", "unreachable"): 1,  # output 0, which reads only that unit 0
    }


def test_residual_paths_keep_units_alive() -> None:
    class Residual(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Linear(3, 3)
            self.branch = sparse([(0, 0)], (3, 3))
            self.head = nn.Linear(3, 2)

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            hidden = self.first(inputs)
            return self.head(hidden + self.branch(hidden.relu()))

    model = Residual()
    assert kinds(model, torch.randn(4, 3)) == {("branch", "no_incoming"): 2}
    with torch.no_grad():
        model.branch.weight.zero_()
    assert kinds(model, torch.randn(4, 3)) == {("branch", "no_incoming"): 2}


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10_000))
def test_live_paths_are_those_of_the_gradient(seed: int) -> None:
    """With positive weights and inputs and no bias, a path is live if and only if a derivative is
    not 0: of a unit by the inputs, and of the outputs by a unit.
    """
    generator = torch.Generator().manual_seed(seed)
    network = create_standard_network([5, 6, 6, 3], 0.2, seed=seed).double()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.abs_()
    inputs = torch.rand(1, 5, generator=generator, dtype=torch.float64).add(0.5).requires_grad_()
    reach = reachable(network, inputs)
    hidden = inputs
    units = []
    for layer in network.layers:
        units.append(hidden := layer(hidden))
        hidden = hidden.relu()
    for layer, unit in zip(reach.values(), units, strict=True):
        fed = [
            bool(torch.autograd.grad(unit[0, i], inputs, retain_graph=True)[0].any())
            for i in range(unit.shape[1])
        ]
        (slopes,) = torch.autograd.grad(units[-1].sum(), unit, retain_graph=True)
        assert layer.fed.tolist() == fed
        assert layer.used.tolist() == slopes[0].bool().tolist()


# Layers that the model itself leaves without a reader in evaluation mode, with their units.
UNREAD = {
    "sampler": {("spread", "no_outgoing"): 4},
    "unread": {("residuals.1", "no_outgoing"): 6},
}


@pytest.mark.parametrize("name", sorted(ZOO))
def test_no_healthy_network_is_slandered(name: str) -> None:
    case = ZOO[name]
    model = case.build(0)
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    found = kinds(model, case.inputs(2, 0), vanishing=0, exploding=float("inf"))
    assert found == UNREAD.get(name, {})
    for key, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[key]), key
    assert not any(module._forward_hooks for module in model.modules())


def test_values_that_are_not_finite_are_found_where_they_are() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2)).eval()
    with torch.no_grad():
        model[0].weight[1, 2] = float("nan")
        model[1].running_mean[0] = float("inf")
    found = kinds(model, torch.ones(2, 3))
    assert found["0", "parameter_not_finite"] == 1
    assert found["1", "buffer_not_finite"] == 1
    assert found["0", "activation_not_finite"] == 2
    assert found["1", "activation_not_finite"] == 4
    assert found["2", "activation_not_finite"] == 4


def test_signals_that_vanish_or_explode_are_found() -> None:
    model = nn.Sequential(nn.Linear(50, 50, bias=False), nn.Linear(50, 50, bias=False))
    with torch.no_grad():
        model[0].weight.mul_(1e-3)
        model[1].weight.mul_(1e4)
    found = kinds(model, torch.randn(8, 50, generator=torch.Generator().manual_seed(0)))
    assert found == {("0", "vanishing"): 1, ("1", "exploding"): 1}


@pytest.mark.usefixtures("masked")
def test_weights_off_the_pattern_are_found() -> None:
    network = create_standard_network([6, 4, 2], 0.5, seed=0)
    with torch.no_grad():
        network.layers[1].weight.add_(1)
    dead = int((~network.layers[1].mask).sum())
    assert kinds(network)["layers.1", "weight_off_pattern"] == dead
    network.layers[1].settle()
    assert ("layers.1", "weight_off_pattern") not in kinds(network)


def test_modes_are_as_before_and_the_result_reads_well() -> None:
    network = StandardNetwork([64, 64, 32, 10], density=0.02, seed=0).train()
    network.layers[1].eval()
    told = str(validate_network(network))
    assert network.training
    assert not network.layers[1].training
    assert "layers.0: 19 of 64 units are read by no live connection." in told
    assert told.startswith("3 problems; by layers: no_outgoing in 2, unused in 1.")


def test_wrong_thresholds_are_refused() -> None:
    with pytest.raises(ValueError, match="0 <= vanishing < exploding"):
        validate_network(nn.Linear(2, 2), vanishing=2, exploding=1)


def test_the_search_for_live_paths_leaves_a_network_in_training_as_it_was() -> None:
    network = nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Dropout(), nn.Linear(5, 2))
    before = {key: value.clone() for key, value in network.state_dict().items()}
    state = torch.get_rng_state()
    assert reachable(network, torch.randn(6, 4, generator=torch.Generator().manual_seed(0)))
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)
