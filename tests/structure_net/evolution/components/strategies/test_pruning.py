from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from structure_net.core import (
    SparsePattern,
    StandardSparseLayer,
    count_flops,
    create_standard_network,
    network_stats,
)
from structure_net.errors import StructureNetError
from structure_net.evolution import (
    ComposableEvolutionSystem,
    EpochRecord,
    NetworkContext,
    TrainingHistory,
    part_from_dict,
    part_to_dict,
)
from structure_net.evolution.components import (
    ConnectionAnalyzer,
    FadeInStrategy,
    HybridGrowthStrategy,
    PruningGrowthStrategy,
    SensitivityAnalyzer,
    StandardNetworkTrainer,
)
from structure_net.evolution.components.strategies.budgets import sparse_density
from structure_net.surgery import MoveConnections, RemoveConnections, RemoveNeurons, apply
from structure_net.testing import check_strategy, example_context


def _layer(weights: list[list[float]]) -> StandardSparseLayer:
    matrix = torch.tensor(weights)
    pattern = SparsePattern.from_mask(matrix != 0)
    layer = StandardSparseLayer(matrix.shape[1], matrix.shape[0], pattern=pattern)
    layer.fill(matrix[pattern.rows, pattern.columns])
    return layer


def _sparse(*, epochs: int = 0) -> NetworkContext:
    """Eight connections, four in each layer, of twelve places; six biases."""
    first = _layer([[0.1, 0.2, 0.0], [0.0, 3.0, -4.0]])
    second = _layer([[0.05, 0.0], [0.5, 0.3], [0.0, -6.0]])
    network = nn.Sequential(first, nn.ReLU(), second)
    records = [EpochRecord(epoch + 1, 0, epoch + 1, {}, 0, 0) for epoch in range(epochs)]
    return NetworkContext(network, (), history=TrainingHistory(records), example=torch.ones(1, 3))


def _edits(strategy: PruningGrowthStrategy, context: NetworkContext, **analysis: Any) -> list[Any]:
    return [proposal.edit for proposal in strategy.propose(context, analysis)]


def test_the_smallest_magnitudes_of_all_layers_go_until_the_budget_is_met() -> None:
    three = [RemoveConnections("0", ((0, 0), (0, 1))), RemoveConnections("2", ((0, 0),))]
    assert _edits(PruningGrowthStrategy({"density": 5 / 12}), _sparse()) == three
    assert _edits(PruningGrowthStrategy({"parameters": 10}), _sparse()) == three
    # A connection is a product and a sum: two operations.
    assert _edits(PruningGrowthStrategy({"flops": 10}), _sparse()) == three
    assert _edits(PruningGrowthStrategy({"density": 8 / 12}), _sparse()) == []


def test_all_budgets_hold_together() -> None:
    tight = PruningGrowthStrategy({"parameters": 12, "density": 5 / 12})
    assert sum(len(edit.pairs) for edit in _edits(tight, _sparse())) == 3


def test_each_layer_keeps_its_best_connection() -> None:
    least = _edits(PruningGrowthStrategy({"density": 2 / 12}), _sparse())
    assert {edit.layer: len(edit.pairs) for edit in least} == {"0": 3, "2": 3}
    assert (1, 2) not in least[0].pairs
    with pytest.raises(StructureNetError, match="cannot be met"):
        _edits(PruningGrowthStrategy({"density": 1 / 12}), _sparse())


def test_scores_decide_what_goes() -> None:
    first = torch.tensor([[0.9, 0.8, 0.0], [0.0, 0.1, 0.7]])
    second = torch.tensor([[0.6, 0.0], [0.2, 0.9], [0.0, 0.9]])
    wanted = [RemoveConnections("0", ((1, 1),)), RemoveConnections("2", ((1, 0),))]
    by_weight = {"0.weight": first, "2.weight": second, "0.bias": torch.zeros(2)}
    for score, key in (
        ("gradient", "sensitivity_taylor"),
        ("snip", "sensitivity_taylor"),
        ("fisher", "sensitivity_fisher"),
    ):
        strategy = PruningGrowthStrategy({"density": 0.5}, score=score)
        assert strategy.requires == {key}
        assert _edits(strategy, _sparse(), **{key: by_weight}) == wanted
    own = PruningGrowthStrategy({"density": 0.5}, score="mine")
    assert _edits(own, _sparse(), mine={"0": first, "2": second}) == wanted


