from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from neural_architecture_lab import (
    Arm,
    Hypothesis,
    LabConfig,
    NeuralArchitectureLab,
    Prediction,
    ReplicaExperiment,
    ReplicaPlan,
    Trial,
)
from neural_architecture_lab.checking import check_trial, check_trials
from neural_architecture_lab.cli import main
from neural_architecture_lab.errors import HypothesisError, PlanError
from neural_architecture_lab.experiments import evolve, place
from neural_architecture_lab.experiments.placing import Placing
from neural_architecture_lab.insights.measuring import EffectOf, SpreadOf
from neural_architecture_lab.replicas.material import check_fit
from neural_architecture_lab.runners import SerialRunner
from neural_architecture_lab.trials import FreshSeeds, design

PLAN = ReplicaPlan((64, 12, 10), epochs=1, batch_size=256)
TRAIN = ReplicaExperiment(PLAN)
CALLS: list[str] = []


def planned(trial: Trial) -> ReplicaPlan:
    return replace(PLAN, seed=trial.seed, density=trial.settings["densty"])  # type: ignore[arg-type]


class Declared:
    """An experiment that is no plan, and says which settings it reads."""

    known_settings = ("width", "rate")

    def __call__(self, trial: Trial, *, device: str) -> dict[str, float]:
        CALLS.append(trial.id)
        return {"accuracy": float(trial.seed)}


declared = Declared()


class Elsewhere(SerialRunner):
    elsewhere = True


def hypothesis(experiment: Any, settings: dict[str, Any], **more: Any) -> Hypothesis:
    said: dict[str, Any] = {
        "name": "Impossible arms",
        "category": "training",
        "question": "?",
        "prediction": "!",
        "experiment": experiment,
        "arms": (Arm("a", control=True), Arm("b", settings)),
        "predictions": (Prediction("accuracy", "higher"),),
        "seeds": 3,
    }
    return Hypothesis(**{**said, **more})


@pytest.mark.parametrize(
    ("experiment", "settings", "words"),
    [
        (TRAIN, {"epoch": 2}, "'epoch', which a plan does not know. Did you mean 'epochs'?"),
        (TRAIN, {"density": 5}, r"'b' cannot be run: density must be in \(0, 1\]; got 5. Mend"),
        (TRAIN, {"sizes": [64, 12, 11]}, "end with its 10 outputs; got .64, 12, 11."),
        (TRAIN, {"sizes": 64}, "sizes must list inputs and outputs at least; got 64"),
        (TRAIN, {"betas": 0.9}, "betas must be two numbers .* got 0.9"),
        (TRAIN, {"patterns": [1, None]}, "patterns must hold SparsePattern or None; got 1"),
        (TRAIN, {"dataset": "digit"}, "no data set 'digit'. Did you mean 'digits'?"),
        (TRAIN, {"dataset": 3}, "dataset must be a text; got 3"),
        (TRAIN, {"optimizer": "adamm"}, "optimizer must be one of adam, adamw, sgd; got 'adamm'"),
        (TRAIN, {"learning_rate": 10**400}, "learning_rate must be a finite number"),
        (TRAIN, {"seed": 3}, "sets the seed to 3, which is that of the trial"),
        (evolve, {"hiden": [8]}, "does not know. Did you mean 'hidden'?"),
        (evolve, {"hidden": 8}, "hidden must list the widths .* got 8"),
        (evolve, {"hidden": {"shape": [1], "as_large_as": [8.5]}}, "as_large_as must list"),
        (evolve, {"shortcuts": [[0, 9]]}, "no layer 'layers.9'"),
        (evolve, {"schedule": "cosin"}, "ValueError: schedule must be one of"),
        (evolve, {"strategies": [{"strategi": {}}]}, "must be a mapping with 'strategy'"),
        (place, {"scor": "x"}, "does not know. Did you mean 'score'?"),
        (declared, {"widht": 8}, "the experiment does not know. Did you mean 'width'?"),
        (ReplicaExperiment(planned), {"density": 0.1}, "'a' cannot be run: KeyError: 'densty'"),
    ],
    ids=lambda value: json.dumps(value, default=lambda one: type(one).__name__)[:40],
)
def test_an_arm_that_cannot_be_run_is_refused_before_anything_is_written(
    experiment: Any, settings: dict[str, Any], words: str, tmp_path: Path
) -> None:
    arms = (Arm("b", settings, control=True), Arm("a", {}))
    if words.startswith("'a'"):
        arms = (Arm("a", settings, control=True), Arm("b", {"densty": 0.1}))
    folder = tmp_path / "results"
    lab = NeuralArchitectureLab(LabConfig(results_dir=folder))
    key = lab.register_hypothesis(hypothesis(experiment, settings, arms=arms))
    for act in (lab.check, lambda: lab.run_hypothesis_test(key), lab.run_all):
        with pytest.raises(HypothesisError, match=words) as told:
            act()
        assert str(told.value).startswith("'Impossible arms' cannot be tested. The arm '")
    assert not folder.exists()


