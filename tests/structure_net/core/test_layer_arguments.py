"""What sparse layers are made with is refused where PyTorch's layers refuse it, by its name."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from structure_net.core import (
    SparseConv2d,
    SparsePattern,
    StandardSparseLayer,
    create_standard_network,
)
from structure_net.core.crossover import get_crossover, set_crossover
from structure_net.core.layer_arguments import check_origin, padding_of, pair_of
from tests.laws.storages import STORAGES, Storage, crossover


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kernel_size": (3, 3, 5)}, "kernel_size must be one number, or a height and a width"),
        ({"stride": (1, 2, 3)}, "stride must be one number"),
        ({"stride": 0}, "stride must be 1 or more; got 0"),
        ({"stride": 1.5}, "stride must be a whole number; got 1.5"),
        ({"kernel_size": (3, 0)}, "Each of kernel_size must be 1 or more; got 0"),
        ({"padding": -1}, "padding must be 0 or more; got -1"),
        ({"padding": "full"}, "padding must be numbers, 'same' or 'valid'; got 'full'"),
        ({"padding": "same", "stride": 2}, "stride 1; got \\(2, 2\\)"),
        ({"padding": "same", "kernel_size": 2}, "unevenly; put a torch.nn.ZeroPad2d"),
        ({"dilation": 0}, "dilation must be 1 or more; got 0"),
        ({"in_channels": 0}, "in_channels must be 1 or more; got 0"),
        ({"out_channels": 2.0}, "out_channels must be a whole number; got 2.0"),
        ({"density": "0.1"}, "density must be a number; got '0.1'"),
        ({"generator": 3}, "generator must be a torch.Generator; got 3"),
    ],
    ids=str,
)
def test_a_convolution_names_the_argument_that_it_refuses(
    change: dict[str, Any], message: str, storage: Storage
) -> None:
    arguments: dict[str, Any] = {"in_channels": 16, "out_channels": 16, "kernel_size": 3} | change
    with crossover(storage), pytest.raises((ValueError, TypeError), match=message):
        SparseConv2d(**arguments)


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize("dilation", [1, 2])
def test_padding_by_name_is_that_of_torch(padding: Any, dilation: int, storage: Storage) -> None:
    generator = torch.Generator().manual_seed(0)
    with crossover(storage):
        layer = SparseConv2d(
            3, 4, (3, 5), padding=padding, dilation=dilation, density=0.5, generator=generator
        ).double()
    dense = nn.Conv2d(3, 4, (3, 5), padding=padding, dilation=dilation, dtype=torch.float64)
    with torch.no_grad():
        dense.weight.copy_(layer.dense_weight())
        nn.init.zeros_(dense.bias)  # type: ignore[arg-type]  # it has one
    inputs = torch.randn(2, 3, 9, 11, generator=generator, dtype=torch.float64)
    torch.testing.assert_close(layer(inputs), dense(inputs), rtol=0, atol=1e-10)
    assert layer.output_shape(tuple(inputs.shape)) == tuple(layer(inputs).shape)


@pytest.mark.parametrize(
    ("sizes", "kind", "message"),
    [
        ((0, 5), ValueError, "in_features must be 1 or more; got 0"),
        ((-1, 5), ValueError, "in_features must be 1 or more; got -1"),
        ((5, 5.0), TypeError, "out_features must be a whole number; got 5.0"),
    ],
)
def test_a_linear_layer_names_the_size_that_it_refuses(
    sizes: tuple[Any, Any], kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind, match=message):
        StandardSparseLayer(*sizes)


def test_origins_of_another_kind_are_refused() -> None:
    check_origin(None, None, None)
    with pytest.raises(TypeError, match=r"pattern must be a SparsePattern; got a Tensor\. Sparse"):
        StandardSparseLayer(4, 4, pattern=torch.ones(4, 4))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"mask must have the shape \(outputs, inputs\); got \(3"):
        SparsePattern.from_mask(torch.ones(3, dtype=torch.bool))
    with pytest.raises(TypeError, match=r"rows must be a vector of int64; got \[0\]"):
        SparsePattern([0], [0], (2, 2))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"architecture must list the widths.*got 64"):
        create_standard_network(64)  # type: ignore[arg-type]


def test_numbers_and_pairs_of_any_kind_are_taken() -> None:
    assert pair_of(1, "stride", 2) == (2, 2)
    assert pair_of(1, "stride", [2, 3]) == pair_of(1, "stride", torch.Size((2, 3))) == (2, 3)
    assert padding_of("same", (3, 5), (1, 1), (2, 1)) == (2, 2)


@pytest.mark.parametrize("storage", STORAGES)
def test_weights_of_another_shape_are_refused(storage: Storage) -> None:
    with crossover(storage):
        layer = StandardSparseLayer(6, 4, density=0.5)
    before = layer.dense_weight().clone()
    with pytest.raises(ValueError, match=r"values must have the shape \(12,\), or be one number"):
        layer.fill(torch.zeros(3))
    assert torch.equal(layer.dense_weight(), before)


def test_a_truth_is_no_density() -> None:
    before = get_crossover()
    with pytest.raises(ValueError, match="density in"):
        set_crossover(True)
    assert get_crossover() == before


def test_a_network_takes_batches() -> None:
    network = create_standard_network([6, 5, 3], density=0.5, seed=0)
    with pytest.raises(
        ValueError, match=r"shape \(N, \*\); got \(6,\)\. One sample is inputs\[None\]"
    ):
        network(torch.ones(6))


def test_a_matrix_is_no_list_of_live_weights() -> None:
    with crossover("live"):
        layer = StandardSparseLayer(6, 4, density=0.5)
    layer.weight = nn.Parameter(torch.ones(4, 6))
    with pytest.raises(ValueError, match=r"shape of its list; got \(4, 6\)\. Write weights with"):
        layer(torch.ones(1, 6))
