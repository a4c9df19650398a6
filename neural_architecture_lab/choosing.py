"""Which runner serves a hypothesis best, and why, in words."""

from __future__ import annotations

from dataclasses import dataclass

from neural_architecture_lab.configuration import LabConfig
from neural_architecture_lab.errors import RunnerError
from neural_architecture_lab.hypothesis import Hypothesis
from neural_architecture_lab.runners.protocol import Runner
from neural_architecture_lab.runners.serial import SerialRunner
from neural_architecture_lab.trials import Design


@dataclass(frozen=True, slots=True)
class Chosen:
    """A runner, and why it was chosen.

    Args:
        runner: The runner.
        why: In words.
    """

    runner: Runner
    why: str


def choose_runner(config: LabConfig, hypothesis: Hypothesis, design: Design) -> Chosen:
    """The runner that was asked for, or the one that suits the trials.

    Raises:
        RunnerError: It needs a package that is not there.
    """
    if isinstance(config.runner, Runner):
        return Chosen(config.runner, "as asked")
    if config.runner == "serial":
        return Chosen(SerialRunner(), "as asked")
    if config.runner == "auto":
        return Chosen(SerialRunner(), "one trial at a time was asked for")
    raise RunnerError(f"There is no runner {config.runner!r}.")
