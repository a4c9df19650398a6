"""Which product is taken away from the CPU follows what was measured there, once."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest
import torch
import torch.utils.checkpoint
from torch import Tensor

from structure_net.core import device_ways
from structure_net.core.device_ways import (
    Way,
    device_product,
    device_way,
    product_seconds,
    set_device_way,
)
from structure_net.core.drawing import random_pattern
from structure_net.core.live_index import LiveIndex

Seconds = dict[Way, float]


def index_of(count: int, shape: tuple[int, int] = (300, 400)) -> LiveIndex:
    draw = torch.Generator().manual_seed(0)
    return LiveIndex.from_pattern(random_pattern(shape, count, draw))


INPUTS = torch.ones(8, 400)


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Way]]:
    """An empty cache, a clock by which rows are faster, and the list of what was timed."""
    found: list[Way] = []

    def seconds(way: Way, inputs: Tensor, index: LiveIndex, kind: torch.dtype) -> float:
        found.append(way)
        return 1.0 if way == "rows" else 2.0

    monkeypatch.setenv("STRUCTURE_NET_CACHE", str(tmp_path))
    monkeypatch.setattr(device_ways, "_known", {})
    monkeypatch.setattr(device_ways, "_seconds", seconds)
    yield found
    set_device_way(None)


def forget(monkeypatch: pytest.MonkeyPatch) -> None:
    """As another process on the same machine."""
    monkeypatch.setattr(device_ways, "_known", {})


def test_the_faster_way_is_measured_once_and_kept_for_later_processes(
    asked: list[Way], monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(3):
        assert device_way(INPUTS, index_of(1000), torch.float32) == "rows"
    assert asked == ["dense", "rows"]
    forget(monkeypatch)
    assert device_way(INPUTS, index_of(1000), torch.float32) == "rows"
    assert len(asked) == 2


def test_other_sizes_types_and_batches_are_measured_for_themselves(asked: list[Way]) -> None:
    device_way(INPUTS, index_of(1000), torch.float32)
    device_way(INPUTS, index_of(1020), torch.float32)  # as many, up to a power of two
    assert len(asked) == 2
    device_way(INPUTS, index_of(3000), torch.float32)
    device_way(INPUTS, index_of(1000), torch.float64)
    device_way(INPUTS.repeat(9, 1), index_of(1000), torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        device_way(INPUTS, index_of(1000), torch.float32)
    assert len(asked) == 10


@pytest.mark.parametrize(
    ("count", "shape"), [(50, (20, 400)), (40_000, (300, 400))], ids=["small", "full"]
)
def test_what_rows_cannot_win_is_dense_without_a_measurement(
    asked: list[Way], count: int, shape: tuple[int, int]
) -> None:
    assert device_way(INPUTS, index_of(count, shape), torch.float32) == "dense"
    assert not asked


def test_deterministic_algorithms_and_transforms_take_the_dense_way(asked: list[Way]) -> None:
    index = index_of(1000)
    torch.use_deterministic_algorithms(True)
    try:
        assert device_way(INPUTS, index, torch.float32) == "dense"
    finally:
        torch.use_deterministic_algorithms(False)
    ways = torch.func.vmap(lambda one: one * (device_way(one, index, torch.float32) == "dense"))
    assert bool(ways(INPUTS).all())
    assert not asked


def test_a_way_that_lacks_memory_or_a_kernel_is_not_taken_and_not_kept(
    asked: list[Way], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.undo()
    monkeypatch.setenv("STRUCTURE_NET_CACHE", str(tmp_path))
    forget(monkeypatch)

    def fails(*_: object) -> Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setitem(device_ways._PRODUCTS, "dense", fails)
    monkeypatch.setattr(torch, "get_device_module", lambda device: _Waits)
    assert device_way(INPUTS, index_of(1000), torch.float32) == "rows"
    monkeypatch.setitem(device_ways._PRODUCTS, "rows", fails)
    forget(monkeypatch)
    assert device_way(INPUTS, index_of(1000), torch.float32) == "dense"
    assert not list(tmp_path.rglob("*.json"))


class _Waits:
    """Nothing to wait for."""

    calls = 0

    @classmethod
    def synchronize(cls, device: torch.device) -> None:
        cls.calls += 1


def test_a_measurement_waits_for_the_device_and_leaves_gradients_and_randomness_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch, "get_device_module", lambda device: _Waits)
    index, inputs, state = index_of(1000), INPUTS.clone().requires_grad_(), torch.get_rng_state()
    before = _Waits.calls
    with torch.no_grad():
        lasted = product_seconds(inputs, index, torch.float32)
    assert all(map(math.isfinite, lasted.values()))
    assert _Waits.calls - before == 2 * 2 * device_ways._TURNS
    assert inputs.grad is None
    assert torch.equal(torch.get_rng_state(), state)


def test_a_checkpoint_measures_nothing_and_finds_the_same_way_when_it_computes_anew(
    asked: list[Way],
) -> None:
    index, found = index_of(1000), []

    def product(values: Tensor) -> Tensor:
        found.append(device_way(INPUTS, index, torch.float32))
        return values.exp()

    values = torch.ones(1000, requires_grad=True)
    outputs: Tensor = torch.utils.checkpoint.checkpoint(product, values, use_reentrant=False)
    outputs.sum().backward()
    assert found == ["dense", "dense"]
    assert not asked


@pytest.mark.parametrize("text", ["", "[1]", '{"300x400": "sideways"}'])
def test_a_damaged_cache_is_measured_anew(
    asked: list[Way], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str
) -> None:
    device_way(INPUTS, index_of(1000), torch.float32)
    (kept,) = tmp_path.rglob("*.json")
    kept.write_text(text, encoding="utf-8")
    forget(monkeypatch)
    assert device_way(INPUTS, index_of(1000), torch.float32) == "rows"
    assert len(asked) == 4
    assert list(json.loads(kept.read_text(encoding="utf-8")).values()) == ["rows"]


def test_the_way_can_be_set(asked: list[Way]) -> None:
    index, values = index_of(1000), torch.ones(1000)
    ways: tuple[Literal["dense", "rows"], ...] = ("dense", "rows")
    for way in ways:
        set_device_way(way)
        assert device_way(INPUTS, index, torch.float32) == way
        found = device_product(INPUTS, values, None, index, kind=torch.float32)
        assert torch.equal(found, index.pattern.fan_in().float().expand(8, 300))  # sums of ones
    assert not asked
    with pytest.raises(ValueError, match="sideways"):
        set_device_way("sideways")  # type: ignore[arg-type]