def test_synaptic_flow_prunes_without_data() -> None:
    strategy = PruningGrowthStrategy({"density": 0.5}, score="synflow")
    assert strategy.requires == frozenset()
    # The least flow: .1 .55 = .055 through the first weight, and the path of weight .05.
    assert _edits(strategy, _sparse()) == [
        RemoveConnections("0", ((0, 0),)),
        RemoveConnections("2", ((0, 0),)),
    ]


@pytest.mark.parametrize("alone", [True, False])
def test_gradual_pruning_is_at_its_place_at_each_epoch(alone: bool) -> None:
    network = create_standard_network([20, 30, 30, 4], density=1.0, seed=0)
    generator = torch.Generator().manual_seed(0)
    data = [(torch.randn(8, 20, generator=generator), torch.randint(4, (8,), generator=generator))]
    context = NetworkContext(network, data)
    pruning = PruningGrowthStrategy({"density": 0.1}, start=1, end=5)
    system = ComposableEvolutionSystem(
        [
            pruning if alone else HybridGrowthStrategy([FadeInStrategy(), pruning]),
            StandardNetworkTrainer(epochs=1),
        ]
    )
    for epoch in range(8):
        context = system.evolve_network(context, 1)
        share = min(max(epoch - 1, 0) / 4, 1.0)
        wanted = 0.1 + 0.9 * (1 - share) ** 3
        # Each step rounds to a whole connection of 1620.
        assert sparse_density(context.network) == pytest.approx(wanted, abs=5 / 1620)
        assert sparse_density(context.network) <= wanted + 0.5 / 1620 + 1e-9


def test_two_gradual_schedules_do_not_disturb_each_other() -> None:
    network = create_standard_network([20, 30, 30, 4], density=1.0, seed=0)
    generator = torch.Generator().manual_seed(0)
    data = [(torch.randn(8, 20, generator=generator), torch.randint(4, (8,), generator=generator))]
    system = ComposableEvolutionSystem(
        [
            PruningGrowthStrategy({"density": 0.1}, end=4),
            PruningGrowthStrategy({"parameters": 100}, what="units", end=4),
            StandardNetworkTrainer(epochs=1),
        ]
    )
    context = system.evolve_network(NetworkContext(network, data), 3)
    for kind in (RemoveConnections, RemoveNeurons):
        steps = {e.iteration for e in context.journal.edits if isinstance(e.edit, kind)}
        assert steps == {1, 2}


def test_what_moves_comes_back_where_the_gradient_is_largest() -> None:
    strategy = PruningGrowthStrategy({"density": 0.5}, regrowth=1 / 6)
    gradient = {
        "0": torch.tensor([[0.0, 0.0, 5.0], [7.0, 9.0, 9.0]]),
        "2": torch.tensor([[0.0, 9.0], [0.0, 0.0], [0.0, 0.0]]),
    }
    # Two go for good; of six the least one moves, which is the weight .2 of the first layer.
    assert _edits(strategy, _sparse(), connection_gradient=gradient) == [
        MoveConnections("0", ((0, 0), (0, 1)), ((1, 0),)),
        RemoveConnections("2", ((0, 0),)),
    ]


def test_nothing_is_pruned_before_the_start() -> None:
    strategy = PruningGrowthStrategy({"density": 0.5}, start=3)
    assert _edits(strategy, _sparse(epochs=2)) == []
    assert len(_edits(strategy, _sparse(epochs=3))) == 2


