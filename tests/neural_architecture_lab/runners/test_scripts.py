from __future__ import annotations

import os
import random
import signal
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.neural_architecture_lab.runners.scripts import (
    TRIALS,
    begin,
    begun,
    finished,
    is_gone,
    kill_one_worker,
    wait_until_begun,
)

pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="it forks"),
    pytest.mark.timeout(900),  # each test starts labs, which import torch
]


@pytest.mark.parametrize(
    "runner", ["serial", "processes", pytest.param("dask", marks=pytest.mark.extras)]
)
def test_a_script_needs_no_guard_and_no_worker_imports_it(tmp_path: Path, runner: str) -> None:
    said, wrong = begin(tmp_path, runner).communicate(timeout=400)
    assert said.startswith("h: SUPPORTED after 6 of 6 seeds"), wrong
    assert (tmp_path / "imported").read_text("utf-8") == "once\n"
    assert set(finished(tmp_path).values()) == {1}
    assert len(begun(tmp_path)) == TRIALS


def test_an_interrupt_ends_the_workers_and_keeps_what_ended(tmp_path: Path) -> None:
    lab = begin(tmp_path, "processes", 1.0)
    wait_until_begun(tmp_path, lab, 5)
    os.killpg(lab.pid, signal.SIGINT)  # as a terminal does, to the whole group
    _, wrong = lab.communicate(timeout=400)
    assert "KeyboardInterrupt" in wrong
    assert all(is_gone(process) for _, process in begun(tmp_path))
    before = finished(tmp_path)
    assert before
    said, wrong = begin(tmp_path, "serial").communicate(timeout=400)
    assert "SUPPORTED" in said, wrong
    assert before.keys() <= finished(tmp_path).keys()
    assert list(finished(tmp_path).values()) == [1] * TRIALS


@pytest.mark.parametrize("seed", range(2))
def test_a_killed_lab_loses_no_finished_trial_and_repeats_none(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    lab = begin(tmp_path, "processes", 0.3)
    wait_until_begun(tmp_path, lab, chance.randint(3, 9))
    time.sleep(chance.random() * 0.3)
    lab.kill()
    lab.communicate(timeout=400)
    assert all(is_gone(process) for _, process in begun(tmp_path))
    before, already = finished(tmp_path), Counter(name for name, _ in begun(tmp_path))
    said, wrong = begin(tmp_path, "serial").communicate(timeout=400)
    assert "SUPPORTED" in said, wrong
    assert list(finished(tmp_path).values()) == [1] * TRIALS
    again = Counter(name for name, _ in begun(tmp_path)) - already
    assert not before.keys() & again.keys()


def test_a_killed_worker_of_a_lab_costs_its_own_trial_only(tmp_path: Path) -> None:
    lab = begin(tmp_path, "processes", 0.5)
    wait_until_begun(tmp_path, lab, 4)
    kill_one_worker(tmp_path)
    said, wrong = lab.communicate(timeout=400)
    assert "SUPPORTED" in said, wrong
    assert list(finished(tmp_path).values()) == [1] * TRIALS
    assert len(begun(tmp_path)) <= TRIALS + 1
