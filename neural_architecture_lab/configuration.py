"""How a lab runs: how much at once, where, with what, and where its results go."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias

from neural_architecture_lab.errors import LabError
from neural_architecture_lab.runners.protocol import Limits, Runner

RunnerName: TypeAlias = Literal["auto", "serial", "processes", "replicas", "dask", "ray"]
RUNNERS = ("auto", "serial", "processes", "replicas", "dask", "ray")


@dataclass(frozen=True)
class LabConfig:
    """How a lab runs.

    Args:
        max_parallel_experiments: How many trials run at once, at most.
        results_dir: The folder that holds all results. Nothing is written elsewhere.
        device: Where experiments run, as torch writes it; "cpu" where there is no CUDA.
        runner: What runs trials: a name, or a runner of one's own. ``"auto"`` chooses, and says
            why.
        limits: What one trial may take.
        order: What the order of the trials is drawn with.
        progress: Whether a run shows how far it is, where standard error is a terminal. One that is
            given ``on_result`` leaves that to it.

    Raises:
        LabError: A value cannot be meant as it is given.
    """

    max_parallel_experiments: int = 1
    results_dir: str | Path = "nal_results"
    device: str = "cpu"
    runner: RunnerName | Runner = "auto"
    limits: Limits = field(default_factory=Limits)
    order: int = 0
    progress: bool = True

    def __post_init__(self) -> None:
        count = self.max_parallel_experiments
        if isinstance(count, bool) or not isinstance(count, int) or count < 1:
            raise LabError(
                f"max_parallel_experiments must be a whole number from 1 on; got {count!r}."
            )
        if not isinstance(self.results_dir, str | Path) or not str(self.results_dir):
            raise LabError(f"results_dir must name a folder; got {self.results_dir!r}.")
        if not isinstance(self.runner, Runner) and self.runner not in RUNNERS:
            raise LabError(
                f"runner must be one of {', '.join(RUNNERS)}, or a Runner; got {self.runner!r}."
            )

    @property
    def folder(self) -> Path:
        """The folder of results."""
        return Path(self.results_dir)


def usable_device(wanted: str) -> str:
    """``wanted`` where it is there, and the CPU, with one warning, where there is no CUDA.

    Raises:
        LabError: torch knows no such device.
    """
    import torch

    try:
        device = torch.device(wanted)
    except RuntimeError as error:
        raise LabError(f"device must be one that torch knows, as 'cpu'; got {wanted!r}.") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        warnings.warn(
            f"device={wanted!r}, but torch finds no CUDA device here: the CPU is used instead.",
            stacklevel=3,
        )
        return "cpu"
    return wanted
