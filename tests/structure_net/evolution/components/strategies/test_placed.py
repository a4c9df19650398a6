"""Strategies that act at the place with the highest score: width, depth, skip connections, Hebb."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from structure_net import create_standard_network
from structure_net.core import assign
from structure_net.evolution import (
    ComposableEvolutionSystem,
    NetworkContext,
    part_from_dict,
    part_to_dict,
)
from structure_net.evolution.components import (
    DepthGrowthStrategy,
    HebbianAnalyzer,
    HebbianGrowthStrategy,
    ShortcutAnalyzer,
    SkipConnectionGrowthStrategy,
    WidthGrowthStrategy,
)
from structure_net.evolution.components.analyzers.shortcuts import shortcut_gain
from structure_net.evolution.components.strategies.feasible import ranked_places
from structure_net.evolution.interfaces import EditingStrategy
from structure_net.evolution.metrics import RedundantPair
from structure_net.surgery import (
    AddConnections,
    AddNeurons,
    AddSkipConnection,
    CopyUnits,
    Edit,
    GradMax,
    InsertLayer,
    MergeNeurons,
    OptimalUnits,
    SplitNeurons,
)

SCORES = {"score": {"2": 3.0, "0": 2.0, "missing": 9.0, "4": 5.0}}


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def dense() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 5), nn.ReLU(), nn.Linear(5, 3))


@pytest.fixture
def context() -> NetworkContext:
    inputs = drawn(96, 6)
    targets = (inputs[:, :3].abs().argmax(1)).long()
    batches = list(zip(inputs.split(32), targets.split(32), strict=True))
    return NetworkContext(dense(), batches, example=inputs[:2])


def edits(strategy: EditingStrategy, context: NetworkContext, analysis: Any) -> list[Edit]:
    return [proposal.edit for proposal in strategy.proposals(context, analysis)]


def test_width_goes_to_the_best_place_that_can_be_widened(context: NetworkContext) -> None:
    """The outputs cannot, and a name that is no layer's is passed over."""
    assert edits(WidthGrowthStrategy("score"), context, SCORES) == [AddNeurons("2", 2)]
    both = WidthGrowthStrategy("score", places=2, ratio=0.5, max_neurons_per_expansion=3)
    assert edits(both, context, SCORES) == [AddNeurons("2", 3), AddNeurons("0", 3)]
    assert edits(WidthGrowthStrategy("score", count=7), context, SCORES) == [AddNeurons("2", 7)]


def test_width_names_the_better_places_that_it_passed_over(context: NetworkContext) -> None:
    (first,) = WidthGrowthStrategy("score").proposals(context, SCORES)
    over = "(passed over: missing cannot be widened, 4 cannot be widened)"
    assert first.reason == f"score of 3, 5 units {over}"
    (best,) = WidthGrowthStrategy("score").proposals(context, {"score": {"2": 3.0, "4": 1.0}})
    assert best.reason == "score of 3, 5 units"
    many = WidthGrowthStrategy("score", places=2)
    (only,) = many.proposals(context, {"score": {"2": 3.0, "4": 1.0}})
    assert only.reason == "score of 3, 5 units (passed over: 4 cannot be widened)"


@pytest.mark.parametrize("start", [GradMax(2), OptimalUnits(), CopyUnits(), None])
def test_width_hands_the_way_to_begin_to_surgery_with_a_probe(
    context: NetworkContext, start: Any
) -> None:
    strategy = WidthGrowthStrategy("score", count=2, initialiser=start)
    grown = strategy.grow(context, SCORES)
    assert grown.network.get_parameter("2.weight").shape == (7, 8)
    kind = SplitNeurons if isinstance(start, CopyUnits) else AddNeurons
    assert isinstance(grown.journal.edits[0].edit, kind)


