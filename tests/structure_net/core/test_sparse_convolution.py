from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from structure_net.core.convolution_grids import Axis, Grid, axis, grid
from structure_net.core.convolution_kernels import (
    convolve,
    differentiate,
    list_backward,
    list_forward,
)
from structure_net.core.products import LiveIndex
from structure_net.core.sparse_convolution import scattered, sparse_conv2d
from structure_net.core.sparsity import SparsePattern
from structure_net.core.windows import Geometry

# Sums of a few hundred products of normal numbers in float64 (1e-16) stay far below this.
EXACT = 1e-10

GEOMETRIES = {
    "3x3": Geometry((3, 3), padding=(1, 1, 1, 1)),
    "3x3 without padding": Geometry((3, 3)),
    "1x1": Geometry(),
    "1x1 with stride": Geometry(stride=(2, 2)),
    "1x1 with more padding than kernel": Geometry(padding=(2, 2, 1, 1)),
    "5x2": Geometry((5, 2), padding=(1, 1, 2, 2)),
    "stride 2": Geometry((3, 3), stride=(2, 2), padding=(1, 1, 1, 1)),
    "stride beyond the kernel": Geometry((2, 3), stride=(3, 4), padding=(1, 1, 0, 0)),
    "dilation": Geometry((3, 3), dilation=(2, 3), padding=(3, 3, 2, 2)),
    "dilation with stride": Geometry((3, 2), (2, 3), (2, 2), (1, 1, 3, 3)),
    "other padding on each side": Geometry((3, 3), padding=(2, 0, 1, 2)),
}


def _case(
    geometry: Geometry,
    *,
    whole: bool,
    channels: tuple[int, int] = (3, 5),
    batch: int = 3,
    size: tuple[int, int] = (9, 13),
    density: float = 0.3,
    dtype: torch.dtype = torch.float64,
) -> tuple[Tensor, Tensor, Tensor, LiveIndex]:
    """Inputs, values, bias and index, drawn at random."""
    generator = torch.Generator().manual_seed(0)
    columns = channels[0] * (1 if whole else geometry.size)
    mask = torch.rand(channels[1], columns, generator=generator) < density
    mask[1] = False
    mask[0, 0] = True
    index = LiveIndex.from_pattern(SparsePattern.from_mask(mask))
    entries = geometry.kernel if whole else ()

    def drawn(*shape: int) -> Tensor:
        made = torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)
        return made.requires_grad_()

    return drawn(batch, channels[0], *size), drawn(len(index), *entries), drawn(channels[1]), index


def _dense(
    inputs: Tensor, values: Tensor, bias: Tensor | None, index: LiveIndex, geometry: Geometry
) -> Tensor:
    padded = F.pad(inputs, geometry.padding)
    weight = scattered(values, index, geometry)
    return F.conv2d(padded, weight, bias, geometry.stride, 0, geometry.dilation)


def _difference(
    geometry: Geometry, inputs: Tensor, values: Tensor, bias: Tensor, index: LiveIndex
) -> float:
    """The largest difference from the dense convolution, of outputs and all gradients."""
    outputs = sparse_conv2d(inputs, values, bias, index, geometry)
    expected = _dense(inputs, values, bias, index, geometry)
    generator = torch.Generator().manual_seed(1)
    slope = torch.randn(outputs.shape, generator=generator, dtype=torch.float64).to(outputs)
    found = torch.autograd.grad(outputs, (inputs, values, bias), slope)
    right = torch.autograd.grad(expected, (inputs, values, bias), slope)
    pairs = [(outputs, expected), *zip(found, right, strict=True)]
    return max(float((one - other).detach().abs().max()) for one, other in pairs)


@pytest.mark.parametrize("whole", [True, False], ids=["kernels", "weights"])
@pytest.mark.parametrize("geometry", GEOMETRIES.values(), ids=GEOMETRIES)
def test_sparse_and_dense_convolutions_agree(geometry: Geometry, whole: bool) -> None:
    assert _difference(geometry, *_case(geometry, whole=whole)) < EXACT


@pytest.mark.parametrize("size", [(1, 1), (5, 7), (8, 8), (17, 31), (40, 64)])
@pytest.mark.parametrize("batch", [1, 2, 33])
def test_every_size_and_batch_agrees(size: tuple[int, int], batch: int) -> None:
    geometry = GEOMETRIES["3x3"]
    assert _difference(geometry, *_case(geometry, whole=False, size=size, batch=batch)) < EXACT


@pytest.mark.parametrize("density", [0.0, 0.01, 1.0])
def test_one_connection_and_all_agree(density: float) -> None:
    geometry = GEOMETRIES["stride 2"]
    assert _difference(geometry, *_case(geometry, whole=False, density=density)) < EXACT


