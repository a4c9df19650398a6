"""Neural persistence against sorting, against networkx, and against itself from a warm start."""

from __future__ import annotations

from itertools import pairwise

import networkx as nx
import numpy as np
import torch
from torch import Tensor

from benchmarks.harness import Figure, interleaved, seconds
from structure_net.evolution.metrics import (
    NeuralPersistence,
    neural_persistence,
    persistence_diagrams,
    shuffled_persistence,
    summarised_weights,
)
from structure_net.evolution.metrics.clouds import euclidean_distances

OUTPUTS, INPUTS, POINTS = 256, 784, 200


def figures() -> list[Figure]:
    """Of a dense layer of MNIST's size with normal weights."""
    generator = torch.Generator().manual_seed(0)
    weights = torch.randn(OUTPUTS, INPUTS, generator=generator)
    return [*_against_sorting(weights, generator), *_against_networkx(weights), *_others(generator)]


def _against_sorting(weights: Tensor, generator: torch.Generator) -> list[Figure]:
    flat = weights.abs().flatten().numpy()
    before = neural_persistence(weights)
    assert isinstance(before, NeuralPersistence)
    trained = weights + 0.01 * torch.randn(weights.shape, generator=generator)
    low = weights.clone()
    low[0] *= 1e-6
    times = interleaved(
        {
            "sort": lambda: seconds(lambda: np.sort(flat)),
            "cold": lambda: seconds(lambda: neural_persistence(weights)),
            "warm": lambda: seconds(lambda: neural_persistence(trained, start=before.forest)),
            "low": lambda: seconds(lambda: neural_persistence(low)),
            "null": lambda: seconds(lambda: shuffled_persistence(weights)),
        },
        repeats=20,
    )
    how = f"{OUTPUTS} x {INPUTS} dense, float32, against numpy's sort"
    return [
        Figure("neural persistence over sorting", times["cold"] / times["sort"], "x", 0.5, how),
        Figure("... from a forest of before", times["warm"] / times["sort"], "x", None, how),
        Figure("... with a unit of small weights", times["low"] / times["sort"], "x", None, how),
        Figure(
            "50 shuffles over sorting",
            times["null"] / times["sort"],
            "x",
            None,
            f"{how}; random orders drawn before",
        ),
        Figure("neural persistence", 1e3 * times["cold"], "ms", None, how),
    ]


def _against_networkx(weights: Tensor) -> list[Figure]:
    graph = _graph(weights)
    times = interleaved(
        {
            "ours": lambda: seconds(lambda: neural_persistence(weights)),
            "whole": lambda: seconds(lambda: _spanned(_graph(weights))),
            "spanning": lambda: seconds(lambda: _spanned(graph)),
        },
        repeats=5,
    )
    whole, spanning = (times["ours"] / times[name] for name in ("whole", "spanning"))
    how = "from the tensor: Graph, maximum_spanning_edges"
    return [
        Figure("neural persistence over networkx", whole, "x", 1 / 200, how),
        Figure("... whose graph is built before", spanning, "x", None, "maximum_spanning_edges"),
    ]


def _graph(weights: Tensor) -> nx.Graph:
    graph = nx.Graph()
    graph.add_weighted_edges_from(
        (row, OUTPUTS + column, value)
        for row, values in enumerate(weights.abs().tolist())
        for column, value in enumerate(values)
    )
    return graph


def _spanned(graph: nx.Graph) -> list[float]:
    return [data["weight"] for *_, data in nx.maximum_spanning_edges(graph, data=True)]


def _others(generator: torch.Generator) -> list[Figure]:
    sizes = (784, 256, 256, 10)
    layers = [torch.randn(after, before, generator=generator) for before, after in pairwise(sizes)]
    cloud = torch.randn(POINTS, 64, generator=generator)
    times = interleaved(
        {
            "deep": lambda: seconds(lambda: summarised_weights(layers)),
            "cloud": lambda: seconds(lambda: persistence_diagrams(euclidean_distances(cloud))),
        },
        repeats=5,
    )
    return [
        Figure("summary of all paths", 1e3 * times["deep"], "ms", None, "784-256-256-10"),
        Figure("loops of a cloud", 1e3 * times["cloud"], "ms", None, f"{POINTS} points in 64-d"),
    ]
