from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from structure_net.core import SparseConv2d, SparsePattern, StandardSparseLayer
from structure_net.core.statistics import network_stats
from structure_net.errors import StructureNetError
from structure_net.evolution import (
    ComposableEvolutionSystem,
    EditingStrategy,
    EpochRecord,
    NetworkContext,
    Proposal,
    Tournament,
    TrainingHistory,
    part_from_dict,
    part_to_dict,
)
from structure_net.evolution.components import StandardNetworkTrainer
from structure_net.evolution.components.analyzers import (
    CandidateAnalysis,
    ConnectionAnalysis,
    ConnectionAnalyzer,
    ConnectionCandidateAnalyzer,
)
from structure_net.evolution.components.strategies import (
    DynamicSparseTraining,
    RigL,
    SparseEvolutionaryTraining,
    SparseMomentum,
)
from structure_net.evolution.components.strategies.dynamic_sparse import LayerDrop
from structure_net.surgery import AddConnections, MoveConnections, RemoveConnections
from structure_net.testing import check_analyzer, check_strategy, example_context
from tests.laws.storages import STORAGES, Storage, crossover, layers, network

STRATEGIES = [SparseEvolutionaryTraining(), RigL(), SparseMomentum()]


def _layer(weights: list[list[float]]) -> StandardSparseLayer:
    """A layer whose connections are the weights that are not 0."""
    matrix = torch.tensor(weights)
    pattern = SparsePattern.from_mask(matrix != 0)
    layer = StandardSparseLayer(matrix.shape[1], matrix.shape[0], pattern=pattern)
    layer.fill(matrix[pattern.rows, pattern.columns])
    return layer


def _context(*layers: StandardSparseLayer, epochs: int = 0) -> NetworkContext:
    records = [EpochRecord(epoch + 1, 0, epoch + 1, {}, 0, 0) for epoch in range(epochs)]
    return NetworkContext(nn.Sequential(*layers), (), history=TrainingHistory(records))


def _edits(
    strategy: DynamicSparseTraining, context: NetworkContext, analysis: Mapping[str, Any]
) -> list[Any]:
    return [proposal.edit for proposal in strategy.propose(context, analysis)]


FIRST = [[0.1, 0.0, -3.0, 0.0], [0.0, -0.2, 4.0, 0.0]]
SCORE = torch.tensor([[9.0, 1.0, 9.0, 5.0], [4.0, 9.0, 9.0, 2.0]])


def test_rigl_moves_the_weakest_to_where_the_gradient_is_largest() -> None:
    context = _context(_layer(FIRST))
    edits = _edits(RigL(0.25), context, {"connection_gradient": {"0": SCORE}})
    # A quarter of four is the weight .1; its own place has the largest gradient, and is free.
    assert edits == [MoveConnections("0", ((0, 0),), ((0, 0),))]
    edits = _edits(RigL(0.5), context, {"connection_gradient": {"0": 10 - SCORE}})
    assert edits == [MoveConnections("0", ((0, 0), (1, 1)), ((0, 1), (1, 3)))]


def test_rigl_takes_the_largest_of_the_candidates_and_then_at_random() -> None:
    context = _context(_layer(FIRST))
    offered = {"0": (torch.tensor([3, 1, 4]), torch.tensor([1.0, 5.0, 9.0]))}
    (move,) = _edits(RigL(0.5, candidates=99), context, {"candidate_gradient": offered})
    assert move == MoveConnections("0", ((0, 0), (1, 1)), ((0, 1), (1, 0)))
    (move,) = _edits(RigL(0.5, candidates=1), context, {"candidate_gradient": offered})
    assert (0, 3) in move.added
    assert len(move.added) == 2
    assert not {(0, 2), (1, 2)} & set(move.added)
    with pytest.raises(ValueError, match="candidates"):
        RigL(candidates=0)