def test_depth_goes_behind_the_best_place_while_there_is_room(context: NetworkContext) -> None:
    deeper = DepthGrowthStrategy("score", width=4)
    assert edits(deeper, context, SCORES) == [InsertLayer("4", 4)]
    assert edits(DepthGrowthStrategy("score", max_layers=3), context, SCORES) == []
    assert edits(DepthGrowthStrategy("score", threshold=5.0), context, SCORES) == []


def test_a_skip_connection_comes_from_the_source_that_gains_most(context: NetworkContext) -> None:
    strategy = SkipConnectionGrowthStrategy("score")
    gains = {**SCORES, "shortcut_gain": {"4": {"0": 0.1, "2": 0.4}, "2": {}}}
    assert edits(strategy, context, gains) == [AddSkipConnection("2", "4")]
    assert edits(strategy, context, SCORES) == [AddSkipConnection("0", "4")]
    two = SkipConnectionGrowthStrategy("score", places=2)
    assert edits(two, context, SCORES) == [AddSkipConnection("0", "4"), AddSkipConnection("0", "2")]


def test_the_gain_of_a_shortcut_is_that_of_the_best_step_on_a_quadratic() -> None:
    source, wanted = drawn(50, 4).double(), drawn(50, 3, seed=1).double()
    projection = torch.zeros(3, 4, dtype=torch.float64, requires_grad=True)

    def loss(weight: Tensor) -> Tensor:
        return (source @ weight.T - wanted).square().sum() / 100

    gradient = torch.autograd.grad(loss(projection), projection)[0]
    steps = torch.linspace(0, 3, 3001, dtype=torch.float64)
    best = min(loss(-step * gradient).item() for step in steps)
    found = shortcut_gain(source, -wanted)
    assert found == pytest.approx(loss(projection).item() - best, abs=1e-5)
    assert shortcut_gain(source * 10, -wanted) == pytest.approx(found, rel=1e-9)
    assert shortcut_gain(source, torch.zeros_like(wanted)) == 0.0


def test_the_shortcut_that_the_task_asks_for_gains_most() -> None:
    """The targets are what the first layer gives, which the next one, of one unit, loses."""
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 1), nn.ReLU(), nn.Linear(1, 4), nn.Linear(4, 4)
    )
    inputs = drawn(256, 6)
    targets = network[0](inputs).detach()
    loss = nn.functional.mse_loss
    context = NetworkContext(network, [(inputs, targets)], loss=loss)
    found = ComposableEvolutionSystem([ShortcutAnalyzer()]).analyze(context)
    gains = found["shortcut_gain"]["5"]
    assert max(gains, key=gains.__getitem__) == "0"
    assert "4" not in gains
    strategy = SkipConnectionGrowthStrategy(threshold=0.01)
    proposed = strategy.proposals(context.with_example(), found)
    assert isinstance(proposed[0].edit, AddSkipConnection)
    assert proposed[0].edit.source == "0"


def hebbian(layers: dict[str, Any]) -> dict[str, Any]:
    return {"hebbian_unconnected": {}, "hebbian_redundant": {}, **layers}


def test_what_fires_together_is_connected_and_clones_are_merged() -> None:
    network = create_standard_network([6, 8, 4, 2], density=0.5, seed=0)
    context = NetworkContext(network, [(drawn(8, 6), torch.zeros(8).long())])
    free = (~network.layers[1].pattern.mask()).nonzero().tolist()
    near = [(*free[0], 0.9), (*free[1], -0.5), (*free[2], 0.3)]
    clones = (RedundantPair(1, 2, 0.999, 1.0, 0.01), RedundantPair(1, 4, 0.99, 3.0, 0.6))
    analysis = hebbian(
        {"hebbian_unconnected": {"layers.1": near}, "hebbian_redundant": {"layers.0": clones}}
    )
    wired = AddConnections("layers.1", (tuple(free[0]), tuple(free[1])))  # type: ignore[arg-type]
    merged = MergeNeurons("layers.0", ((1, 2),))
    assert edits(HebbianGrowthStrategy(2), context, analysis) == [wired, merged]
    assert edits(HebbianGrowthStrategy(0), context, analysis) == [merged]
    assert edits(HebbianGrowthStrategy(2, None), context, analysis) == [wired]
    grown = HebbianGrowthStrategy(2).grow(context, analysis)
    assert grown.network.get_submodule("layers.0").out_channels == 7


