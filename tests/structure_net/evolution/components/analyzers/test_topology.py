"""What the topological analyzer reports of networks whose topology is known."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from structure_net.core import create_standard_network
from structure_net.data import load_dataset
from structure_net.errors import StructureNetError
from structure_net.evolution import (
    Analysis,
    ComposableEvolutionSystem,
    NetworkContext,
    observe,
)
from structure_net.evolution.components import TopologicalAnalyzer
from structure_net.evolution.components.analyzers import BettiCurve, DiagramShift
from structure_net.evolution.memory import AnalysisMemory
from structure_net.evolution.metrics import (
    NeuralPersistence,
    NullComparison,
    PersistenceDiagrams,
    Unavailable,
    deep_graph_persistence,
    largest_magnitude,
    neural_persistence,
)
from structure_net.testing import check_analyzer
from tests.elsewhere import away


def plain(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Linear(5, 20), nn.ReLU(), nn.Linear(20, 15), nn.Tanh(), nn.Linear(15, 3)
    )


def circle_batches() -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Sixty points around a circle in five dimensions."""
    angles = 2 * math.pi * torch.arange(60) / 60
    points = torch.zeros(60, 5)
    points[:, 0], points[:, 1] = angles.cos(), angles.sin()
    return [(points[k::3], torch.arange(20) % 3) for k in range(3)]


def context(network: nn.Module) -> NetworkContext:
    return NetworkContext(network, circle_batches(), memory=AnalysisMemory())


def memory(given: NetworkContext) -> AnalysisMemory:
    assert given.memory is not None
    return given.memory


def analysis(given: NetworkContext, **options: object) -> Analysis:
    return ComposableEvolutionSystem([TopologicalAnalyzer(**options)]).analyze(given)


def look(analyzer: TopologicalAnalyzer, given: NetworkContext) -> Analysis:
    """At the context as it is, with the memory that it holds."""
    seen = observe(given.network, given.data_loader, needs=analyzer.needs, probe_size=200)
    found = analyzer.analyze(replace(given, observation=seen))
    return Analysis.merged({"TopologicalAnalyzer": found})


def test_persistence_is_over_the_largest_weight_of_all_layers() -> None:
    network = plain()
    found = analysis(context(network))["topology_persistence"]
    weights = {name: network.get_submodule(name).weight for name in ("0", "2", "4")}
    scale = largest_magnitude(weights.values())
    for name, weight in weights.items():
        expected = neural_persistence(weight, scale=scale)
        assert isinstance(expected, NeuralPersistence)
        assert found[name].per_vertex() == pytest.approx(expected.per_vertex(), abs=1e-6)
        assert found[name].forest is None


def test_each_layer_stands_beside_its_shuffled_weights_and_the_network_beside_their_mean() -> None:
    network = plain()
    with torch.no_grad():
        network[2].weight[:, :3] *= 6
    found = analysis(context(network))
    null = found["topology_null"]
    assert all(len(one.shuffled) == 50 for one in null.values())
    assert null["2"].z > 5
    assert abs(null["0"].z) < 5
    whole = found["topology_network"]
    assert isinstance(whole, NullComparison)
    values = [one.per_vertex() for one in found["topology_persistence"].values()]
    assert whole.value == pytest.approx(sum(values) / 3, abs=1e-12)
    means = [one.mean for one in null.values()]
    assert whole.mean == pytest.approx(sum(means) / 3, abs=1e-12)


def test_training_gives_the_weights_places_that_shuffling_does_not() -> None:
    """On the digits: no excess at birth, and more than five deviations after four epochs."""
    train = load_dataset("digits").flattened().train
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    given = NetworkContext(network, train.batches(32, shuffle=True, seed=0))
    assert abs(analysis(given)["topology_null"]["0"].z) < 4
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
    for _ in range(4):
        for inputs, targets in given.train_batches():
            optimizer.zero_grad()
            nn.functional.cross_entropy(network(inputs), targets).backward()
            optimizer.step()
    assert analysis(given)["topology_null"]["0"].z > 5


def test_the_ranking_begins_where_the_weights_stand_as_by_chance() -> None:
    network = plain()
    with torch.no_grad():
        network[2].weight[:, :3] *= 6
    ranking = analysis(context(network))["topology_ranking"]
    assert list(ranking)[-1] == "2"
    assert list(ranking.values()) == sorted(ranking.values(), reverse=True)


def test_deep_persistence_is_that_of_the_chain_of_weights() -> None:
    network = plain()
    found = analysis(context(network))["topology_deep_persistence"]
    expected = deep_graph_persistence([network[k].weight for k in (0, 2, 4)])
    assert isinstance(expected, NeuralPersistence)
    assert found.total() == pytest.approx(expected.total(), abs=1e-6)


def test_a_circle_keeps_its_loop_through_a_turn_and_loses_it_in_a_fold() -> None:
    """The first layer turns the plane, the second projects it onto a line."""
    network = nn.Sequential(nn.Linear(5, 2, bias=False), nn.Linear(2, 1, bias=False))
    with torch.no_grad():
        network[0].weight.copy_(torch.eye(2, 5) @ torch.eye(5))
        network[1].weight.copy_(torch.tensor([[1.0, 0.0]]))
    found = analysis(context(network))
    diagrams = found["topology_diagrams"]
    (loop,) = diagrams["0"].pairs[1].tolist()
    assert loop == pytest.approx([2 * math.sin(math.pi / 60), 2 * math.sin(math.pi / 3)], abs=1e-5)
    assert not len(diagrams["1"].pairs[1])
    curve = found["topology_betti_curves"]["0"]
    assert isinstance(curve, BettiCurve)
    assert int(curve.counts[1].max()) == 1
    assert int(curve.counts[0][0]) == 60
    expected = (loop[1] - loop[0]) / 2
    assert found["topology_total_persistence"]["0"][1] == pytest.approx(expected, abs=1e-4)


