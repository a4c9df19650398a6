"""A pass does its operations in order, once each, whoever helps."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import torch
from torch import Tensor

from structure_net.core import pass_kernels, sparse_passes, teams
from structure_net.core.compiling import Template, compiled
from structure_net.core.live_index import LiveIndex
from structure_net.core.pass_kernels import work
from structure_net.core.products import plain_now
from structure_net.core.shared_counts import count_up, counted, pause
from structure_net.core.sparse_compute import lies_features_first, strides_of
from structure_net.core.sparse_passes import ZEROS, Pass, slot
from structure_net.core.sparsity import SparsePattern

MASK = torch.rand(60, 90, generator=torch.Generator().manual_seed(0)) < 0.2
INDEX = LiveIndex.from_pattern(SparsePattern.from_mask(MASK))
BATCH = 37


def random(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def there_and_back() -> tuple[Pass, dict[str, Tensor]]:
    """A product, a ReLU, and the way back through both, from inputs that lie sample by sample."""
    names = {"turned": (90, BATCH), "y": (60, BATCH), "dx": (90, BATCH), "db": (60,)}
    made = {name: torch.full(shape, torch.nan).double() for name, shape in names.items()}
    made |= {"x": random(BATCH, 90), "b": random(60, seed=2), "v": random(len(INDEX), seed=3)}
    made |= {"dv": torch.full_like(made["v"], torch.nan), "again": torch.empty_like(made["v"])}
    x, b, v, turned, y, dx, db, dv, again = (
        made[name].data_ptr() for name in ("x", "b", "v", "turned", "y", "dx", "db", "dv", "again")
    )
    way = Pass(BATCH)
    first = way.transpose((x, turned), 90, BATCH)
    second = way.multiply((turned, v, b, y), INDEX, rectified=True, after=first)
    way.add_up((y, db), 60, after=second)
    way.differentiate((y, turned, v, dx, dv), INDEX, rectified=True, after=second)
    way.sample((y, turned, again), INDEX, after=second)
    return way, made


def check(made: dict[str, Tensor]) -> None:
    dense = torch.zeros(60, 90).double()
    dense[MASK] = made["v"]
    near = {"atol": 1e-10, "rtol": 1e-10}
    y = (dense @ made["x"].T + made["b"][:, None]).relu()
    torch.testing.assert_close(made["turned"], made["x"].T, atol=0, rtol=0)
    torch.testing.assert_close(made["y"], y, **near)
    torch.testing.assert_close(made["db"], y.sum(1), **near)
    torch.testing.assert_close(made["dx"], (dense.T @ y) * (made["turned"] > 0), **near)
    torch.testing.assert_close(made["dv"], (y @ made["x"])[MASK], **near)
    torch.testing.assert_close(made["again"], made["dv"], **near)


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("whose", ["ours", "torch's"])
def test_operations_follow_each_other(
    threads: int, whose: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sparse_passes, "SHARED_WORK", 0)
    monkeypatch.setattr(sparse_passes, "THREADED_WORK", 0)
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    monkeypatch.setattr(teams, "_AGAIN", 1)
    if whose == "ours":
        monkeypatch.setattr(sparse_passes, "in_team", lambda *_: False)
    for _ in range(20):
        way, made = there_and_back()
        way.run(torch.float64)
        check(made)


def test_a_thread_that_comes_late_writes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []
    monkeypatch.setattr(sparse_passes, "SHARED_WORK", 0)
    monkeypatch.setattr(sparse_passes, "THREADED_WORK", 0)
    monkeypatch.setattr(sparse_passes, "in_team", lambda *_: False)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    monkeypatch.setattr(sparse_passes, "invite", asked.extend)
    way, made = there_and_back()
    way.run(torch.float64)
    check(made)
    assert len(asked) == 2
    for tensor in made.values():
        tensor.fill_(7)
    assert all(task() for task in asked)
    assert all(bool((tensor == 7).all()) for tensor in made.values())


def test_a_team_that_is_smaller_than_was_asked_leaves_nothing_undone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sparse_passes, "SHARED_WORK", 0)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    monkeypatch.setattr(sparse_passes, "in_team", lambda *_: True)
    way, made = there_and_back()
    way.run(torch.float64)
    check(made)


def test_whoever_waits_for_a_thread_at_work_is_told_so() -> None:
    table = np.zeros((1, pass_kernels.COLUMNS), np.int64)
    table[0, 10], table[0, 13] = 1, -1  # one block
    counts = np.zeros((1, 2, pass_kernels.LINE), np.int64)
    counts[0, 1, 0] = 1  # which somebody has claimed
    call = np.zeros(pass_kernels.CALL, np.int64)
    call[:4] = table.ctypes.data, counts.ctypes.data, 1, 1
    assert not work(ZEROS[torch.float64], call.ctypes.data, 0)
    counts[0, 0, 0] = 1  # and done
    assert work(ZEROS[torch.float64], call.ctypes.data, 0)


@pytest.mark.parametrize("threads", [1, 3])
def test_a_plan_serves_for_other_tensors(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sparse_passes, "SHARED_WORK", 0)
    monkeypatch.setattr(sparse_passes, "THREADED_WORK", 0)
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    way, step = Pass(BATCH), 8 * BATCH
    # The inputs lie behind ten others; the second product has no bias.
    first = (slot(0) + 10 * step, slot(1), slot(2), slot(3))
    way.multiply((*first[:2], slot(4), slot(5)), INDEX)
    way.multiply(first, INDEX, after=way.multiply(first, INDEX))
    plan = way.planned()
    dense = torch.zeros(60, 90).double()
    for seed in range(3):
        x, v, b = random(100, BATCH, seed=seed), random(len(INDEX), seed=seed), random(60)
        y, z = random(60, BATCH), random(60, BATCH)
        plan.run([*(one.data_ptr() for one in (x, v, b, y)), 0, z.data_ptr()], torch.float64)
        dense[MASK] = v
        torch.testing.assert_close(z, dense @ x[10:], rtol=1e-10, atol=1e-10)
        torch.testing.assert_close(y, z + b[:, None], rtol=1e-10, atol=1e-10)


def test_a_pass_of_nothing_is_nothing() -> None:
    Pass(3).run(torch.float32)


def test_what_a_pass_needs_lives_as_long_as_the_pass() -> None:
    way, made = there_and_back()
    for tensor in made.values():
        way.keep(tensor)
    way.run(torch.float64)
    check(made)


@Template
def _twice(address: int) -> int:
    pause()
    return count_up(address, 2)


@compiled("int64(int64[::1], int64)")
def _count(counts: np.ndarray, times: int) -> int:
    for _ in range(times):
        _twice(counts.ctypes.data)
    return counted(counts.ctypes.data)


def test_counts_of_several_threads_add_up() -> None:
    counts = np.zeros(1, np.int64)
    threads = [threading.Thread(target=_count, args=(counts, 20_000)) for _ in range(3)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert _count(counts, 0) == 120_000


def test_memory_features_first_is_recognised() -> None:
    assert strides_of((3, 4)) == (1, 3)
    assert strides_of((2, 3, 4)) == (3, 1, 6)
    assert lies_features_first(torch.zeros(4, 3).t())
    assert not lies_features_first(torch.zeros(3, 4))
    assert lies_features_first(torch.zeros(1, 4))


def test_transforms_and_modes_are_noticed() -> None:
    assert plain_now()
    seen = []
    torch.func.vmap(lambda x: seen.append(plain_now()) or x)(torch.zeros(2))
    with torch.device("meta"):  # a mode
        seen.append(plain_now())
    assert seen == [False, False]
