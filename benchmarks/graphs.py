"""What a report on the layered graph of a network costs, beside the same report by networkx."""

from __future__ import annotations

from itertools import pairwise
from statistics import median
from typing import Any

import torch

from benchmarks.harness import Figure, interleaved, seconds
from structure_net.evolution.metrics.accelerated import to_networkx
from structure_net.evolution.metrics.centrality import betweenness, degrees, pagerank
from structure_net.evolution.metrics.connectivity import components, spectral_gap
from structure_net.evolution.metrics.layered_graph import LayeredGraph
from structure_net.evolution.metrics.null_models import nulls
from structure_net.evolution.metrics.partitions import communities, modularity_against_null
from structure_net.evolution.metrics.paths import path_shares
from structure_net.evolution.metrics.patterns import clustering

SIZES = (300, 300, 300, 200, 100)
EDGES = 20_000
NULLS = 2
"""Rewired graphs that the modularity is compared with; few, since networkx takes seconds each."""


def layered(seed: int = 0) -> LayeredGraph:
    """A random layered graph without skip connections, of normally distributed weights."""
    generator = torch.Generator().manual_seed(seed)
    pairs = list(pairwise(SIZES))
    density = EDGES / sum(before * behind for before, behind in pairs)
    matrices = [
        torch.randn(behind, before, generator=generator, dtype=torch.float64)
        * (torch.rand(behind, before, generator=generator) < density)
        for before, behind in pairs
    ]
    return LayeredGraph.chain(matrices)


def ours(graph: LayeredGraph) -> dict[str, Any]:
    """The report by the functions of this package; the graph forgets what it keeps."""
    graph = graph.with_edges(graph.tails, graph.heads, graph.weights)
    return {
        "degrees": degrees(graph),
        "betweenness": betweenness(graph),
        "weighted": betweenness(graph, lengths=1 / graph.weights),
        "pagerank": pagerank(graph),
        "clustering": clustering(graph),
        "communities": communities(graph),
        "modularity": modularity_against_null(graph, samples=NULLS),
        "gap": spectral_gap(graph, largest_component=True),
        "components": components(graph),
        "paths": path_shares(graph),
    }


def by_networkx(graph: LayeredGraph, rewired: tuple[LayeredGraph, ...]) -> dict[str, Any]:
    """The same report by networkx, which is given the rewired graphs."""
    import networkx as nx
    from scipy.linalg import eigvalsh

    directed = to_networkx(graph)
    for _, _, edge in directed.edges(data=True):
        edge["length"] = 1 / edge["weight"]
    plain = directed.to_undirected()
    whole = plain.subgraph(max(nx.connected_components(plain), key=len))
    found = nx.community.louvain_communities(plain, seed=0)
    modularities = []
    for null in rewired:
        other = to_networkx(null, directed=False)
        parts = nx.community.louvain_communities(other, seed=0)
        modularities.append(nx.community.modularity(other, parts))
    laplacian = nx.normalized_laplacian_matrix(whole, weight=None).toarray()
    return {
        "degrees": (dict(directed.in_degree()), dict(directed.out_degree())),
        "betweenness": nx.betweenness_centrality(directed),
        "weighted": nx.betweenness_centrality(directed, weight="length"),
        "pagerank": nx.pagerank(directed),
        "clustering": (
            nx.square_clustering(plain),
            nx.clustering(plain),
            nx.bipartite.robins_alexander_clustering(plain),
        ),
        "communities": found,
        "modularity": (nx.community.modularity(plain, found), modularities),
        "gap": eigvalsh(laplacian, subset_by_index=[1, 1]),
        "components": list(nx.connected_components(plain)),
        "paths": _paths(directed, graph),
    }


def _paths(directed: Any, graph: LayeredGraph) -> dict[int, int]:
    """The paths through each vertex, counted by networkx's order."""
    import networkx as nx

    into: dict[int, int] = {}
    out: dict[int, int] = {}
    order = list(nx.topological_sort(directed))
    for vertex in order:
        feeding = sum(into[other] for other in directed.predecessors(vertex))
        into[vertex] = feeding + int(graph.inputs[vertex])
    for vertex in reversed(order):
        fed = sum(out[other] for other in directed.successors(vertex))
        out[vertex] = fed + int(graph.outputs[vertex])
    return {vertex: into[vertex] * out[vertex] for vertex in order}


def figures() -> list[Figure]:
    """The report's seconds over those of networkx, and those of its dearest parts."""
    graph = layered()
    rewired = nulls(graph, NULLS)
    times = interleaved(
        {
            "ours": lambda: median(seconds(lambda: ours(graph)) for _ in range(5)),
            "networkx": lambda: seconds(lambda: by_networkx(graph, rewired)),
        },
        repeats=1,
    )
    ratio = times["ours"] / times["networkx"]
    note = f"{1 / ratio:.0f} times as fast: {times['ours']:.3g} against {times['networkx']:.3g} s"
    return [Figure("graph report of 1,200 units over networkx", ratio, "x", 1 / 50, note)]
