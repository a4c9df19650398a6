from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from neural_architecture_lab.errors import StoreError
from neural_architecture_lab.hypothesis import Arm, Hypothesis, Prediction
from neural_architecture_lab.judgement import compare, judge, overall
from neural_architecture_lab.outcomes import Outcome
from neural_architecture_lab.runners import Result
from neural_architecture_lab.store import Archive, Frozen, Store, deviations
from neural_architecture_lab.trials import Design, Trial, design

ROOT = Path(__file__).resolve().parents[2]


def experiment(trial: Trial, *, device: str) -> dict[str, float]:
    return {"accuracy": 0.5}


def hypothesis(**changes: Any) -> Hypothesis:
    said: dict[str, Any] = {
        "name": "h",
        "category": "training",
        "question": "?",
        "prediction": "!",
        "experiment": experiment,
        "arms": (Arm("a", control=True), Arm("b", {"widths": [8, 8]})),
        "predictions": (Prediction("accuracy", "higher", 0.1),),
        "factors": {"rate": [1, 2]},
        "seeds": 4,
    }
    return Hypothesis(**{**said, **changes})


def ended(trial: Trial, value: float, **changes: Any) -> Result:
    outcome = Outcome({"accuracy": value}, {"loss": [1.0, value]}, [(2, "grew")], {"deep": [1]})
    return Result(trial, "finished", outcome, seconds=0.5, **changes)


def fill(store: Store, laid: Design) -> None:
    for trial in laid.trials:
        store.append(ended(trial, trial.seed + (trial.arm == "b") + trial.point / 2), "serial")


def test_what_was_stored_is_read_back(tmp_path: Path) -> None:
    made = hypothesis()
    laid = design(made)
    with Store(tmp_path) as store:
        assert store.freeze(made, laid) == ()
        fill(store, laid)
    archive = Archive(tmp_path)
    frozen = archive.hypotheses()["h"]
    assert isinstance(frozen, Frozen)
    assert (frozen.digest, frozen.question) == (laid.hash, "?")
    trials = list(archive.trials("h"))
    assert [trial.trial for trial in trials] == [trial.id for trial in laid.trials]
    first, source = trials[0], laid.trials[0]
    assert first.settings == dict(source.settings)
    assert first.curves["loss"] == (1.0, first.metrics["accuracy"])
    assert first.events == ((2.0, "grew"),)
    assert first.detail == {"deep": [1]}
    assert archive.done("h") == {trial.id for trial in laid.trials}


def test_values_are_means_over_the_points_of_a_seed(tmp_path: Path) -> None:
    made = hypothesis()
    laid = design(made)
    with Store(tmp_path) as store:
        fill(store, laid)
        values = store.values("h", ["accuracy"], points=2)["accuracy"]
    assert values["a"] == {seed: seed + 0.25 for seed in range(4)}
    assert values["b"] == {seed: seed + 1.25 for seed in range(4)}


def test_a_seed_without_one_of_its_points_has_no_value(tmp_path: Path) -> None:
    laid = design(hypothesis())
    with Store(tmp_path) as store:
        for trial in laid.trials:
            if (trial.arm, trial.seed, trial.point) == ("a", 2, 1):
                store.append(Result(trial, "failed", error="no"), "serial")
            elif (trial.arm, trial.seed) == ("b", 3):
                store.append(ended(trial, float("nan")), "serial")
            else:
                store.append(ended(trial, 1.0), "serial")
        values = store.values("h", ["accuracy", "absent"], points=2)
    assert sorted(values["accuracy"]["a"]) == [0, 1, 3]
    assert sorted(values["accuracy"]["b"]) == [0, 1, 2]
    assert values["absent"] == {}


def test_a_seed_between_opposite_infinities_has_no_value(tmp_path: Path) -> None:
    laid = design(hypothesis())
    with Store(tmp_path) as store:
        for trial in laid.trials:
            store.append(ended(trial, math.inf if trial.point else -math.inf), "serial")
        assert store.values("h", ["accuracy"], points=2)["accuracy"] == {}


def test_the_last_record_of_a_trial_counts(tmp_path: Path) -> None:
    trial = design(hypothesis(factors={})).trials[0]
    with Store(tmp_path) as store:
        store.append(Result(trial, "lost", error="died"), "processes")
        store.append(ended(trial, 3.0, attempt=2), "processes")
        assert store.latest("h")[trial.id].attempt == 2
        assert store.values("h", ["accuracy"], 1)["accuracy"][trial.arm] == {trial.seed: 3.0}