def test_distances_may_follow_the_graph_of_neighbours() -> None:
    found = analysis(context(plain()), metric="geodesic", neighbours=2)["topology_diagrams"]["0"]
    assert isinstance(found, PersistenceDiagrams)
    straight = analysis(context(plain()))["topology_diagrams"]["0"]
    assert found.diameter > straight.diameter


def test_a_cloud_that_is_a_point_has_a_reason() -> None:
    network = plain()
    with torch.no_grad():
        network[0].bias.fill_(-100.0)
    found = analysis(context(network))
    for key in ("diagrams", "betti_curves", "total_persistence", "shift"):
        assert isinstance(found[f"topology_{key}"]["0"], Unavailable)
    assert "coincide" in found["topology_diagrams"]["0"].reason


def test_diagrams_are_compared_with_those_of_the_iteration_before() -> None:
    given, analyzer = context(plain()), TopologicalAnalyzer()
    first = look(analyzer, given)["topology_shift"]
    assert all("no earlier iteration" in one.reason for one in first.values())
    same = look(analyzer, replace(given, iteration=1))["topology_shift"]["0"]
    assert isinstance(same, DiagramShift)
    assert same.since == 0
    assert same.bottleneck == {0: 0.0, 1: 0.0}
    with torch.no_grad():
        given.network[0].weight.mul_(2)
    memory(given).trained()
    moved = look(analyzer, replace(given, iteration=2))["topology_shift"]["0"]
    assert moved.since == 1
    assert 0 < moved.bottleneck[0] <= moved.wasserstein[0]
    assert look(analyzer, replace(given, iteration=2))["topology_shift"]["0"] == moved


def test_a_new_layer_has_nothing_to_be_compared_with() -> None:
    given, analyzer = context(plain()), TopologicalAnalyzer()
    look(analyzer, given)
    memory(given).edited({"1"})
    deeper = nn.Sequential(plain(), nn.Linear(3, 3))
    found = look(analyzer, replace(given, network=deeper, iteration=1))["topology_shift"]
    assert "was not there in iteration 0" in found["1"].reason


def test_a_look_after_training_starts_from_the_forests_of_the_one_before() -> None:
    given, analyzer = context(plain()), TopologicalAnalyzer()
    assert look(analyzer, given)["topology_persistence"]
    assert set(memory(given).notes("TopologicalAnalyzer")["forests"]) == {"0", "2", "4"}
    with torch.no_grad():
        for parameter in given.network.parameters():
            parameter.add_(0.01 * torch.randn(parameter.shape))
    memory(given).trained()
    warm = look(analyzer, given)["topology_persistence"]
    cold = look(analyzer, context(given.network))["topology_persistence"]
    for name, one in warm.items():
        assert torch.equal(one.merges, cold[name].merges)


def test_what_an_edit_did_not_touch_is_not_computed_again() -> None:
    given, analyzer = context(plain()), TopologicalAnalyzer()
    before = look(analyzer, given)["topology_diagrams"]
    memory(given).edited({"2"}, moved={"2", "4"})
    after = look(analyzer, given)["topology_diagrams"]
    assert after["0"] is before["0"]
    assert after["2"] is not before["2"]


def test_sparse_and_convolutional_layers_are_measured() -> None:
    sparse = create_standard_network([5, 12, 3], density=0.2, seed=0)
    found = analysis(context(sparse))
    parts = [one.components for one in found["topology_persistence"].values()]
    assert max(parts) > 1
    torch.manual_seed(0)
    images = [(torch.randn(8, 1, 6, 6), torch.arange(8) % 3) for _ in range(2)]
    network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3))
    found = analysis(NetworkContext(network, images))
    assert set(found["topology_persistence"]) == {"0", "3"}
    assert isinstance(found["topology_deep_persistence"], NeuralPersistence)


def test_a_network_without_weights_has_a_reason() -> None:
    network = plain()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
    found = analysis(context(network))
    assert isinstance(found["topology_network"], Unavailable)
    assert found["topology_ranking"] == {}


@pytest.mark.away
def test_a_network_on_a_device_has_the_numbers_of_the_processor() -> None:
    here = analysis(context(plain()))
    batches = [(inputs.to(away()), targets.to(away())) for inputs, targets in circle_batches()]
    there = analysis(NetworkContext(plain().to(away()), batches, device=away()))
    for name, one in here["topology_null"].items():
        assert there["topology_null"][name].value == pytest.approx(one.value, abs=1e-6)
        for k, bars in here["topology_diagrams"][name].pairs.items():
            other = there["topology_diagrams"][name].pairs[k]
            assert torch.allclose(other, bars, rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_batches": 0}, "max_batches must be 1 or more"),
        ({"probe_size": 2}, "probe_size must be 3 or more"),
        ({"shuffles": 1}, "shuffles must be 2 or more"),
        ({"metric": "manhattan"}, "'euclidean' or 'geodesic'"),
    ],
)
def test_arguments_out_of_range_are_refused(options, message) -> None:
    with pytest.raises(ValueError, match=message):
        TopologicalAnalyzer(**options)


def test_without_an_observation_it_says_who_makes_one() -> None:
    with pytest.raises(StructureNetError, match="ComposableEvolutionSystem"):
        TopologicalAnalyzer().analyze(context(plain()))


def test_it_keeps_the_promises_of_an_analyzer_with_its_prefix() -> None:
    check_analyzer(TopologicalAnalyzer(dimension=2, metric="geodesic"), prefix="topology_")