@pytest.mark.parametrize("granularity", ["kernel", "weight"])
def test_rigl_trains_by_candidates(granularity: Any) -> None:
    draw = torch.Generator().manual_seed(0)
    network = nn.Sequential(
        SparseConv2d(3, 8, 3, density=0.3, granularity=granularity, generator=draw),
        nn.ReLU(),
        nn.Flatten(),
        StandardSparseLayer(8 * 9, 3, density=0.2, generator=draw),
    )
    inputs = torch.randn(16, 3, 5, 5, generator=draw)
    context = NetworkContext(network, [(inputs, torch.randint(3, (16,), generator=draw))])
    found = [ConnectionCandidateAnalyzer(50), RigL(candidates=50)]
    before = network_stats(network)["total_connections"]
    after = ComposableEvolutionSystem(found).evolve_network(context, 2).network
    assert network_stats(after)["total_connections"] == before
    assert after.get_submodule("3").pattern != network[3].pattern


def test_the_rate_falls_with_the_epochs_and_nothing_moves_at_the_end() -> None:
    analysis = {"connection_gradient": {"0": SCORE}}
    strategy = RigL(0.5, horizon=4)
    assert strategy.rate(2) == pytest.approx(0.25)
    halfway = _edits(strategy, _context(_layer(FIRST), epochs=2), analysis)
    assert halfway[0].removed == ((0, 0),)
    assert _edits(strategy, _context(_layer(FIRST), epochs=4), analysis) == []
    assert RigL(0.5).rate(1000) == 0.5


def test_set_drops_what_is_closest_to_zero_on_either_side_and_draws_new_places() -> None:
    context = _context(_layer(FIRST))
    (move,) = _edits(SparseEvolutionaryTraining(0.5, scale=0.5), context, {})
    assert move.removed == ((0, 0), (1, 1))
    assert len(move.added) == 2
    assert move.scale == 0.5
    assert not {(0, 2), (1, 2)} & set(move.added)
    magnitude = SparseEvolutionaryTraining(0.5, by_sign=False)
    same_sign = _context(_layer([[0.1, 0.0, 0.2, 0.0], [0.0, -5.0, -4.0, 0.0]]))
    assert _edits(magnitude, same_sign, {})[0].removed == ((0, 0), (0, 2))
    signed = SparseEvolutionaryTraining(0.5)
    assert _edits(signed, same_sign, {})[0].removed == ((0, 0), (1, 2))


def test_sparse_momentum_hands_connections_to_the_layer_with_more_momentum() -> None:
    layers = _layer(FIRST), _layer([[1.0, 0.0], [2.0, 0.0]])
    analysis = {
        "connection_momentum": {"0": SCORE, "1": torch.tensor([[0.0, 1.0], [0.0, 2.0]])},
        "connection_ranking": {"0": 1.0, "1": 2.0},
    }
    edits = _edits(SparseMomentum(0.5), _context(*layers), analysis)
    # Two and one connections go; of three the layers get one and two.
    assert edits == [
        MoveConnections("0", ((0, 0), (1, 1)), ((0, 0),)),
        MoveConnections("1", ((0, 0),), ((0, 1), (1, 1))),
    ]
    analysis["connection_ranking"] = {"0": 1.0, "1": 0.0}
    alone = _edits(SparseMomentum(0.5), _context(*layers), analysis)
    assert alone[1] == RemoveConnections("1", ((0, 0),))


def test_without_any_momentum_each_layer_keeps_its_number() -> None:
    analysis = {"connection_momentum": {"0": SCORE}, "connection_ranking": {"0": 0.0}}
    (move,) = _edits(SparseMomentum(0.5), _context(_layer(FIRST)), analysis)
    assert len(move.removed) == len(move.added)


def test_full_layers_and_dense_layers_are_left_alone() -> None:
    context = NetworkContext(nn.Sequential(StandardSparseLayer(3, 3), nn.Linear(3, 2)), ())
    assert _edits(SparseEvolutionaryTraining(0.5), context, {}) == []