def test_equal_units_are_merged_without_moving_the_function() -> None:
    network = create_standard_network([6, 8, 3], density=0.7, seed=0)
    layer = network.layers[0]
    assign(layer, layer.reindexed(0, [0, 1, 2, 3, 4, 2, 6, 7], new="empty"))
    inputs = drawn(128, 6)
    context = NetworkContext(network, [(inputs, torch.zeros(128).long())])
    before = network(inputs)
    strategy = HebbianGrowthStrategy(0)
    grown = ComposableEvolutionSystem([HebbianAnalyzer(), strategy]).evolve_network(context, 1)
    assert grown.network.get_submodule("layers.0").out_channels == 7
    torch.testing.assert_close(grown.network(inputs), before, rtol=0, atol=1e-5)


def test_hebbian_places_are_chosen_by_any_score() -> None:
    network = create_standard_network([6, 8, 8, 2], density=0.4, seed=0)
    context = NetworkContext(network, [(drawn(8, 6), torch.zeros(8).long())])
    near = {
        f"layers.{n}": [(*(~network.layers[n].pattern.mask()).nonzero()[0].tolist(), c)]
        for n, c in ((0, 0.9), (1, 0.3))
    }
    analysis = hebbian({"hebbian_unconnected": near, "score": {"layers.1": 2.0, "layers.0": 1.0}})

    def first(**options: Any) -> list[str]:
        strategy = HebbianGrowthStrategy(places=1, **options)
        return [edit.layer for edit in edits(strategy, context, analysis)]  # type: ignore[union-attr]

    assert first() == ["layers.0"]
    assert first(score="score") == ["layers.1"]


@pytest.mark.parametrize(
    "strategy",
    [
        WidthGrowthStrategy("a", places=2, initialiser=OptimalUnits(amplitude=0.0)),
        DepthGrowthStrategy("a", activation="gelu"),
        SkipConnectionGrowthStrategy("a", threshold=0.1),
        HebbianGrowthStrategy(3, None, score="a"),
    ],
)
def test_strategies_survive_json(strategy: EditingStrategy) -> None:
    stored = part_to_dict(strategy)
    again = part_from_dict(stored)
    assert part_to_dict(again) == stored
    assert again.requires == strategy.requires
    if isinstance(strategy, WidthGrowthStrategy):
        assert again.initialiser == OptimalUnits(amplitude=0.0)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: WidthGrowthStrategy(places=0), "places must be 1"),
        (lambda: WidthGrowthStrategy(count=0), "count must be 1"),
        (lambda: WidthGrowthStrategy(ratio=0), "ratio must be positive"),
        (lambda: DepthGrowthStrategy(width=0), "width must be 1"),
        (lambda: DepthGrowthStrategy(max_layers=0), "max_layers must be 1"),
        (lambda: SkipConnectionGrowthStrategy(places=0), "places must be 1"),
        (lambda: HebbianGrowthStrategy(-1), "pairs must be 0"),
        (lambda: HebbianGrowthStrategy(mismatch=-1.0), "mismatch must be 0"),
        (lambda: ShortcutAnalyzer(probe_size=0), "probe_size must be 1"),
    ],
)
def test_what_makes_no_sense_is_refused(make: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        make()


@pytest.mark.parametrize("value", [torch.ones(3), "high", (1.0,)])
def test_a_score_of_something_else_than_numbers_is_refused(value: object) -> None:
    with pytest.raises(TypeError, match="'units' maps 'first' to a"):
        ranked_places({"units": {"first": value}}, "units")


def test_scalars_of_torch_rank() -> None:
    scores = {"a": torch.tensor(1.0), "b": 2.0}
    assert ranked_places({"score": scores}, "score") == {"b": 2.0, "a": 1.0}