def test_single_precision_differs_by_rounding() -> None:
    geometry = GEOMETRIES["3x3"]
    case = _case(geometry, whole=False, channels=(16, 16), size=(16, 16), dtype=torch.float32)
    # A gradient at a weight sums 3 * 256 products: 1e-7 * sqrt(768) of sums up to about 100.
    assert _difference(geometry, *case) < 1e-3


@pytest.mark.parametrize("name", ["3x3", "stride beyond the kernel"])
def test_gradients_are_those_of_finite_differences(name: str) -> None:
    geometry = GEOMETRIES[name]
    inputs, values, bias, index = _case(
        geometry, whole=False, channels=(2, 3), batch=2, size=(4, 5)
    )

    def function(inputs: Tensor, values: Tensor, bias: Tensor) -> Tensor:
        return sparse_conv2d(inputs, values, bias, index, geometry)

    assert torch.autograd.gradcheck(function, (inputs, values, bias))
    assert torch.autograd.gradgradcheck(function, (inputs, values, bias))


@pytest.mark.parametrize("asked", [(0,), (1,), (2,), (0, 1), (1, 2)])
def test_gradients_do_not_depend_on_which_are_asked_for(asked: tuple[int, ...]) -> None:
    geometry = GEOMETRIES["stride 2"]
    inputs, values, bias, index = _case(geometry, whole=True)
    tensors = (inputs, values, bias)
    whole = torch.autograd.grad(sparse_conv2d(*tensors, index, geometry).square().sum(), tensors)
    some = [one if n in asked else one.detach() for n, one in enumerate(tensors)]
    outputs = sparse_conv2d(some[0], some[1], some[2], index, geometry)
    found = torch.autograd.grad(outputs.square().sum(), [some[n] for n in asked])
    for n, gradient in zip(asked, found, strict=True):
        torch.testing.assert_close(gradient, whole[n], rtol=0, atol=EXACT)


def test_inputs_may_lie_in_any_order_and_need_no_batch() -> None:
    geometry = GEOMETRIES["3x3"]
    inputs, values, bias, index = _case(geometry, whole=True)
    expected = sparse_conv2d(inputs, values, bias, index, geometry)
    last = inputs.to(memory_format=torch.channels_last)
    assert torch.equal(sparse_conv2d(last, values, bias, index, geometry), expected)
    torch.testing.assert_close(
        sparse_conv2d(inputs[1], values, bias, index, geometry), expected[1], rtol=0, atol=EXACT
    )
    none = sparse_conv2d(inputs[:0], values, None, index, geometry)
    assert none.shape == (0, *expected.shape[1:])


@pytest.mark.parametrize("threads", [2, 3])
def test_results_are_the_same_bits_on_any_number_of_threads(threads: int) -> None:
    geometry = GEOMETRIES["3x3"]
    case = _case(geometry, whole=False, channels=(24, 24), batch=20, size=(32, 32))
    before = torch.get_num_threads()

    def run() -> list[Tensor]:
        outputs = sparse_conv2d(*case, geometry)
        return [outputs, *torch.autograd.grad(outputs.square().sum(), case[:3])]

    try:
        torch.set_num_threads(1)
        once = run()
        torch.set_num_threads(threads)
        again = run()
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(one, other) for one, other in zip(once, again, strict=True))


def test_transforms_and_autocast_give_what_the_dense_way_gives() -> None:
    geometry = GEOMETRIES["3x3"]
    *given, index = _case(geometry, whole=False)
    inputs, values, bias = (one.detach() for one in given)

    def loss(chosen: Tensor) -> Tensor:
        return sparse_conv2d(inputs, chosen, bias, index, geometry).square().sum()

    leaf = values.clone().requires_grad_()
    (expected,) = torch.autograd.grad(loss(leaf), leaf)
    torch.testing.assert_close(torch.func.grad(loss)(values), expected, rtol=0, atol=EXACT)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        low = sparse_conv2d(inputs.float(), values.float(), bias.float(), index, geometry)
    assert low.dtype == torch.bfloat16


def test_half_precision_and_descriptions_work() -> None:
    geometry = GEOMETRIES["3x3"]
    inputs, values, bias, index = _case(geometry, whole=True, dtype=torch.bfloat16)
    outputs = sparse_conv2d(inputs, values, bias, index, geometry)
    expected = _dense(inputs, values, bias, index, geometry)
    assert torch.equal(outputs, expected)