class _Idle(nn.Module):
    """One of its layers is never called."""

    def __init__(self) -> None:
        super().__init__()
        draw = torch.Generator().manual_seed(0)
        self.used = StandardSparseLayer(4, 3, density=0.5, generator=draw)
        self.idle = StandardSparseLayer(4, 3, density=0.5, generator=draw)

    def forward(self, inputs: Tensor) -> Tensor:
        out: Tensor = self.used(inputs)
        return out


@pytest.mark.parametrize("strategy", [RigL(), SparseMomentum()], ids=("RigL", "SparseMomentum"))
def test_a_layer_that_is_not_called_is_left_alone(strategy: DynamicSparseTraining) -> None:
    inputs = torch.randn(8, 4, generator=torch.Generator().manual_seed(0))
    context = NetworkContext(_Idle(), [(inputs, torch.arange(8) % 3)])
    system = ComposableEvolutionSystem([ConnectionAnalyzer(), strategy])
    layers = {edit.layer for _, _, edit in system.propose(context)}
    assert layers == {"used"}


def test_a_layer_keeps_a_connection() -> None:
    context = _context(_layer([[1.0, 0.0], [0.0, 0.0]]))
    assert _edits(SparseEvolutionaryTraining(0.9), context, {}) == []
    drop = LayerDrop((), 1, torch.tensor([0]), (2, 3))
    assert (drop.live, drop.room) == (1, 5)


@pytest.mark.parametrize("strategy", STRATEGIES, ids=lambda one: type(one).__name__)
def test_kernels_move_as_wholes_and_as_many_weights_stay(
    strategy: DynamicSparseTraining,
) -> None:
    draw = torch.Generator().manual_seed(0)
    network = nn.Sequential(
        SparseConv2d(3, 8, 3, density=0.3, generator=draw),
        nn.ReLU(),
        nn.Flatten(),
        StandardSparseLayer(8 * 9, 3, density=0.2, generator=draw),
    )
    inputs = torch.randn(16, 3, 5, 5, generator=draw)
    data = [(inputs, torch.randint(3, (16,), generator=draw))]
    before = [network[0].pattern, network[3].pattern]
    context = NetworkContext(network, data)
    check_strategy(strategy, (ConnectionAnalyzer(),), context)
    system = ComposableEvolutionSystem([ConnectionAnalyzer(), strategy])
    after = system.evolve_network(context, 2).network
    patterns: list[SparsePattern] = [after.get_submodule(name).pattern for name in ("0", "3")]
    # A kernel has nine weights; single ones fill what kernels leave.
    counts = [9 * len(kernels) + len(single) for kernels, single in (patterns, before)]
    assert counts[0] == counts[1]
    assert patterns[1] != before[1]


@pytest.mark.parametrize("strategy", STRATEGIES, ids=lambda one: type(one).__name__)
def test_the_strategies_are_plain_data(strategy: DynamicSparseTraining) -> None:
    twin = part_from_dict(part_to_dict(strategy))
    assert type(twin) is type(strategy)
    assert part_to_dict(twin) == part_to_dict(strategy)


@pytest.mark.parametrize("strategy", STRATEGIES, ids=lambda one: type(one).__name__)
def test_a_tournament_moves_all_connections_or_none(strategy: DynamicSparseTraining) -> None:
    context = example_context()
    context = replace(context, validation_loader=context.data_loader)
    whether = Tournament(2, performance_drop_threshold=1e3)
    system = ComposableEvolutionSystem([ConnectionAnalyzer(2)])
    system.add_component(strategy, whether=whether)
    grown = system.evolve_network(context, 1)
    assert {type(edit.edit) for edit in grown.journal.edits} == {MoveConnections}
    before, after = (network_stats(c.network)["total_connections"] for c in (context, grown))
    assert before == after