def _dense() -> NetworkContext:
    draw = torch.Generator().manual_seed(0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 5), nn.ReLU())
        network.append(nn.Linear(5, 3))
    data = [(torch.randn(16, 6, generator=draw), torch.randint(3, (16,), generator=draw))]
    return NetworkContext(network, [*data, *data])


@pytest.mark.parametrize("score", ["magnitude", "gradient", "fisher", "sensitivity_unit_taylor"])
def test_units_go_until_the_network_fits(score: str) -> None:
    strategy = PruningGrowthStrategy({"parameters": 60}, what="units", score=score)
    context = _dense()
    grown = ComposableEvolutionSystem([SensitivityAnalyzer(), strategy]).evolve_network(context, 1)
    left = network_stats(grown.network)["total_parameters"]
    # The costliest unit has 6 + 1 + 5 parameters.
    assert 60 - 12 < left <= 60


def test_the_units_of_least_magnitude_go_first() -> None:
    context = _dense()
    first = context.network.get_submodule("0")
    with torch.no_grad():
        first.weight[2] *= 0.01
        first.bias[2] = 0.0
        first.weight[5] *= 0.02
        first.bias[5] = 0.0
    flops = count_flops(context.network, torch.ones(1, 6)).total
    # A unit of the first layer takes 2 (6 + 5) operations.
    strategy = PruningGrowthStrategy({"flops": flops - 44}, what="units")
    assert _edits(strategy, context) == [RemoveNeurons("0", (2, 5))]
    again = PruningGrowthStrategy({"flops": flops - 22}, what="units")
    assert _edits(again, context) == [RemoveNeurons("0", (2,))]


def test_one_unit_of_each_layer_stays() -> None:
    context = _dense()
    # With one unit each: 6 + 1, 1 + 1 and 3 + 3 parameters.
    bare = PruningGrowthStrategy({"parameters": 15}, what="units")
    assert sum(len(edit.indices) for edit in _edits(bare, context)) == 7 + 4
    with pytest.raises(StructureNetError, match="one stays"):
        _edits(PruningGrowthStrategy({"parameters": 14}, what="units"), context)


def test_a_latency_is_measured_and_a_generous_one_is_met() -> None:
    generous = PruningGrowthStrategy({"latency": 1e9}, what="units")
    assert _edits(generous, _dense()) == []
    with pytest.raises(StructureNetError, match="cannot be met"):
        _edits(PruningGrowthStrategy({"latency": 1e-12}, what="units"), _dense())


class _Attention(nn.Module):
    """Self-attention with four heads."""

    def __init__(self) -> None:
        super().__init__()
        self.heads = 4
        self.read = nn.Linear(5, 8)
        self.query, self.key, self.value = (nn.Linear(8, 8) for _ in range(3))
        self.out = nn.Linear(8, 3)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        hidden = self.read(inputs)
        q, k, v = (
            layer(hidden).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for layer in (self.query, self.key, self.value)
        )
        mixed = nn.functional.scaled_dot_product_attention(q, k, v)
        out: torch.Tensor = self.out(mixed.transpose(1, 2).flatten(2)).mean(1)
        return out


def test_heads_of_least_worth_go() -> None:
    torch_state = torch.get_rng_state()
    torch.manual_seed(0)
    network = _Attention()
    torch.set_rng_state(torch_state)
    with torch.no_grad():
        for layer in (network.query, network.key, network.value):
            layer.weight[4:6] *= 0.01
            layer.bias[4:6] *= 0.01
    context = NetworkContext(network, (), example=torch.ones(2, 7, 5))
    before = network_stats(network)["total_parameters"]
    # A head has 3 (2 8 + 2) + 2 3 parameters.
    strategy = PruningGrowthStrategy({"parameters": before - 60}, what="heads")
    (edit,) = _edits(strategy, context)
    assert edit.heads == (2,)
    two = PruningGrowthStrategy({"parameters": before - 61}, what="heads")
    assert len(_edits(two, context)[0].heads) == 2


