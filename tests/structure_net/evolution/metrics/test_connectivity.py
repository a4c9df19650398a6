from __future__ import annotations

import networkx as nx
import numpy as np
import pytest
import torch

from structure_net.evolution.metrics import (
    Dismantling,
    LayeredGraph,
    Unavailable,
    components,
    dismantling,
    spectral_gap,
)
from structure_net.evolution.metrics.accelerated import to_networkx
from tests.structure_net.evolution.metrics.graph_cases import random_graph


@pytest.mark.parametrize("sizes", [(8, 7, 6), (40, 30, 20)])
@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize("skips", [0.0, 0.3])
def test_the_gap_is_the_second_eigenvalue_of_the_normalised_laplacian(
    sizes: tuple[int, ...], weighted: bool, skips: float
) -> None:
    graph = random_graph(sizes, density=0.8, skips=skips)
    plain = to_networkx(graph, directed=False)
    laplacian = nx.normalized_laplacian_matrix(plain, weight="weight" if weighted else None)
    expected = np.linalg.eigvalsh(laplacian.toarray())[1]
    # Lanczos iteration to machine precision.
    assert float(spectral_gap(graph, weighted=weighted)) == pytest.approx(expected, abs=1e-10)


def test_complete_layers_have_a_gap_of_one() -> None:
    assert float(spectral_gap(LayeredGraph.chain([torch.ones(20, 30)]))) == pytest.approx(1.0)


def test_a_graph_in_parts_has_no_gap_but_its_largest_part_has() -> None:
    whole, dead = torch.ones(5, 4), torch.zeros(3, 4)
    graph = LayeredGraph.chain([torch.cat([whole, dead])])
    found = spectral_gap(graph)
    assert isinstance(found, Unavailable)
    assert "4 parts" in found.reason
    expected = spectral_gap(LayeredGraph.chain([whole]))
    assert spectral_gap(graph, largest_component=True) == pytest.approx(expected, abs=1e-12)


def test_two_units_have_no_gap() -> None:
    single = LayeredGraph.chain([torch.ones(1, 1)])
    assert isinstance(spectral_gap(single), Unavailable)


def test_components_are_those_of_networkx_largest_first() -> None:
    graph = random_graph((20, 20, 20), density=0.04, seed=2)
    labels = components(graph)
    found = [set((labels == c).nonzero().flatten().tolist()) for c in range(int(labels.max()) + 1)]
    expected = list(nx.connected_components(to_networkx(graph, directed=False)))
    assert sorted(map(sorted, found)) == sorted(map(sorted, expected))
    sizes = [len(part) for part in found]
    assert sizes == sorted(sizes, reverse=True)


def test_dismantling_gives_the_largest_component_after_every_removal() -> None:
    graph = random_graph((10, 9, 8), density=0.15, skips=0.05)
    order = torch.randperm(graph.vertices, generator=torch.Generator().manual_seed(0))
    found = dismantling(graph, order)
    assert isinstance(found, Dismantling)
    plain = to_networkx(graph, directed=False)
    expected = [max(map(len, nx.connected_components(plain))) / graph.vertices]
    for vertex in order.tolist():
        plain.remove_node(vertex)
        largest = max(map(len, nx.connected_components(plain)), default=0)
        expected.append(largest / graph.vertices)
    assert found.largest.tolist() == expected
    assert found.robustness == pytest.approx(sum(expected[1:]) / graph.vertices, abs=1e-12)
    half = next(i for i, value in enumerate(expected) if value <= 0.5)
    assert found.half == half / graph.vertices


def test_a_star_falls_apart_with_its_centre() -> None:
    graph = LayeredGraph.chain([torch.ones(9, 1)])
    centre_first, centre_last = torch.arange(10), torch.arange(10).flip(0)
    assert dismantling(graph, centre_first).largest.tolist() == [1.0, *[0.1] * 9, 0.0]
    assert dismantling(graph, centre_first).half == 0.1
    assert dismantling(graph, centre_last).half == 0.5


def test_an_order_names_every_unit_once() -> None:
    with pytest.raises(ValueError, match="each of the"):
        dismantling(random_graph(), torch.zeros(37, dtype=torch.int64))