def test_what_changed_since_a_hypothesis_was_frozen_is_said(tmp_path: Path) -> None:
    before, now = hypothesis(), hypothesis(alpha=0.01, arms=(Arm("a", control=True), Arm("b")))
    with Store(tmp_path) as store:
        store.freeze(before, design(before))
        assert store.freeze(before, design(before)) == ()
        changed = store.freeze(now, design(now))
    assert changed == ("alpha was 0.05 and is 0.01", "arms.b.widths was [8, 8] and is None")
    assert deviations({"a": 1}, {"a": 1}) == ()


def test_trials_that_were_told_something_else_are_no_trials_of_a_hypothesis(
    tmp_path: Path,
) -> None:
    before = hypothesis()
    changes: list[dict[str, Any]] = [
        {"arms": (Arm("a", control=True), Arm("b", {"widths": [4]}))},
        {"factors": {"rate": [1, 3]}},
        {"seeds": 2},
        {"alpha": 0.01},
    ]
    counts = []
    for place, change in enumerate(changes):
        with Store(tmp_path / str(place)) as store:
            store.freeze(before, design(before))
            fill(store, design(before))
            store.freeze(hypothesis(**change), design(hypothesis(**change)))
            counts.append(len(store.done("h")))
            assert len(list(store.trials("h"))) == counts[-1]
    assert counts == [8, 8, 8, 16]


def test_settings_that_are_no_numbers_are_told_from_others(tmp_path: Path) -> None:
    odd = {"limit": float("inf"), "start": float("nan"), "rate": 0.1}
    made = hypothesis(arms=(Arm("a", control=True), Arm("b", odd)))
    with Store(tmp_path) as store:
        store.freeze(made, design(made))
        fill(store, design(made))
        assert store.done("h") == {trial.id for trial in design(made).trials}


def test_evidence_is_kept_with_its_numbers(tmp_path: Path) -> None:
    made = hypothesis()
    treated = {0: 1.0, 1: 1.2, 2: 0.9, 3: 1.1}
    zeros = dict.fromkeys(treated, 0.0)
    found = judge([compare(made.predictions[0], ("b", "a"), treated, zeros, ran=4, planned=4)])
    with Store(tmp_path) as store:
        store.judge("h", found, overall(found), changed=["alpha was 1 and is 2"])
    of_prediction, whole = Archive(tmp_path).evidence("h")
    assert found[0].mean is not None
    assert of_prediction.effect == pytest.approx(found[0].mean.value)
    assert of_prediction.pairs == 4
    assert (of_prediction.verdict, whole.verdict) == ("supported", "supported")
    assert whole.changed == ("alpha was 1 and is 2",)


def test_an_empty_folder_holds_nothing(tmp_path: Path) -> None:
    archive = Archive(tmp_path / "none")
    assert archive.hypotheses() == {}
    assert archive.done("h") == set()
    assert list(archive.trials("h")) == []


def test_a_folder_has_one_writer(tmp_path: Path) -> None:
    with Store(tmp_path), pytest.raises(StoreError, match="is being written by another program"):
        Store(tmp_path)


PROGRAM = """
import sys
from pathlib import Path
from neural_architecture_lab.outcomes import Outcome
from neural_architecture_lab.runners import Result
from neural_architecture_lab.store import Store
from neural_architecture_lab.trials import Trial
store = Store(Path(sys.argv[1]))
for seed in range(100_000):
    store.append(Result(Trial("h", "a", seed, {}), "finished", Outcome({"x": seed})), "serial")
    store.flush()
    print(seed, flush=True)
"""


def test_no_trial_is_lost_when_the_lab_is_killed(tmp_path: Path) -> None:
    command = [sys.executable, "-c", PROGRAM, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as worker:
        assert worker.stdout is not None
        told = [worker.stdout.readline() for _ in range(20)]
        os.kill(worker.pid, signal.SIGKILL)
        told += worker.stdout.readlines()
    acknowledged = [int(line) for line in told if line.endswith("\n")]
    with Store(tmp_path) as store:
        seeds = [trial.seed for trial in store.trials("h")]
    assert seeds == list(range(len(seeds)))
    assert len(seeds) >= len(acknowledged)


def test_trials_are_read_one_at_a_time(tmp_path: Path) -> None:
    """2,000 trials with a curve of 200 values each: some 10 MB in memory, were they all held."""
    curve = {"loss": [float(n) for n in range(200)]}
    with Store(tmp_path) as store:
        for seed in range(2000):
            trial = Trial("h", "a", seed, {})
            store.append(Result(trial, "finished", Outcome({"x": 1.0}, curve)), "serial")
        next(store.trials("h"))
        tracemalloc.start()
        count = sum(1 for _ in store.trials("h"))
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert count == 2000
    assert peak < 2e6
