"""A sparse layer is linked as the matrix that it stands for, at the cost of its connections."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from structure_net.core import SparseConv2d, StandardSparseLayer
from structure_net.core.layers import Granularity
from structure_net.core.storage import StoredLayer
from structure_net.evolution.metrics import LayeredGraph, layered_graph_of
from structure_net.evolution.metrics.links import (
    Links,
    MatrixLinks,
    PairLinks,
    larger,
    links_of,
    summed,
)

pytestmark = pytest.mark.usefixtures("either_storage")


class Reading(nn.Module):
    """A layer that is read behind a flattening, twice at once, and twice in a row."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)

    def forward(self, inputs: Tensor) -> Tensor:
        images, behind, twice, again = self.layers
        hidden = torch.relu(images(inputs)).flatten(1)
        hidden = torch.relu(behind(hidden))
        hidden = torch.relu(twice(torch.cat([hidden, hidden.flip(1)], 1)))
        output: Tensor = again(hidden) + again(hidden.flip(1))
        return output


def sparse(granularity: Granularity) -> Reading:
    return Reading(
        SparseConv2d(2, 3, 3, density=0.6, granularity=granularity),
        StandardSparseLayer(27, 6, density=0.3),
        StandardSparseLayer(12, 8, density=0.4),
        StandardSparseLayer(8, 4, density=0.5),
    ).double()


def dense(model: Reading) -> Reading:
    """The same weights in layers that are matrices."""
    twin = Reading(nn.Conv2d(2, 3, 3), nn.Linear(27, 6), nn.Linear(12, 8), nn.Linear(8, 4)).double()
    with torch.no_grad():
        for mine, other in zip(twin.layers, model.layers, strict=True):
            assert isinstance(other, StoredLayer)
            mine.get_parameter("weight").copy_(other.dense_weight())
            mine.get_parameter("bias").copy_(other.get_parameter("bias"))
    return twin


def edges(graph: LayeredGraph) -> tuple[Tensor, Tensor, Tensor]:
    return graph.tails, graph.heads, graph.weights


@pytest.mark.parametrize("granularity", ["kernel", "weight"])
def test_a_sparse_layer_is_linked_as_the_matrix_that_it_stands_for(
    granularity: Granularity,
) -> None:
    torch.manual_seed(0)
    model = sparse(granularity)
    example = torch.randn(2, 2, 5, 5).double()
    found = edges(layered_graph_of(model, example))
    expected = edges(layered_graph_of(dense(model), example))
    assert all(map(torch.equal, found[:2], expected[:2]))
    # The nine squares of a kernel are summed with or without the zeros between them.
    torch.testing.assert_close(found[2], expected[2], rtol=0, atol=1e-15)


def test_connections_of_weight_zero_are_links_too() -> None:
    layer = StandardSparseLayer(5, 4, density=0.5)
    layer.fill(0.0)
    assert layered_graph_of(nn.Sequential(layer), torch.randn(2, 5)).edges == layer.connections


def example_links(seed: int) -> tuple[MatrixLinks, PairLinks]:
    """The same as a matrix and as pairs."""
    squares = torch.rand(4, 6, generator=torch.Generator().manual_seed(seed)).double()
    squares[squares < 0.5] = 0.0
    matrix = MatrixLinks.of(squares)
    return matrix, matrix.pairs()


def same(one: Links, other: Links) -> bool:
    pairs = [links.pairs() for links in (one, other)]
    orders = [torch.argsort(one.rows * one.shape[1] + one.columns) for one in pairs]
    columns = ("rows", "columns", "squares")
    return one.shape == other.shape and all(
        torch.equal(*(getattr(p, name)[o] for p, o in zip(pairs, orders, strict=True)))
        for name in columns
    )


@pytest.mark.parametrize(
    "units", [[0, 1, 2, 3, 4, 5], [5, 0, 1, 2, 3, 4], [0, 0, 1, -1, 2, 1], [-1] * 6]
)
def test_pairs_are_gathered_as_the_matrix_is_bit_for_bit(units: list[int]) -> None:
    matrix, pairs = example_links(0)
    assert same(*(links.gathered(torch.tensor(units), 6) for links in (matrix, pairs)))


def test_sums_and_maxima_of_pairs_are_those_of_the_matrices_and_of_both_together() -> None:
    (matrix, pairs), (other, others) = example_links(1), example_links(2)
    joins: tuple[Callable[[Links, Links], Links], ...] = (lambda *given: summed(given), larger)
    for join in joins:
        expected = join(matrix, other)
        assert isinstance(expected, MatrixLinks)
        for one, two in ((pairs, others), (matrix, others), (pairs, other)):
            assert same(join(one, two), expected)
    assert summed([pairs]) is pairs


def test_links_of_a_sparse_layer_hold_its_live_weights_and_nothing_else() -> None:
    layer = StandardSparseLayer(300, 200, density=0.01)
    links = links_of(layer)
    assert links.shape == (200, 300)
    assert links.squares.numel() == layer.connections
    assert links.finite
    layer.fill(torch.nan)
    assert not links_of(layer).finite
