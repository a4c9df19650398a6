"""Convolutions whose connections are single weights, and how their columns belong to units."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from structure_net.core import (
    SparseConv2d,
    SparsePattern,
    TemporaryPatchLayer,
    assign,
)
from structure_net.core.columns import born_of, columns_of, followed
from structure_net.core.crossover import set_crossover
from structure_net.core.layers import Granularity
from structure_net.core.statistics import network_stats
from structure_net.errors import SurgeryError
from structure_net.testing import check_sparse_layer


@pytest.fixture(params=["live", "masked"], autouse=True)
def _storage(request: pytest.FixtureRequest) -> Iterator[None]:
    set_crossover(request.param)
    yield
    set_crossover(None)


def _layer(
    granularity: Granularity = "weight",
    *,
    density: float = 0.2,
    kernel: int | tuple[int, int] = 3,
    seed: int = 0,
) -> SparseConv2d:
    return SparseConv2d(
        4, 6, kernel, stride=2, padding=1, density=density, granularity=granularity,
        generator=torch.Generator().manual_seed(seed),
    ).double()  # fmt: skip


@pytest.mark.parametrize("granularity", ["kernel", "weight"])
@pytest.mark.parametrize(("kernel", "density"), [(3, 0.2), (1, 0.5), ((2, 3), 1.0)])
def test_convolutions_keep_the_promises_of_sparse_layers(
    granularity: Granularity, kernel: int | tuple[int, int], density: float
) -> None:
    layer = _layer(granularity, density=density, kernel=kernel)
    check_sparse_layer(layer)
    if density < 1:
        absent = (~layer.pattern.mask()).nonzero()[:3]
        check_sparse_layer(TemporaryPatchLayer(layer, absent))


def test_a_connection_is_one_weight_of_a_kernel() -> None:
    layer = _layer()
    assert layer.pattern.shape == (6, 36)
    assert layer.connections == len(layer.pattern) == round(0.2 * 6 * 36)
    assert layer.sources.tolist() == [channel for channel in range(4) for _ in range(9)]
    weight = layer.dense_weight()
    assert weight.shape == (6, 4, 3, 3)
    row, column = layer.pattern.pairs[0]
    channel, place = divmod(column, 9)
    assert weight[row, channel, place // 3, place % 3] == layer.live_weights[0]


def test_both_storages_train_alike() -> None:
    """Adam over 30 steps: the same numbers to rounding in float64."""
    drawn = torch.Generator().manual_seed(1)
    inputs = torch.randn(5, 4, 9, 9, generator=drawn, dtype=torch.float64)
    results = []
    for storage in ("live", "masked"):
        layer = _layer()
        assign(layer, layer.stored("live" if storage == "live" else "masked"))
        optimizer = torch.optim.Adam(layer.parameters(), lr=0.01)
        for _ in range(30):
            optimizer.zero_grad()
            layer(inputs).square().mean().backward()
            optimizer.step()
        results.append(layer.dense_weight().detach())
    torch.testing.assert_close(results[0], results[1], rtol=0, atol=1e-10)


def test_the_output_is_that_of_a_dense_convolution() -> None:
    layer = _layer()
    inputs = torch.randn(3, 4, 11, 8, generator=torch.Generator().manual_seed(1)).double()
    expected = F.conv2d(inputs, layer.dense_weight(), layer.bias, 2, 1)
    torch.testing.assert_close(layer(inputs), expected, rtol=0, atol=1e-10)


def test_new_channels_bring_all_places_of_their_kernels() -> None:
    layer = _layer(density=0.1)
    share = round(layer.density * 54)
    assign(layer, layer.reindexed(1, [0, 1, 2, 3, -1], new="fresh", generator=_drawn()))
    layer.settle()
    assert layer.in_channels == 5
    assert layer.pattern.shape == (6, 45)
    assert int((layer.sources[layer.pattern.columns] == 4).sum()) == share


def test_units_are_joined_where_any_weight_is() -> None:
    pattern = SparsePattern.from_pairs([(0, 0), (0, 8), (1, 9), (1, 35)], (2, 36))
    layer = SparseConv2d(4, 2, 3, pattern=pattern, granularity="weight")
    assert layer.unit_pattern.pairs == ((0, 0), (1, 1), (1, 3))
    assert layer.sources.dtype == torch.int64
    whole = SparseConv2d(4, 2, 3, density=0.5)
    assert whole.unit_pattern == whole.pattern


def test_statistics_count_the_weights_that_read_each_channel() -> None:
    pattern = SparsePattern.from_pairs([(0, 0), (0, 8), (1, 9), (1, 35)], (2, 36))
    layer = SparseConv2d(4, 2, 3, pattern=pattern, granularity="weight")
    (row,) = network_stats(nn.Sequential(layer))["layers"]
    assert (row["inputs"], row["connections"]) == (4, 4)
    assert row["fan_out"] == {"min": 0, "mean": 1.0, "max": 2}


def test_states_load_into_layers_with_other_connections() -> None:
    layer, other = _layer(), _layer(density=0.5, seed=1)
    other.load_state_dict(layer.state_dict())
    assert other.pattern == layer.pattern
    assert torch.equal(other.dense_weight(), layer.dense_weight())


def test_columns_follow_their_units() -> None:
    assert columns_of(torch.tensor([2, -1, 0]), 3).tolist() == [6, 7, 8, -1, -1, -1, 0, 1, 2]
    assert columns_of(torch.tensor([1, 0]), 1).tolist() == [1, 0]
    assert followed([1, -1], (3, 2), 1).tolist() == [1, -1]
    with pytest.raises(SurgeryError, match="below the layer's 2 inputs"):
        followed([2], (3, 2), 1)


@pytest.mark.parametrize("dim", [0, 1])
def test_new_units_get_their_share_sorted(dim: int) -> None:
    born = born_of(dim, [4, 6], (5, 8), slots=2, density=0.5, generator=_drawn())
    keys = born.rows * 100 + born.columns
    assert bool((keys.diff() > 0).all())
    assert len(keys) == (8 if dim == 0 else 10)
    lines = born.rows if dim == 0 else born.columns // 2
    assert set(lines.tolist()) == {4, 6}


def test_other_granularities_are_refused() -> None:
    with pytest.raises(ValueError, match="'kernel' or 'weight'; got 'row'"):
        SparseConv2d(2, 2, 3, granularity="row")  # type: ignore[arg-type]  # wrong on purpose


def _drawn() -> torch.Generator:
    return torch.Generator().manual_seed(3)
