from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from neural_architecture_lab.runners import Limits, Result, SerialRunner
from neural_architecture_lab.runners.dask import DaskRunner
from neural_architecture_lab.runners.remote import carry_out, never_answered, unpacked
from neural_architecture_lab.runners.working import Packing
from tests.neural_architecture_lab.runners.killing import run_with_a_killed_worker
from tests.neural_architecture_lab.runners.misbehaving import job, training_job

pytestmark = [
    pytest.mark.extras,
    pytest.mark.timeout(600),
    # Dask's own, when workers are killed and clusters closed.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:distributed"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(scope="module")
def runner() -> Iterator[DaskRunner]:
    pytest.importorskip("distributed")
    with DaskRunner(2, Limits(seconds=250, memory=300)) as made:
        yield made


def outcomes(results: Iterator[Result]) -> dict[int, object]:
    return {result.trial.seed: result.outcome for result in results}


def test_numbers_are_those_of_any_runner(runner: DaskRunner) -> None:
    jobs = [training_job(seed, double) for seed in range(3) for double in (False, True)]
    for double in (jobs[::2], jobs[1::2]):
        assert outcomes(runner.run(double)) == outcomes(SerialRunner().run(double))


def test_whatever_a_trial_does_becomes_one_record(runner: DaskRunner) -> None:
    kinds = ("raises", "fills", "exits", "segfaults", "")
    results = list(runner.run(job(seed, kind) for seed, kind in enumerate(kinds)))
    found = {kinds[result.trial.seed]: result.status for result in results}
    assert len(results) == len(kinds)
    assert found == {
        "raises": "failed",
        "fills": "out_of_memory",
        "exits": "lost",
        "segfaults": "lost",
        "": "finished",
    }


def test_a_killed_worker_loses_nothing(runner: DaskRunner, tmp_path: Path) -> None:
    results, begun = run_with_a_killed_worker(runner, tmp_path, trials=6)
    assert sorted(result.trial.seed for result in results) == list(range(6))
    assert {result.status for result in results} == {"finished"}
    # What the worker was at, and nothing else, was begun again.
    assert sum(begun.values()) <= 7


def test_a_cluster_that_was_given_is_left_running(runner: DaskRunner) -> None:
    address = runner._connected().scheduler.address
    with DaskRunner(cluster=address) as other:
        assert [result.status for result in other.run([job(0)])] == ["finished"]
    assert [result.status for result in runner.run([job(1)])] == ["finished"]


def test_a_trial_is_carried_out_wherever_its_packet_comes() -> None:
    result = unpacked(carry_out(Packing()(job(3)), Limits()))
    assert result.outcome is not None
    assert result.outcome.metrics["seed"] == 3.0
    lost = never_answered(job(1), RuntimeError("all workers died"))
    assert (lost.status, lost.trial.seed) == ("lost", 1)
    assert "RuntimeError: all workers died" in lost.error
