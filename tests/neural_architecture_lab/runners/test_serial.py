from __future__ import annotations

import pytest

from neural_architecture_lab.runners import Job, Limits, Result, Runner, SerialRunner
from neural_architecture_lab.runners.protocol import headline, told_of, words_of
from neural_architecture_lab.trials import Trial
from structure_net.errors import DatasetError


def experiment(trial: Trial, *, device: str) -> dict[str, float] | str:
    kind = trial.settings.get("kind")
    if kind == "raises":
        raise ZeroDivisionError("no such thing")
    if kind == "fills memory":
        raise MemoryError
    if kind == "interrupted":
        raise KeyboardInterrupt
    return "nothing" if kind == "returns text" else {"seed": trial.seed}


def job(seed: int, kind: str = "") -> Job:
    return Job(Trial("h", "a", seed, {"kind": kind}), experiment)


def test_results_come_in_the_order_of_the_jobs() -> None:
    with SerialRunner() as runner:
        assert isinstance(runner, Runner)
        results = list(runner.run(job(seed) for seed in range(4)))
    assert [result.trial.seed for result in results] == [0, 1, 2, 3]
    assert all(isinstance(result, Result) and result.status == "finished" for result in results)
    assert [result.outcome.metrics for result in results if result.outcome] == [
        {"seed": float(seed)} for seed in range(4)
    ]


@pytest.mark.parametrize(
    ("kind", "status", "words"),
    [
        ("raises", "failed", "ZeroDivisionError: no such thing"),
        ("fills memory", "out_of_memory", "MemoryError"),
        ("returns text", "failed", "must return its metrics"),
    ],
)
def test_a_trial_that_fails_says_why_and_the_others_go_on(
    kind: str, status: str, words: str
) -> None:
    failed, fine = SerialRunner().run([job(0, kind), job(1)])
    assert (failed.status, failed.outcome) == (status, None)
    assert words in failed.error
    assert fine.status == "finished"


def test_jobs_are_taken_one_at_a_time() -> None:
    taken = []

    def jobs() -> object:
        for seed in range(10):
            taken.append(seed)
            yield job(seed)

    results = SerialRunner().run(jobs())  # type: ignore[arg-type]
    next(results)
    assert taken == [0]


def test_an_interrupt_is_no_result() -> None:
    with pytest.raises(KeyboardInterrupt):
        list(SerialRunner().run([job(0, "interrupted")]))


def test_a_trial_may_take_what_it_likes_unless_told() -> None:
    assert Limits() == Limits(seconds=None, memory=None, retries=1)


class MuteError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words either")


def of_own_kind(trial: Trial, *, device: str) -> dict[str, float]:
    if trial.seed == 1:
        raise MuteError
    raise DatasetError("There is no data set 'mars'.\nLook at the moon.")


def test_an_error_begins_with_what_was_raised_and_goes_on_with_where() -> None:
    trials = [Trial("h", "a", seed, {}) for seed in range(2)]
    one, mute = SerialRunner().run(Job(trial, of_own_kind) for trial in trials)
    assert headline(one.error) == "DatasetError: There is no data set 'mars'."
    assert "Traceback (most recent call last)" in one.error
    assert "of_own_kind" in one.error
    assert (mute.status, headline(mute.error)) == ("failed", "MuteError")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        ("", ""),
        ("Its process ended by SIGKILL.", "Its process ended by SIGKILL."),
        ("Traceback (most recent call last):\n  x\nsome.module.OwnError: no", "OwnError: no"),
        ("Traceback (most recent call last):\n  x\nKeyboardInterrupt", "KeyboardInterrupt"),
    ],
)
def test_the_headline_of_an_error_is_in_the_users_words(error: str, said: str) -> None:
    assert headline(error) == said
    assert headline(told_of(ValueError("a.b.c: d"))) == "ValueError: a.b.c: d"
    assert words_of(ValueError("x")) == "x"