def _stream() -> NetworkContext:
    """An encoder whose smallest removal of a head halves the stream: 2466 parameters to 994."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layers = {
            "e": nn.Linear(4, 16),
            "t": nn.TransformerEncoderLayer(16, 2, 32, batch_first=True, dropout=0.0),
            "o": nn.Linear(16, 10),
        }
        network = nn.Sequential()
        for name, layer in layers.items():
            network.add_module(name, layer)
    return NetworkContext(network, (), example=torch.ones(2, 3, 4))


def test_a_removal_that_goes_below_half_of_the_budget_is_refused() -> None:
    context = _stream()
    before = network_stats(context.network)["total_parameters"]
    strategy = PruningGrowthStrategy({"parameters": before - 50}, what="heads")
    with pytest.raises(StructureNetError, match=rf"less than half of it \(parameters {before} to"):
        strategy.propose(context, {})


def test_the_reason_says_what_the_network_costs_before_and_after() -> None:
    context = _stream()
    before = network_stats(context.network)["total_parameters"]
    (proposal,) = PruningGrowthStrategy({"parameters": 1500}, what="heads").propose(context, {})
    twin = deepcopy(context.network)
    apply(twin, proposal.edit, context.example)
    after = network_stats(twin)["total_parameters"]
    assert f"parameters {before} to {after}" in proposal.reason


def test_pruning_keeps_the_promises_of_a_strategy() -> None:
    analyzers = (SensitivityAnalyzer(), ConnectionAnalyzer())
    strategy = PruningGrowthStrategy({"flops": 150}, score="fisher", regrowth=0.2)
    check_strategy(strategy, analyzers, example_context())


def test_the_strategy_is_plain_data() -> None:
    strategy = PruningGrowthStrategy({"parameters": 9.0}, what="units", score="fisher", end=4)
    twin = part_from_dict(part_to_dict(strategy))
    assert part_to_dict(twin) == part_to_dict(strategy)
    assert twin.requires == {"sensitivity_fisher"}


@pytest.mark.parametrize(
    "arguments",
    [
        {"budget": {}},
        {"budget": {"size": 3}},
        {"budget": {"density": 1.5}},
        {"budget": {"parameters": 0}},
        {"budget": {"latency": 1.0}},
        {"budget": {"density": 0.5}, "what": "units"},
        {"budget": {"density": 0.5}, "what": "filters"},
        {"budget": {"flops": 5}, "what": "units", "regrowth": 0.1},
        {"budget": {"flops": 5}, "what": "units", "score": "synflow"},
        {"budget": {"density": 0.5}, "start": 3, "end": 2},
        {"budget": {"density": 0.5}, "regrowth": 1.0},
    ],
)
def test_arguments_that_do_not_go_together_are_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"must|go|computes"):
        PruningGrowthStrategy(**arguments)


def test_a_network_without_sparse_layers_has_no_connections_to_prune() -> None:
    with pytest.raises(StructureNetError, match="what='units'"):
        _edits(PruningGrowthStrategy({"parameters": 10}), replace(_dense(), example=None))
    with pytest.raises(TypeError, match="map names"):
        PruningGrowthStrategy(0.5)  # type: ignore[arg-type]  # what is refused


class _Product(nn.Module):
    """A weight whose rows are counted by two sizes, either of which can change."""

    def __init__(self) -> None:
        super().__init__()
        self.into = nn.Parameter(torch.randn(4, 2, 5, generator=torch.Generator().manual_seed(0)))
        self.head = nn.Parameter(torch.randn(2, 5, 3, generator=torch.Generator().manual_seed(1)))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        hidden = torch.einsum("ni,iab->nab", inputs, self.into).relu()
        return torch.einsum("nab,abo->no", hidden, self.head)


def test_of_sizes_that_multiply_only_one_changes_at_a_time() -> None:
    context = NetworkContext(_Product(), (), example=torch.ones(2, 4))
    strategy = PruningGrowthStrategy({"parameters": 60}, what="units")
    edits = _edits(strategy, context)
    assert len(edits) == 1
    grown = strategy.grow(context.fork(), {})
    assert network_stats(grown.network)["total_parameters"] <= 60
