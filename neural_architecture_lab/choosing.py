"""Which runner serves a hypothesis best, and why, in words."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Final

from neural_architecture_lab.configuration import LabConfig
from neural_architecture_lab.runners.protocol import Limits, Runner
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


def choose_runner(config: LabConfig, design: Design) -> Chosen:
    """The runner that was asked for, or the one that suits the trials.

    Left to itself the lab takes a process for each trial where several are to run at once, or where
    limits are set, which nothing else can hold a trial to; and this process otherwise.

    Raises:
        RunnerError: It needs a package that is not there, or this system cannot do it.
    """
    if isinstance(config.runner, Runner):
        return Chosen(config.runner, "as asked")
    workers = min(config.max_parallel_experiments, len(design.trials))
    if config.runner != "auto":
        return Chosen(_made(config.runner, workers, config.limits), "as asked")
    name, why = _suited(config, workers)
    return Chosen(_made(name, workers, config.limits), why)


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
    "dask": (f"{_FOLDER}.dask", "DaskRunner"),
    "ray": (f"{_FOLDER}.ray", "RayRunner"),
}
