"""How a folder of results was run last, kept beside them, so that whoever goes on runs it alike."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, cast

from neural_architecture_lab.configuration import RUNNERS, LabConfig, RunnerName
from neural_architecture_lab.errors import StoreError
from neural_architecture_lab.recipes import folders_of, recipe_of
from neural_architecture_lab.runners.protocol import Limits
from structure_net.data.registry import registered
from structure_net.files import write_text

FILE: Final = "run_settings.json"


@dataclass(frozen=True, slots=True)
class RunSettings:
    """How trials were run.

    Args:
        parallel: How many at once, at most.
        runner: By which runner; ``"auto"`` where that was one of the user's own.
        device: Where, as it was asked for.
        limits: What one might take.
        order: What their order, and points that are drawn, are drawn with.
        folders: Where Python found the experiments, beside its own places.
        datasets: What had been registered: name, recipe of what loads it, options, version.
    """

    parallel: int = 1
    runner: RunnerName = "auto"
    device: str = "cpu"
    limits: Limits = field(default_factory=Limits)
    order: int = 0
    folders: tuple[str, ...] = ()
    datasets: tuple[Mapping[str, Any], ...] = ()


def keep_run_settings(config: LabConfig, folders: Iterable[str] = ()) -> None:
    """Keeps how a lab runs in its folder of results, which exists.

    Raises:
        StoreError: It cannot be written.
    """
    known = set(run_settings_of(config.folder).folders)
    runner = config.runner if isinstance(config.runner, str) else config.runner.name
    datasets = [
        {
            "name": one.name,
            "loader": recipe_of(one.loader),
            "options": dict(one.options),
            "version": one.version,
        }
        for one in registered()
    ]
    told = {
        "parallel": config.max_parallel_experiments,
        "runner": runner if runner in RUNNERS else "auto",
        "device": config.device,
        "seconds": config.limits.seconds,
        "memory": config.limits.memory,
        "retries": config.limits.retries,
        "order": config.order,
        "folders": sorted({*known, *folders, *folders_of(datasets)}),
        "datasets": datasets,
    }
    try:
        write_text(config.folder / FILE, json.dumps(told, indent=2) + "\n")
    except OSError as error:
        raise StoreError(f"{config.folder / FILE} cannot be written: {error.strerror}.") from error


def run_settings_of(folder: Path) -> RunSettings:
    """How the lab of a folder of results ran last; as one runs by itself where nobody kept it.

    Raises:
        StoreError: What was kept cannot be read.
    """
    place = folder / FILE
    if not place.exists():
        return RunSettings()
    try:
        told = json.loads(place.read_text("utf-8"))
        return RunSettings(
            int(told["parallel"]),
            cast("RunnerName", told["runner"]),
            str(told["device"]),
            Limits(told["seconds"], told["memory"], told["retries"]),
            int(told["order"]),
            tuple(map(str, told["folders"])),
            tuple(told["datasets"]),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{place} cannot be read ({error}); delete it to go on.") from error