def test_a_point_of_the_factors_that_cannot_be_run_is_named() -> None:
    made = hypothesis(TRAIN, {}, factors={"density": [0.5, 1.5]})
    with pytest.raises(HypothesisError, match=r"The arm '.' at density=1.5 cannot be run"):
        check_trials(made.name, made.experiment, design(made).trials)


def test_what_can_be_run_is_not_refused_and_not_run() -> None:
    CALLS.clear()
    for experiment, settings in (
        (TRAIN, {"density": 0.1}),
        (evolve, {"shortcuts": [[0, 1]]}),
        (declared, {"width": 4, "rate": 0.1}),
    ):
        made = hypothesis(experiment, settings)
        check_trials(made.name, experiment, design(made).trials)
    assert not CALLS
    assert isinstance(place, Placing)


def test_what_is_left_of_a_hypothesis_is_checked_and_what_ended_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = NeuralArchitectureLab(LabConfig(results_dir=tmp_path))
    key = lab.register_hypothesis(hypothesis(declared, {"width": 3}))
    lab.run_hypothesis_test(key)
    monkeypatch.setattr(Declared, "known_settings", ())  # as where data are gone by now
    assert lab.run_hypothesis_test(key).review.trials == 6


@pytest.mark.parametrize(
    "wrap",
    [
        lambda inner: FreshSeeds(inner, 100),
        lambda inner: EffectOf(inner, {}, {"density": 2}),
        lambda inner: SpreadOf(FreshSeeds(inner, 5), 2),
    ],
    ids=["fresh seeds", "effect", "spread"],
)
def test_experiments_made_of_others_are_looked_into(wrap: Callable[[Any], Any]) -> None:
    with pytest.raises(PlanError, match="density must be"):
        check_trial(wrap(TRAIN), Trial("h", "a", 0, {"density": 2}))
    if not isinstance(wrap(TRAIN), EffectOf):
        check_trial(wrap(TRAIN), Trial("h", "a", 0, {}))


def test_data_that_are_absent_here_may_lie_where_trials_run(tmp_path: Path) -> None:
    lost = hypothesis(TRAIN, {"data_dir": str(tmp_path), "dataset": "mnist", "sizes": [784, 10]})
    trials = design(lost).trials
    check_trials(lost.name, TRAIN, trials, elsewhere=Elsewhere().elsewhere)
    with pytest.raises(HypothesisError, match="mnist"):
        check_trials(lost.name, TRAIN, trials, elsewhere=SerialRunner().elsewhere)
    check_fit(PLAN)


FILE = """
from neural_architecture_lab import Arm, Hypothesis, Prediction, ReplicaExperiment, ReplicaPlan

CLAIM = Hypothesis("typo", "sparsity", "?", "!", ReplicaExperiment(ReplicaPlan((64, 10))),
    (Arm("a", control=True), Arm("b", {"densty": 0.1})),
    predictions=(Prediction("accuracy", "higher"),), seeds=2)
"""


@pytest.mark.parametrize("command", ["run", "plan"])
def test_nal_says_so_in_one_line_and_leaves_no_folder(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / f"typo_{command}.py").write_text(FILE)
    assert main([command, f"typo_{command}.py"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("nal: 'typo' cannot be tested. The arm 'b' has the setting 'densty'")
    assert "Did you mean 'density'?" in said
    assert said.count("\n") == 1
    assert {path.name for path in tmp_path.iterdir()} <= {f"typo_{command}.py", "__pycache__"}
