"""The sums of the kernels do not depend on who takes them."""

from __future__ import annotations

import multiprocessing
from typing import Any

import pytest
import torch
from torch import Tensor

from structure_net.core import sparse_passes, teams
from structure_net.core.products import LiveIndex, sparse_linear
from structure_net.core.sparse_compute import (
    ZEROS,
    all_gradients,
    batch_size,
    bias_gradient,
    differentiated,
    features_first,
    input_gradient,
    like_features_first,
    multiplied,
    value_gradient,
)
from structure_net.core.sparse_kernels import add_up, differentiate, multiply, sample, transpose
from structure_net.core.sparsity import SparsePattern

SHAPE = (60, 90)
MASK = torch.rand(SHAPE, generator=torch.Generator().manual_seed(0)) < 0.2
INDEX = LiveIndex.from_pattern(SparsePattern.from_mask(MASK))
KINDS = [torch.float32, torch.float64]


def random(*shape: int, dtype: torch.dtype = torch.float32, seed: int = 1) -> Tensor:
    return torch.randn(shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def computed(batch: int, dtype: torch.dtype) -> list[Tensor]:
    """Everything that the kernels give."""
    inputs = features_first(random(batch, 90, dtype=dtype))
    gradient = features_first(random(batch, 60, dtype=dtype, seed=2))
    values, bias = random(len(INDEX), dtype=dtype, seed=3), random(60, dtype=dtype, seed=4)
    return [
        multiplied(inputs, values, bias, INDEX),
        *differentiated(gradient, inputs, values, INDEX),
        input_gradient(gradient, values, INDEX),
        value_gradient(gradient, inputs, INDEX),
        bias_gradient(gradient, bias),
    ]


@pytest.mark.parametrize("dtype", KINDS)
@pytest.mark.parametrize("threads", [2, 3])
def test_results_are_the_same_bits_on_any_number_of_threads(
    threads: int, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sparse_passes, "SHARED_WORK", 0)
    monkeypatch.setattr(teams, "_AGAIN", 1)
    monkeypatch.setattr(sparse_passes, "THREADED_WORK", 0)
    alone = computed(37, dtype)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        together = computed(37, dtype)
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(one, other) for one, other in zip(alone, together, strict=True))


@pytest.mark.parametrize("dtype", KINDS)
def test_a_pass_for_one_gradient_gives_what_the_pass_for_both_gives(dtype: torch.dtype) -> None:
    _, of_inputs, of_values, inputs_alone, values_alone, _ = computed(37, dtype)
    torch.testing.assert_close(inputs_alone, of_inputs)
    torch.testing.assert_close(values_alone, of_values)


@pytest.mark.parametrize("dtype", KINDS)
def test_a_pass_for_all_gradients_gives_the_bits_of_several(dtype: torch.dtype) -> None:
    inputs = features_first(random(37, 90, dtype=dtype))
    gradient = features_first(random(37, 60, dtype=dtype, seed=2))
    values, bias = random(len(INDEX), dtype=dtype, seed=3), random(60, dtype=dtype, seed=4)
    found = all_gradients(gradient, inputs, (values, bias), INDEX)
    wanted = (*differentiated(gradient, inputs, values, INDEX), bias_gradient(gradient, bias))
    assert all(torch.equal(one, other) for one, other in zip(found, wanted, strict=True))


@pytest.mark.parametrize("dtype", KINDS)
def test_the_output_of_a_sample_does_not_depend_on_its_batch(dtype: torch.dtype) -> None:
    values, inputs = random(len(INDEX), dtype=dtype), random(143, 90, dtype=dtype)
    whole = sparse_linear(inputs, values, None, INDEX)
    for part in (slice(0, 1), slice(3, 40), slice(100, 143)):
        assert torch.equal(sparse_linear(inputs[part], values, None, INDEX), whole[part])


@pytest.mark.parametrize("dtype", KINDS)
@pytest.mark.parametrize("lines", [1, 2, 4, 8])
def test_a_kernel_gives_the_same_for_any_width_of_tiles(lines: int, dtype: torch.dtype) -> None:
    batch = 300
    x, dy = random(90, batch, dtype=dtype), random(60, batch, dtype=dtype, seed=2)
    values, bias = random(len(INDEX), dtype=dtype, seed=3), random(60, dtype=dtype, seed=4)
    y, dx = torch.empty(60, batch, dtype=dtype), torch.empty(90, batch, dtype=dtype)
    dv, alone, db = (torch.empty(size, dtype=dtype) for size in (len(INDEX), len(INDEX), 60))
    zero = ZEROS[dtype]

    def at(*tensors: Tensor) -> tuple[int, ...]:
        return tuple(one.data_ptr() for one in tensors)

    multiply(zero, at(x, values, bias, y), INDEX.by_row, batch, (lines, 0, 60))
    differentiate(zero, at(dy, x, values, dx, dv), INDEX.by_column, batch, (lines, 0, 90))
    sample(zero, at(dy, x, alone), INDEX.by_row, batch, (lines, 0, 60))
    add_up(zero, at(dy, db), 0, batch, (lines, 0, 60))
    dense = torch.zeros(SHAPE, dtype=dtype)
    dense[MASK] = values
    # Sums of at most 300 products of order 1.
    near = {"atol": 1e-3, "rtol": 1e-3} if dtype == torch.float32 else {"atol": 1e-10, "rtol": 0}
    torch.testing.assert_close(y, dense @ x + bias[:, None], **near)
    torch.testing.assert_close(dx, dense.T @ dy, **near)
    torch.testing.assert_close(dv, (dy @ x.T)[MASK], **near)
    torch.testing.assert_close(alone, dv, **near)
    torch.testing.assert_close(db, dy.sum(1), **near)