def test_a_value_that_is_not_finite_spreads_along_live_weights_only() -> None:
    geometry = GEOMETRIES["1x1"]
    index = LiveIndex.from_pattern(SparsePattern.from_pairs([(0, 0), (1, 1)], (2, 2)))
    inputs = torch.ones(2, 2, 5, 5)
    inputs[0, 0, 2, 3] = torch.nan
    outputs = sparse_conv2d(inputs, torch.ones(2), None, index, geometry)
    assert outputs.isnan().nonzero().tolist() == [[0, 0, 2, 3]]


def test_what_does_not_fit_is_refused_in_words() -> None:
    geometry = GEOMETRIES["3x3 without padding"]
    inputs, values, bias, index = _case(geometry, whole=True)
    with pytest.raises(ValueError, match=r"shape \(N, 3, H, W\); got \(3, 2, 9, 13\)"):
        sparse_conv2d(inputs[:, :2], values, bias, index, geometry)
    with pytest.raises(ValueError, match="spans 3 does not fit into an image of 2"):
        sparse_conv2d(inputs[..., :2, :], values, bias, index, geometry)


def test_an_axis_deals_coordinates_onto_planes() -> None:
    found = axis(5, 3, 2, 1, (1, 1))
    # Padded: -1 0 1 2 3 4 5; plane 0 holds -1 1 3 5, plane 1 holds 0 2 4.
    assert found == Axis(
        outputs=3, pitch=3, planes=((1, 1, 2), (0, 0, 3)), taps=((0, 0), (1, 0), (0, 1))
    )


def test_a_grid_wastes_little_and_stays_small() -> None:
    found = grid(GEOMETRIES["3x3"], (16, 16), (8, 8), 64)
    assert isinstance(found, Grid)
    assert found.outputs == (8, 8)
    assert found.images * 81 <= 2048
    assert found.length - found.margin < 1.15 * found.images * 81


def test_kernels_write_where_weights_read_and_what_they_give() -> None:
    """One 2 x 1 kernel whose lower weight, 3, lives; an image of one column, 5 over 7."""
    about = grid(Geometry((2, 1)), (1, 1), (2, 1), 1)
    index = LiveIndex.from_pattern(SparsePattern.from_pairs([(0, 1)], (1, 2)))
    starts, places, origins = (torch.zeros(2, dtype=torch.int32) for _ in range(3))
    table = _at(index.offsets, index.columns, about.form)
    list_forward(*[*table, 1, *_at(starts, places)])
    assert (starts.tolist(), int(places[0])) == ([0, 1], 1)
    image, weight, one = (torch.tensor(n).double() for n in ([5.0, 7.0], [3.0], [1.0]))
    result, scratch = torch.zeros(1).double(), torch.zeros(3, about.length).double()
    named = (starts, places, about.form, scratch)
    convolve(np.float64(0), *[*_at(image, weight), 0, *_at(result, *named), 0, 1])
    assert result.tolist() == [21.0]
    table = _at(index.column_offsets, index.rows, index.order, about.form)
    list_backward(*[*table, 1, *_at(starts, places, origins)])
    assert int(places[0]) == about.margin - 1
    slopes = torch.zeros(2).double(), torch.zeros(1).double()
    scratch.zero_()
    differentiate(np.float64(0), *[*_at(image, one, weight, *slopes, *named), 0, 1])
    assert [slope.tolist() for slope in slopes] == [[0.0, 3.0], [7.0]]


@pytest.mark.parametrize("whole", [True, False])
def test_a_view_that_negates_is_read_as_what_it_shows(whole: bool) -> None:
    inputs, values, bias, index = _case(GEOMETRIES["3x3"], whole=whole)
    geometry = GEOMETRIES["3x3"]
    values.requires_grad_()
    found = sparse_conv2d(inputs, values, bias, index, geometry)
    slopes = torch.autograd.grad(found, values, torch.ones_like(found), retain_graph=True)
    negated = sparse_conv2d(torch._neg_view(-inputs), values, bias, index, geometry)
    assert torch.equal(negated, found)
    slope = torch._neg_view(-torch.ones_like(found))
    assert torch.equal(torch.autograd.grad(negated, values, slope)[0], slopes[0])


@pytest.mark.parametrize("edit", ["grown", "shrunk", "float"])
def test_weights_exchanged_before_the_way_back_are_refused(edit: str) -> None:
    inputs, values, bias, index = _case(GEOMETRIES["3x3"], whole=True)
    values.requires_grad_()
    outputs = sparse_conv2d(inputs, values, bias, index, GEOMETRIES["3x3"])
    held = values.detach()
    data = {"grown": torch.cat((held, held)), "shrunk": held[1:], "float": held.float()}
    values.data = data[edit]
    with pytest.raises(RuntimeError, match="after backward"):
        outputs.sum().backward()


def _at(*tensors: Tensor) -> Any:
    """Their addresses."""
    return tuple(tensor.data_ptr() for tensor in tensors)
