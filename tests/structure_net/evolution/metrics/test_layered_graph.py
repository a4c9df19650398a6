from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from structure_net.evolution.metrics import LayeredGraph
from tests.structure_net.evolution.metrics.graph_cases import random_graph


def test_a_chain_has_the_entries_of_its_matrices_as_edges() -> None:
    first = torch.tensor([[1.0, 0.0], [-2.0, 3.0], [0.0, 0.0]])
    second = torch.tensor([[0.0, 4.0, 5.0]])
    graph = LayeredGraph.chain([first, second])
    assert (graph.sizes, graph.vertices, graph.edges) == ((2, 3, 1), 6, 5)
    assert graph.tails.tolist() == [0, 0, 1, 3, 4]
    assert graph.heads.tolist() == [2, 3, 3, 5, 5]
    assert graph.weights.tolist() == [1.0, 2.0, 3.0, 4.0, 5.0]
    assert graph.inputs.nonzero().flatten().tolist() == [0, 1]
    assert graph.outputs.nonzero().flatten().tolist() == [5]
    assert graph.is_chain


def test_blocks_give_the_matrices_back() -> None:
    matrices = {(0, 1): torch.eye(2, 3), (0, 2): torch.ones(2, 1), (1, 2): torch.ones(3, 1)}
    graph = LayeredGraph.of_blocks((2, 3, 1), matrices, layers=("a", "b", "c"))
    assert not graph.is_chain
    assert [(block.source, block.target) for block in graph.blocks] == [(0, 1), (0, 2), (1, 2)]
    for block in graph.blocks:
        expected = matrices[block.source, block.target].double()
        assert torch.equal(block.matrix(), expected)
        assert torch.equal(block.matrix(graph.weights[block.edges]), expected)


def test_rows_list_neighbours_in_each_direction() -> None:
    graph = LayeredGraph.of_blocks((1, 2, 1), {(0, 1): torch.ones(1, 2), (0, 2): torch.ones(1, 1)})
    assert graph.outgoing.starts.tolist() == [0, 3, 3, 3, 3]
    assert graph.outgoing.neighbours.tolist() == [1, 2, 3]
    assert graph.incoming.starts.tolist() == [0, 0, 1, 2, 3]
    assert graph.incoming.neighbours.tolist() == [0, 0, 0]
    assert graph.undirected.neighbours.tolist() == [1, 2, 3, 0, 0, 0]


def test_values_split_by_layer() -> None:
    graph = random_graph()
    parts = graph.by_layer(torch.arange(graph.vertices))
    assert {name: len(part) for name, part in parts.items()} == {"0": 12, "1": 9, "2": 10, "3": 6}
    assert torch.equal(torch.cat(list(parts.values())), torch.arange(graph.vertices))


def test_relative_weights_are_at_most_one_in_each_layer() -> None:
    graph = random_graph(skips=0.2).relative()
    for layer in (1, 2, 3):
        entering = graph.weights[graph.depth[graph.heads] == layer]
        assert float(entering.max()) == 1.0


def test_edges_may_be_given_in_any_order() -> None:
    graph = random_graph(skips=0.2)
    order = torch.randperm(graph.edges, generator=torch.Generator().manual_seed(1))
    again = graph.with_edges(graph.tails[order], graph.heads[order], graph.weights[order])
    assert torch.equal(again.heads, graph.heads)
    assert torch.equal(again.weights, graph.weights)


def test_what_is_no_layered_graph_is_refused() -> None:
    graph = random_graph()
    with pytest.raises(ValueError, match="later"):
        replace(graph, tails=graph.heads, heads=graph.tails)
    with pytest.raises(ValueError, match="sorted"):
        replace(graph, tails=graph.tails.flip(0), heads=graph.heads.flip(0))
    with pytest.raises(ValueError, match="0 or more"):
        replace(graph, weights=-graph.weights)
    with pytest.raises(ValueError, match="distinct"):
        replace(graph, layers=("a", "a", "b", "c"))
    with pytest.raises(ValueError, match="at least one unit"):
        replace(graph, layers=())
    with pytest.raises(ValueError, match="bool"):
        replace(graph, inputs=graph.weights)
    with pytest.raises(ValueError, match="one length"):
        replace(graph, tails=graph.tails[:-1])
    with pytest.raises(ValueError, match="below"):
        replace(graph, heads=graph.heads + 100)
    with pytest.raises(ValueError, match="shape"):
        LayeredGraph.of_blocks((2, 3), {(0, 1): torch.ones(3, 2)})
    with pytest.raises(ValueError, match="at least one matrix"):
        LayeredGraph.chain([])