@pytest.mark.parametrize("dtype", KINDS)
@pytest.mark.parametrize("lines", [1, 2, 4, 8])
def test_without_samples_each_gradient_is_written_as_zero(lines: int, dtype: torch.dtype) -> None:
    """What a kernel does not write keeps what lay in the memory."""
    nothing, values = torch.empty(0, dtype=dtype), random(len(INDEX), dtype=dtype)
    dv, alone, db = (
        torch.full((size,), torch.nan, dtype=dtype) for size in (*[len(INDEX)] * 2, 60)
    )
    address, zero = nothing.data_ptr(), ZEROS[dtype]
    both = (address, address, values.data_ptr(), address, dv.data_ptr())
    differentiate(zero, both, INDEX.by_column, 0, (lines, 0, 90))
    sample(zero, (address, address, alone.data_ptr()), INDEX.by_row, 0, (lines, 0, 60))
    add_up(zero, (address, db.data_ptr()), 0, 0, (lines, 0, 60))
    for one in (dv, alone, db):
        assert torch.equal(one, torch.zeros_like(one))


@pytest.mark.parametrize("dtype", KINDS)
@pytest.mark.parametrize("shape", [(1, 1), (3, 50), (16, 16), (37, 41), (64, 20), (130, 9)])
def test_a_transpose_moves_every_number(shape: tuple[int, int], dtype: torch.dtype) -> None:
    source, target = random(*shape, dtype=dtype), torch.empty(shape[::-1], dtype=dtype)
    addresses = (source.data_ptr(), target.data_ptr())
    transpose(ZEROS[dtype], addresses, shape[1], shape[0], (1, 0, shape[1]))
    assert torch.equal(target, source.T)


@pytest.mark.parametrize("shape", [(9,), (1, 9), (4, 9), (2, 3, 9), (0, 9), (4, 1), (2, 0, 9)])
def test_memory_lies_features_first(shape: tuple[int, ...]) -> None:
    tensor = random(*shape)
    moved = features_first(tensor)
    assert torch.equal(moved, tensor)
    assert moved.movedim(-1, 0).is_contiguous()
    assert features_first(moved) is moved
    made = like_features_first(tensor, 5)
    assert made.shape == (*shape[:-1], 5)
    assert made.movedim(-1, 0).is_contiguous()
    assert batch_size(tensor.shape) * shape[-1] == tensor.numel()


def test_away_from_the_processor_the_dense_product_gives_the_same() -> None:
    away = LiveIndex.from_pattern(SparsePattern.from_mask(MASK))
    # What an index holds whose tensors are not in the processor's memory.
    object.__setattr__(away, "by_row", ())
    inputs, gradient = random(5, 90, dtype=torch.float64), random(5, 60, dtype=torch.float64)
    values, bias = random(len(INDEX), dtype=torch.float64), random(60, dtype=torch.float64)
    inputs, gradient = features_first(inputs), features_first(gradient)
    for function, arguments in (
        (multiplied, (inputs, values, bias)),
        (input_gradient, (gradient, values)),
        (value_gradient, (gradient, inputs)),
    ):
        torch.testing.assert_close(function(*arguments, away), function(*arguments, INDEX))
    for one, other in zip(
        differentiated(gradient, inputs, values, away),
        differentiated(gradient, inputs, values, INDEX),
        strict=True,
    ):
        torch.testing.assert_close(one, other)


def summed_on_two_threads(results: multiprocessing.SimpleQueue[float] | None) -> float:
    """The sum of all results, computed on two threads."""
    limits = sparse_passes.SHARED_WORK, sparse_passes.THREADED_WORK
    sparse_passes.SHARED_WORK = sparse_passes.THREADED_WORK = 0  # type: ignore[misc]
    torch.set_num_threads(2)
    total = sum(float(one.sum()) for one in computed(37, torch.float64))
    torch.set_num_threads(1)
    sparse_passes.SHARED_WORK, sparse_passes.THREADED_WORK = limits  # type: ignore[misc]
    if results is not None:
        results.put(total)
    return total


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_child_process_computes_with_threads_of_its_own(method: str) -> None:
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"this system cannot {method}")
    here = summed_on_two_threads(None)
    context: Any = multiprocessing.get_context(method)
    results = context.SimpleQueue()
    child = context.Process(target=summed_on_two_threads, args=(results,))
    child.start()
    child.join(250)
    assert child.exitcode == 0
    assert results.get() == here
