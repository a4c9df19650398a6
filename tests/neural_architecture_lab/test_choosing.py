from __future__ import annotations

import pytest

from neural_architecture_lab import Arm, Hypothesis, LabConfig, Prediction, Trial
from neural_architecture_lab.choosing import choose_runner
from neural_architecture_lab.configuration import RunnerName
from neural_architecture_lab.runners import Limits, ProcessRunner
from neural_architecture_lab.trials import design


def experiment(trial: Trial, *, device: str) -> dict[str, float]:
    return {"accuracy": 1.0}


HYPOTHESIS = Hypothesis(
    name="h",
    category="training",  # type: ignore[arg-type]
    question="?",
    prediction="!",
    experiment=experiment,
    arms=(Arm("a", {}, control=True), Arm("b", {})),
    predictions=(Prediction("accuracy", "higher"),),
    seeds=3,
)


@pytest.mark.parametrize(
    ("at_once", "limits", "name", "words"),
    [
        (1, Limits(), "serial", "one trial at a time was asked for"),
        (4, Limits(), "processes", "4 trials at once were asked for"),
        (100, Limits(), "processes", "6 trials at once"),
        (1, Limits(seconds=5), "processes", "held to its limits in a process of its own"),
    ],
)
def test_the_lab_chooses_what_suits_and_says_why(
    at_once: int, limits: Limits, name: str, words: str
) -> None:
    config = LabConfig(max_parallel_experiments=at_once, limits=limits)
    chosen = choose_runner(config, design(HYPOTHESIS))
    assert chosen.runner.name == name
    assert words in chosen.why


@pytest.mark.parametrize("name", ["serial", "processes"])
def test_a_runner_that_is_named_is_taken(name: RunnerName) -> None:
    config = LabConfig(runner=name, max_parallel_experiments=2, limits=Limits(retries=3))
    chosen = choose_runner(config, design(HYPOTHESIS))
    assert (chosen.runner.name, chosen.why) == (name, "as asked")
    if isinstance(chosen.runner, ProcessRunner):
        assert (chosen.runner.workers, chosen.runner.limits.retries) == (2, 3)
