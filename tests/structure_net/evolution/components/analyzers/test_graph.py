from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from structure_net.core import assign, create_standard_network
from structure_net.evolution import ComposableEvolutionSystem, NetworkContext
from structure_net.evolution.analysis import Analysis
from structure_net.evolution.components import GraphAnalyzer
from structure_net.evolution.components.analyzers.graph import PIVOTS
from structure_net.evolution.memory import AnalysisMemory
from structure_net.evolution.metrics import (
    AgainstNull,
    Clustering,
    Disconnection,
    Dismantling,
    Motifs,
    Unavailable,
    betweenness,
    layered_graph_of,
    path_shares,
)
from structure_net.testing import check_analyzer
from structure_net.testing.components import example_context

WIDTHS = {"(input)": 12, "layers.0": 16, "layers.1": 16, "layers.2": 3}


def analysed(network: nn.Module, example: torch.Tensor, **options: float) -> Analysis:
    context = NetworkContext(network, [(example, torch.zeros(len(example)))])
    return ComposableEvolutionSystem([GraphAnalyzer(**options)]).analyze(context)


def test_it_keeps_the_promises_of_an_analyzer() -> None:
    check_analyzer(GraphAnalyzer(null_samples=2), prefix="graph_")


def test_every_unit_measure_is_told_by_layer() -> None:
    found = ComposableEvolutionSystem([GraphAnalyzer()]).analyze(example_context())
    assert found["graph_units"] == WIDTHS
    for name in (
        "fan_in",
        "fan_out",
        "strength_in",
        "strength_out",
        "path_shares",
        "betweenness",
        "weighted_betweenness",
        "pagerank",
        "square_clustering",
        "communities",
    ):
        sizes = {layer: len(values) for layer, values in found[f"graph_{name}"].items()}
        assert sizes == WIDTHS, name


def test_the_values_are_those_of_the_measures() -> None:
    context = example_context()
    found = ComposableEvolutionSystem([GraphAnalyzer()]).analyze(context)
    graph = layered_graph_of(context.network, context.with_example().example)
    shares = path_shares(graph)
    assert isinstance(shares, torch.Tensor)
    assert found["graph_connections"] == graph.edges
    assert torch.equal(torch.cat(list(found["graph_path_shares"].values())), shares)
    central = torch.cat(list(found["graph_betweenness"].values()))
    assert torch.equal(central, betweenness(graph))
    assert found["graph_betweenness_sources"] == graph.vertices
    assert sum(found["graph_components"]) == graph.vertices
    assert isinstance(found["graph_clustering"], Clustering)
    assert isinstance(found["graph_percolation"], Disconnection)
    assert isinstance(found["graph_motifs"], Motifs)
    assert isinstance(found["graph_modularity"], AgainstNull)
    assert isinstance(found["graph_bifans"], AgainstNull)
    assert found["graph_bifans"].value == found["graph_motifs"].bifans
    removal = found["graph_removal"]
    assert all(isinstance(one, Dismantling) for one in removal.values())
    assert removal["targeted"].robustness < removal["random"].robustness


def test_the_narrowest_layer_is_ranked_first() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(8, 10), nn.ReLU(), nn.Linear(10, 2), nn.ReLU(), nn.Linear(2, 6), nn.Linear(6, 3)
    )
    found = analysed(model, torch.randn(2, 8))
    assert list(found["graph_ranking"]) == ["2", "4", "0"]
    assert found["graph_ranking"] == pytest.approx({"2": 1 / 2, "4": 1 / 6, "0": 1 / 10})
    assert found["graph_effective_width"] == pytest.approx({"0": 10.0, "2": 2.0, "4": 6.0})


def test_a_layer_whose_paths_meet_in_one_unit_is_ranked_before_its_width() -> None:
    wide = create_standard_network([6, 8, 4, 3], density=1.0, seed=0)
    layer = wide.layers[0]
    assign(layer, layer.disconnected([(row, column) for row in range(1, 8) for column in range(6)]))
    found = analysed(wide, torch.randn(2, 6))
    assert found["graph_ranking"] == pytest.approx({"layers.0": 1.0, "layers.1": 0.25})


def test_complete_layers_leave_nothing_to_rewire() -> None:
    found = analysed(nn.Sequential(nn.Linear(4, 5), nn.Linear(5, 3)), torch.randn(2, 4))
    assert isinstance(found["graph_bifans"].z, Unavailable)
    loops = found["graph_feed_forward_loops"]
    assert isinstance(loops, Unavailable)
    assert "skip" in loops.reason


def test_what_would_take_too_long_is_estimated_or_says_so() -> None:
    context = example_context()
    exact = ComposableEvolutionSystem([GraphAnalyzer()]).analyze(context)
    found = ComposableEvolutionSystem([GraphAnalyzer(max_work=1.0)]).analyze(context)
    assert found["graph_betweenness_sources"] == min(PIVOTS, sum(WIDTHS.values()))
    for name in ("clustering", "square_clustering", "motifs", "bifans", "modularity"):
        key = f"graph_{name}"
        assert isinstance(found[key], Unavailable)
        assert "max_work" in found[key].reason
    # All of the few units are among the sources.
    for layer, values in exact["graph_betweenness"].items():
        torch.testing.assert_close(found["graph_betweenness"][layer], values)


def test_a_network_without_a_graph_says_why_under_every_key() -> None:
    found = analysed(nn.Sequential(nn.Flatten(), nn.ReLU()), torch.randn(2, 4))
    for key in found:
        assert isinstance(found[key], Unavailable), key
        assert "no layered graph" in found[key].reason


def test_the_graph_is_read_once_until_the_network_is_trained() -> None:
    context = replace(example_context(), memory=AnalysisMemory())
    assert context.memory is not None
    analyzer, calls = GraphAnalyzer(), []
    context.network.register_forward_hook(lambda *_: calls.append(1))
    for _ in range(2):
        found = Analysis.merged({"graph": analyzer.analyze(context)})
        assert found["graph_connections"]
        assert found["graph_pagerank"]
    assert len(calls) == 1
    context.memory.trained()
    assert Analysis.merged({"graph": analyzer.analyze(context)})["graph_connections"]
    assert len(calls) == 2


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="null_samples"):
        GraphAnalyzer(null_samples=1)
    with pytest.raises(ValueError, match="max_work"):
        GraphAnalyzer(max_work=0)
