from __future__ import annotations

import builtins
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from neural_architecture_lab.runners import Limits, SerialRunner
from neural_architecture_lab.runners.ray import RayRunner
from tests.neural_architecture_lab.runners.killing import run_with_a_killed_worker
from tests.neural_architecture_lab.runners.misbehaving import job, training_job

pytestmark = [
    pytest.mark.extras,
    pytest.mark.timeout(900),
    # Ray's own: files that it leaves open, settings that will change.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(scope="module")
def ray() -> Any:
    return pytest.importorskip("ray")


@pytest.fixture(scope="module")
def runner(ray: Any) -> Iterator[RayRunner]:
    printing = builtins.print
    with RayRunner(2, Limits(seconds=250, memory=300)) as made:
        yield made
    assert not ray.is_initialized()
    assert builtins.print is printing


def test_numbers_are_those_of_any_runner(runner: RayRunner) -> None:
    jobs = [training_job(seed) for seed in range(3)]
    found = {result.trial.seed: result.outcome for result in runner.run(jobs)}
    assert found == {result.trial.seed: result.outcome for result in SerialRunner().run(jobs)}


def test_whatever_a_trial_does_becomes_one_record(runner: RayRunner) -> None:
    kinds = ("raises", "fills", "exits", "segfaults", "")
    results = list(runner.run(job(seed, kind) for seed, kind in enumerate(kinds)))
    assert len(results) == len(kinds)
    assert [result.status for result in sorted(results, key=lambda one: one.trial.seed)] == [
        "failed",
        "out_of_memory",
        "lost",
        "lost",
        "finished",
    ]


def test_a_killed_worker_loses_nothing(runner: RayRunner, tmp_path: Path) -> None:
    results, begun = run_with_a_killed_worker(runner, tmp_path, trials=5)
    assert sorted(result.trial.seed for result in results) == list(range(5))
    assert {result.status for result in results} == {"finished"}
    # What the worker was at, and nothing else, was begun again.
    assert sum(begun.values()) <= 6
