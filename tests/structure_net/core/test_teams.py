"""PyTorch's threads run a kernel, each once, where there are any."""

from __future__ import annotations

import os

import numpy as np
import pytest
import torch

from structure_net.core import teams
from structure_net.core.compiling import compiled
from structure_net.core.shared_counts import count_up
from structure_net.core.teams import in_team

OPENMP = pytest.mark.skipif(
    not torch.backends.openmp.is_available() or os.name != "posix", reason="No threads of OpenMP."
)


@compiled("void(int64)", for_c=True)
def enter(count: int) -> None:
    """Counts who comes."""
    count_up(count, 1)


@OPENMP
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_a_team_calls_a_kernel_once_a_thread(threads: int) -> None:
    for _ in range(20):
        count = np.zeros(1, np.int64)
        if not in_team(enter, count.ctypes.data, threads):
            pytest.skip("PyTorch's OpenMP has no entry of that name.")
        assert count[0] == threads


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
