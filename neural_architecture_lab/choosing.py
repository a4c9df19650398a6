"""Which runner serves a hypothesis best, and why, in words."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from importlib import import_module
from typing import Final

from neural_architecture_lab.configuration import LabConfig
from neural_architecture_lab.hypothesis import Experiment
from neural_architecture_lab.runners.protocol import Limits, Runner
from neural_architecture_lab.runners.replicas import ReplicaRunner, not_described
from neural_architecture_lab.runners.serial import SerialRunner
from neural_architecture_lab.trials import Design, Trial


@dataclass(frozen=True, slots=True)
class Chosen:
    """A runner, and why it was chosen.

    Args:
        runner: The runner.
        why: In words.
    """

    runner: Runner
    why: str


def choose_runner(
    config: LabConfig, design: Design, experiment: Experiment | None = None
) -> Chosen:
    """The runner that was asked for, or the one that suits the trials.

    Left to itself the lab trains replicas where the experiment describes every trial, which is many
    times faster. It takes a process for each trial where several are to run at once, or where
    limits are set, which nothing else can hold a trial to; and this process otherwise.

    Args:
        config: What was asked for.
        design: The trials.
        experiment: What runs them; None leaves open whether it describes them.

    Raises:
        RunnerError: It needs a package that is not there, this system cannot do it, or replicas
            were asked for, and the experiment does not describe its trials.
    """
    if experiment is not None:
        check_described(config, experiment, design.trials)
    if isinstance(config.runner, Runner):
        return Chosen(config.runner, "as asked")
    workers = min(config.max_parallel_experiments, len(design.trials))
    if config.runner != "auto":
        return Chosen(_made(config.runner, workers, config.limits), "as asked")
    if config.limits.memory is None and _described(config, experiment, design):
        at_once = "one at a time" if workers == 1 else f"{workers} at once"
        why = f"the experiment describes its trials, which are trained as replicas, {at_once}"
        return Chosen(_made("replicas", workers, config.limits), why)
    name, why = _suited(config, workers)
    return Chosen(_made(name, workers, config.limits), why)


def _described(config: LabConfig, experiment: Experiment | None, design: Design) -> bool:
    """Whether every trial has a plan, or fails where one is made, as it would on any runner."""
    if experiment is None:
        return False
    return all(_has_plan(experiment, trial, config.device) for trial in design.trials)


def check_described(config: LabConfig, experiment: Experiment, trials: Iterable[Trial]) -> None:
    """Refuses trials without a plan where replicas are asked for.

    Raises:
        RunnerError: The experiment does not describe one of them.
    """
    if config.runner != "replicas" and not isinstance(config.runner, ReplicaRunner):
        return
    for trial in trials:
        if not _has_plan(experiment, trial, config.device):
            raise not_described(trial)


def _has_plan(experiment: Experiment, trial: Trial, device: str) -> bool:
    from neural_architecture_lab.replicas.experiment import plan_of

    try:
        return plan_of(experiment, deepcopy(trial), device) is not None
    except Exception:  # noqa: BLE001 - the user's, and a record of that trial once it runs
        return True


def _suited(config: LabConfig, workers: int) -> tuple[str, str]:
    limited = config.limits.seconds is not None or config.limits.memory is not None
    if sys.platform == "win32":
        return "serial", "this system cannot fork, which a process for each trial needs"
    if limited:
        return "processes", "a trial is held to its limits in a process of its own"
    if workers > 1:
        return "processes", f"{workers} trials at once were asked for, each in a process of its own"
    return "serial", "one trial at a time was asked for"


def _made(name: str, workers: int, limits: Limits) -> Runner:
    if name == "serial":
        return SerialRunner()
    module, kind = _RUNNERS[name]
    made: Runner = getattr(import_module(module), kind)(workers, limits)
    return made


_FOLDER: Final = SerialRunner.__module__.rpartition(".")[0]
_RUNNERS: Final[Mapping[str, tuple[str, str]]] = {
    "processes": (f"{_FOLDER}.processes", "ProcessRunner"),
    "replicas": (f"{_FOLDER}.replicas", "ReplicaRunner"),
    "dask": (f"{_FOLDER}.dask", "DaskRunner"),
    "ray": (f"{_FOLDER}.ray", "RayRunner"),
}
