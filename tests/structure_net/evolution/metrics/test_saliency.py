from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from structure_net.core import (
    SparseConv2d,
    SparsePattern,
    StandardSparseLayer,
    create_standard_network,
)
from structure_net.core.layers import Granularity
from structure_net.core.weights import input_sums, output_sums
from structure_net.evolution.metrics.saliency import (
    cubic_target,
    masked_layers,
    synflow_order,
    synflow_scores,
)
from structure_net.surgery import set_storage
from tests.laws.storages import STORAGES, Storage


def _stored(network: nn.Module, storage: Storage) -> nn.Module:
    set_storage(network, storage)
    return network


def _layer(weights: list[list[float]]) -> StandardSparseLayer:
    matrix = torch.tensor(weights)
    outputs, inputs = matrix.shape
    pattern = SparsePattern.from_mask(matrix != 0)
    layer = StandardSparseLayer(inputs, outputs, pattern=pattern, bias=False)
    layer.fill(matrix[pattern.rows, pattern.columns])
    return layer


def test_gradual_pruning_follows_the_cubic_schedule_from_wherever_it_stands() -> None:
    # Zhu and Gupta: density 1 to .1 over ten steps.
    wanted = [0.1 + 0.9 * (1 - step / 10) ** 3 for step in range(11)]
    now, last = 1.0, 0.0
    for step in (1, 4, 5, 9, 10):
        now = cubic_target(now, 0.1, last=last, progress=step / 10)
        assert now == pytest.approx(wanted[step])
        last = step / 10
    assert cubic_target(0.05, 0.1, last=0.5, progress=0.6) == 0.05
    assert cubic_target(0.7, 0.1, last=1.0, progress=1.0) == 0.1


@pytest.mark.parametrize(("last", "progress"), [(0.5, 0.4), (-0.1, 0.4), (0.2, 1.1)])
def test_time_that_runs_backwards_is_refused(last: float, progress: float) -> None:
    with pytest.raises(ValueError, match="in this order"):
        cubic_target(1.0, 0.1, last=last, progress=progress)


@pytest.mark.usefixtures("either_storage")
def test_synaptic_flow_is_the_sum_over_paths_by_hand() -> None:
    first, second = _layer([[1.0, -2.0], [0.0, 3.0]]), _layer([[5.0, -7.0]])
    network = nn.Sequential(first, nn.ReLU(), second)
    found = synflow_scores(network, torch.randn(4, 2))
    # Inputs of 1: the paths are 1 5, 2 5 and 3 7.
    assert found["0"].tolist() == [5.0, 10.0, 21.0]
    assert found["2"].tolist() == [15.0, 21.0]


@pytest.mark.usefixtures("either_storage")
@pytest.mark.parametrize("granularity", ["kernel", "weight"])
def test_as_much_flows_into_a_unit_as_out_of_it(granularity: Granularity) -> None:
    draw = torch.Generator().manual_seed(0)
    more: dict[str, Any] = {"granularity": granularity, "generator": draw, "bias": False}
    network = nn.Sequential(
        SparseConv2d(2, 4, 3, density=0.6, **more),
        nn.ReLU(),
        SparseConv2d(4, 5, 3, density=0.6, **more),
        nn.ReLU(),
        SparseConv2d(5, 3, 2, density=0.6, **more),
    )
    found = synflow_scores(network, torch.randn(2, 2, 7, 7, generator=draw))
    layers = masked_layers(network)
    for before, behind in (("0", "2"), ("2", "4")):
        into = output_sums(layers[before], found[before])
        out = input_sums(layers[behind], found[behind])
        torch.testing.assert_close(into, out, rtol=1e-10, atol=0)


def test_the_order_is_the_same_in_both_storages() -> None:
    network, example = (
        create_standard_network([9, 14, 12, 4], density=0.4, seed=0),
        torch.ones(1, 9),
    )
    found = [synflow_order(_stored(network, one), example, 0.2) for one in STORAGES]
    for one, other in zip(*(order.values() for order in found), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-10)


def test_a_look_at_the_flow_leaves_the_network_alone() -> None:
    network = create_standard_network([4, 6, 3], density=0.5, seed=0)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    order = synflow_order(network, torch.randn(2, 4), 0.3)
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())
    assert all(parameter.grad is None for parameter in network.parameters())
    assert network.training
    for name, layer in masked_layers(network).items():
        assert order[name].shape == (len(layer.pattern),)
        assert bool((order[name] > 0).all())


def test_pruned_round_by_round_no_layer_collapses() -> None:
    network = create_standard_network([20, 200, 200, 4], density=1.0, seed=0)
    example, keep = torch.randn(1, 20), 0.01

    def left(scores: dict[str, torch.Tensor]) -> list[int]:
        values = torch.cat([score.flatten() for score in scores.values()])
        bound = values.sort(descending=True).values[round(keep * len(values)) - 1]
        return [int((score >= bound).sum()) for score in scores.values()]

    assert min(left(synflow_scores(network, example))) == 0
    assert min(left(synflow_order(network, example, keep))) > 0


def test_flow_goes_through_all_of_a_layer_that_stays() -> None:
    draw = torch.Generator().manual_seed(0)
    kept = nn.Linear(8, 8, bias=False)
    nn.init.uniform_(kept.weight, -0.05, 0.05, generator=draw)
    stays = StandardSparseLayer(8, 8, density=1.0, bias=False)
    stays.fill(kept.weight.detach().flatten())
    ends = [StandardSparseLayer(i, o, density=1.0, generator=draw) for i, o in ((6, 8), (8, 3))]
    found, known = (
        synflow_order(nn.Sequential(ends[0], one, ends[1]), torch.ones(1, 6), 0.1, staying=staying)
        for one, staying in ((stays, ["1"]), (kept, []))
    )
    assert found.keys() == known.keys() == {"0", "2"}
    for name, order in known.items():
        torch.testing.assert_close(found[name], order, rtol=0, atol=1e-10)


def test_whole_numbers_have_no_synaptic_flow() -> None:
    network = nn.Sequential(nn.Embedding(3, 4), StandardSparseLayer(4, 2, density=0.5))
    with pytest.raises(ValueError, match="cannot be"):
        synflow_scores(network, torch.tensor([1, 2]))
    with pytest.raises(ValueError, match="keep"):
        synflow_order(network, torch.ones(1), 0.0)
    with pytest.raises(ValueError, match="rounds"):
        synflow_order(network, torch.ones(1), 0.5, rounds=0)


class _Unused(nn.Module):
    """A network that does not run all it has."""

    def __init__(self) -> None:
        super().__init__()
        self.first = StandardSparseLayer(6, 4, density=0.5)
        self.idle = StandardSparseLayer(3, 3, density=0.5)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.first(inputs)
        return out


def test_nothing_flows_through_a_layer_that_is_not_run() -> None:
    scores = synflow_scores(_Unused(), torch.ones(1, 6))
    assert bool((scores["first"] > 0).any())
    assert torch.equal(scores["idle"], torch.zeros(len(scores["idle"]), dtype=torch.float64))


def test_a_weight_that_is_computed_has_no_synaptic_flow() -> None:
    network = _Unused()
    nn.utils.parametrizations.weight_norm(network.first)
    with pytest.raises(ValueError, match=r"weight of 'first' is computed.*parametrization"):
        synflow_scores(network, torch.ones(1, 6))
