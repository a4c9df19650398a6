from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from neural_architecture_lab.errors import RunnerError
from neural_architecture_lab.runners import Job, Limits, ProcessRunner, Result, SerialRunner
from neural_architecture_lab.runners.working import Packing, holding_to, measured
from tests.neural_architecture_lab.runners.misbehaving import job, training_job
from tests.neural_architecture_lab.runners.scripts import is_gone

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="it forks")
ENDLESS = ("hangs", "spins")
KINDS = ("", "raises", *ENDLESS, "fills", "asks for too much", "exits", "segfaults", "leaves", "")


@pytest.fixture(scope="module")
def ended() -> dict[int, Result]:
    """One trial of each kind, by the seed that counts them."""
    if sys.platform != "linux":
        pytest.skip("a limit of memory needs Linux")
    jobs = [job(seed, kind) for seed, kind in enumerate(KINDS)]
    # Those that meet the limit of time are by themselves, so that no other has to be quick.
    endless = [one for one in jobs if one.trial.settings["kind"] in ENDLESS]
    others = [one for one in jobs if one not in endless]
    results = list(ProcessRunner(1, Limits(seconds=1.5, memory=300)).run(endless))
    results += ProcessRunner(3, Limits(seconds=250, memory=300)).run(others)
    return {result.trial.seed: result for result in results}


@pytest.mark.parametrize(
    ("kind", "status", "words"),
    [
        ("raises", "failed", "ZeroDivisionError"),
        ("hangs", "timed_out", "longer than the 1.5 s that it may take"),
        ("spins", "timed_out", "longer than the 1.5 s that it may take"),
        ("fills", "out_of_memory", "more than the 300 MiB that it may take"),
        ("asks for too much", "out_of_memory", "more than the 300 MiB that it may take"),
        ("exits", "lost", "ended with exit code 3"),
        ("segfaults", "lost", "ended by SIGSEGV"),
        ("leaves", "failed", "SystemExit"),
    ],
)
def test_whatever_a_trial_does_becomes_one_record(
    ended: dict[int, Result], kind: str, status: str, words: str
) -> None:
    result = ended[KINDS.index(kind)]
    assert (result.status, result.outcome) == (status, None)
    assert words in result.error


def test_the_others_go_on(ended: dict[int, Result]) -> None:
    assert sorted(ended) == list(range(len(KINDS)))
    for seed in (0, len(KINDS) - 1):
        assert ended[seed].status == "finished"
        assert ended[seed].memory is not None


def test_only_a_trial_whose_process_died_is_begun_again(ended: dict[int, Result]) -> None:
    attempts = {kind: ended[seed].attempt for seed, kind in enumerate(KINDS)}
    again = {kind for kind, attempt in attempts.items() if attempt == 2}
    assert again == {"exits", "segfaults"}


def test_each_trial_has_a_process_and_a_thread_of_its_own() -> None:
    results = list(ProcessRunner(2).run(job(seed) for seed in range(4)))
    metrics = [result.outcome.metrics for result in results if result.outcome is not None]
    processes = {one["process"] for one in metrics}
    assert len(processes) == 4
    assert os.getpid() not in processes
    assert {one["threads"] for one in metrics} == {1.0}


@pytest.mark.parametrize("double", [False, True])
def test_numbers_do_not_depend_on_the_runner_or_the_number_of_workers(double: bool) -> None:
    def numbers(results: list[Result]) -> dict[int, object]:
        assert all(result.status == "finished" for result in results)
        return {result.trial.seed: result.outcome for result in results}

    jobs = [training_job(seed, double) for seed in range(4)]
    alone = numbers(list(SerialRunner().run(jobs)))  # the suite runs on one thread, too
    assert numbers(list(ProcessRunner(1).run(jobs))) == alone
    assert numbers(list(ProcessRunner(3).run(jobs))) == alone


def test_a_killed_worker_costs_one_trial_which_is_begun_again(tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    jobs = [job(seed, "sleeps", seconds=0.6, notes=str(notes)) for seed in range(6)]
    killed: list[int] = []

    def kill() -> None:
        while not notes.exists() or not notes.read_text("utf-8").endswith("\n"):
            time.sleep(0.02)
        seed, process = map(int, notes.read_text("utf-8").splitlines()[0].split()[:2])
        os.kill(process, signal.SIGKILL)
        killed.append(seed)

    thread = threading.Thread(target=kill)
    thread.start()
    results = list(ProcessRunner(2).run(jobs))
    thread.join()
    assert sorted(result.trial.seed for result in results) == list(range(6))
    assert {result.status for result in results} == {"finished"}
    begun = Counter(int(line.split()[0]) for line in notes.read_text("utf-8").splitlines())
    assert begun == {seed: 2 if seed in killed else 1 for seed in range(6)}
    assert {result.trial.seed: result.attempt for result in results} == dict(begun)


def test_whoever_stops_iterating_leaves_no_process_behind(tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    taken = []

    def jobs() -> object:
        for seed in range(100):
            taken.append(seed)
            kind = "hangs" if seed == 1 else ""
            yield job(seed, kind, notes=str(notes))

    results = ProcessRunner(2).run(jobs())  # type: ignore[arg-type]
    first = next(results)
    assert first.trial.seed == 0
    assert len(taken) <= 4
    results.close()  # type: ignore[attr-defined]
    for line in notes.read_text("utf-8").splitlines():
        assert is_gone(int(line.split()[1]))


def test_what_is_defined_within_a_function_travels_by_value() -> None:
    bonus = 3.0

    def local(trial: object, *, device: str) -> dict[str, float]:
        return {"value": bonus}

    (result,) = ProcessRunner().run([replace(job(0), experiment=local)])
    assert result.outcome is not None
    assert result.outcome.metrics == {"value": 3.0}


def test_what_cannot_travel_is_refused_in_words() -> None:
    lock = threading.Lock()

    def local(trial: object, *, device: str) -> dict[str, float]:
        with lock:
            return {}

    with pytest.raises(RunnerError, match="cannot be sent to another process"):
        Packing()(replace(job(0), experiment=local))


@pytest.mark.parametrize(
    ("make", "message"),
    [(lambda: ProcessRunner(0), "workers must be a whole number from 1 on; got 0")],
)
def test_a_runner_that_cannot_be_is_refused(make: Callable[[], object], message: str) -> None:
    with pytest.raises(RunnerError, match=message):
        make()


def test_a_limit_ends_with_its_trial() -> None:
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_DATA)
    with holding_to(None):
        assert resource.getrlimit(resource.RLIMIT_DATA) == before
    result = measured(_plain(), 4096 if sys.platform == "linux" else None)
    assert result.status == "finished"
    assert resource.getrlimit(resource.RLIMIT_DATA) == before


def _plain() -> Job:
    return job(0)
