"""PyTorch's threads run a kernel, each once, where there are any."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch

from structure_net.core import teams
from structure_net.core.compiling import compiled
from structure_net.core.shared_counts import count_up
from structure_net.core.teams import in_team

OPENMP = pytest.mark.skipif(
    not torch.backends.openmp.is_available() or sys.platform != "linux",
    reason="No threads of OpenMP.",
)


@compiled("void(int64)", for_c=True)
def enter(count: int) -> None:
    """Counts who comes."""
    count_up(count, 1)


@pytest.fixture
def team(monkeypatch: pytest.MonkeyPatch) -> teams._Team:
    """A team that nobody has called."""
    made = teams._Team()
    monkeypatch.setattr(teams, "_TEAM", made)
    return made


@OPENMP
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_a_team_calls_a_kernel_once_a_thread(
    threads: int, team: teams._Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(teams, "_AGAIN", 1)
    for _ in range(20):
        count = np.zeros(1, np.int64)
        if not in_team(enter, count.ctypes.data, threads):
            pytest.skip("PyTorch's OpenMP has no entry of that name.")
        assert count[0] == threads


@OPENMP
def test_threads_that_sleep_are_called_now_and_then(
    team: teams._Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(teams, "_WARM", float("-inf"))
    count = np.zeros(1, np.int64)
    called = [in_team(enter, count.ctypes.data, 1) for _ in range(9)]
    if not any(called):
        pytest.skip("PyTorch's OpenMP has no entry of that name.")
    assert [place for place, one in enumerate(called, start=1) if one] == [4, 8]
    assert count[0] == 2


@OPENMP
def test_threads_that_have_just_worked_are_called(
    team: teams._Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(teams, "_WARM", 1e9)
    count = np.zeros(1, np.int64)
    called = [in_team(enter, count.ctypes.data, 1) for _ in range(6)]
    if not any(called):
        pytest.skip("PyTorch's OpenMP has no entry of that name.")
    assert called == [False] * 3 + [True] * 3


def test_there_is_no_team_in_a_process_that_was_forked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(teams, "_PROCESS", -1)
    count = np.zeros(1, np.int64)
    assert not in_team(enter, count.ctypes.data, 2)
    assert count[0] == 0


def test_there_is_no_team_without_openmp(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.openmp, "is_available", lambda: False)
    teams._entry.cache_clear()
    try:
        assert not in_team(enter, 0, 2)
    finally:
        teams._entry.cache_clear()


@OPENMP
def test_threads_that_sleep_are_woken_where_that_is_worth_it(
    team: teams._Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(teams, "_WARM", float("-inf"))
    count = np.zeros(1, np.int64)
    called = [in_team(enter, count.ctypes.data, 1, wake=True) for _ in range(3)]
    if not any(called):
        pytest.skip("PyTorch's OpenMP has no entry of that name.")
    assert all(called)
    assert count[0] == 3