class _InTwo(EditingStrategy):
    """Another strategy's moves, by one edit that removes and one that adds."""

    def __init__(self, whole: EditingStrategy) -> None:
        self.whole = whole
        self.requires = whole.requires

    def propose(self, context: NetworkContext, analysis: Any) -> list[Proposal]:
        found: list[Proposal] = []
        for proposal in self.whole.proposals(context, analysis):
            edit = proposal.edit
            if not isinstance(edit, MoveConnections):
                found.append(proposal)
                continue
            found.append(Proposal(RemoveConnections(edit.layer, edit.removed)))
            found.append(Proposal(AddConnections(edit.layer, edit.added, edit.scale)))
        return found


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("strategy", STRATEGIES, ids=lambda one: type(one).__name__)
def test_one_edit_leads_where_two_lead(strategy: DynamicSparseTraining, storage: Storage) -> None:
    """Four iterations with training: the same patterns and weights, bit for bit."""
    draw = torch.Generator().manual_seed(2)
    data = [(torch.randn(8, 12, generator=draw), torch.randint(4, (8,), generator=draw))] * 3
    ends, edits = [], []
    for own in (strategy, _InTwo(strategy)):
        parts = [ConnectionAnalyzer(), StandardNetworkTrainer(epochs=1), own]
        start = network(storage).float()
        with crossover(storage):
            end = ComposableEvolutionSystem(parts).evolve_network(NetworkContext(start, data), 4)
        ends.append(layers(end.network))
        edits.append(len(end.journal.edits))
    assert edits[1] == 2 * edits[0] > 8
    for one, other in zip(*ends, strict=True):
        assert one.pattern == other.pattern
        assert torch.equal(one.live_weights, other.live_weights)


@pytest.mark.parametrize("arguments", [{"drop_rate": 0.0}, {"drop_rate": 1.0}, {"horizon": 0}])
def test_arguments_out_of_range_are_refused(arguments: dict[str, Any]) -> None:
    for kind in (RigL, SparseEvolutionaryTraining, SparseMomentum):
        with pytest.raises(ValueError, match="must be"):
            kind(**arguments)
    with pytest.raises(ValueError, match="scale"):
        SparseEvolutionaryTraining(scale=-1.0)


def test_the_analysis_has_all_connections_of_sparse_layers() -> None:
    check_analyzer(ConnectionAnalyzer(2), prefix="connection_")
    context = example_context()
    found: ConnectionAnalysis = ComposableEvolutionSystem([ConnectionAnalyzer()]).analyze(context)  # type: ignore[assignment]  # by key
    gradient: Tensor = found["connection_gradient"]["layers.1"]
    assert gradient.shape == (16, 16)
    absent = ~context.network.get_submodule("layers.1").pattern.mask()
    assert bool(gradient[absent].any())
    means = list(found["connection_ranking"].values())
    assert means == sorted(means, reverse=True)
    with pytest.raises(ValueError, match="max_batches"):
        ConnectionAnalyzer(0)


def test_candidates_are_absent_and_have_the_gradient_that_all_have() -> None:
    check_analyzer(ConnectionCandidateAnalyzer(20, 2), prefix="candidate_")
    context = example_context()
    system = ComposableEvolutionSystem([ConnectionAnalyzer(), ConnectionCandidateAnalyzer(20)])
    analysis: Any = system.analyze(context)
    found: CandidateAnalysis = analysis
    for name, (places, gradient) in found["candidate_gradient"].items():
        layer = context.network.get_submodule(name)
        assert not bool(layer.pattern.mask().flatten()[places].any())
        whole = analysis["connection_gradient"][name].flatten()[places]
        # Sums of products in float32 in another order.
        torch.testing.assert_close(gradient, whole, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_network_without_sparse_layers_is_refused(strategy: DynamicSparseTraining) -> None:
    context = NetworkContext(nn.Sequential(nn.Linear(4, 2)), ())
    with pytest.raises(StructureNetError, match=r"this Sequential has none\. Make the network"):
        strategy.propose(context, {"connection_gradient": {}, "connection_momentum": {}})
