"""Searches that tests run, and what they run."""

from __future__ import annotations

import math
import os
import signal
from typing import Any

from neural_architecture_lab import Range, Trial
from neural_architecture_lab.searching import Search

CALLS: list[str] = []


def bowl(trial: Trial, *, device: str) -> dict[str, float]:
    """A bowl with its bottom at x = .3, a little higher for kind b, moved a little by the seed."""
    CALLS.append(trial.id)
    if len(CALLS) == int(os.environ.get("KILL_AT", "0")):
        os.kill(os.getpid(), signal.SIGKILL)
    x = float(str(trial.settings["x"]))
    if x > float(str(trial.settings.get("raises_above", math.inf))):
        raise RuntimeError("too far")
    if x > float(str(trial.settings.get("nan_above", math.inf))):
        return {"loss": math.nan, "size": x}
    loss = (x - 0.3) ** 2 + 0.1 * (trial.settings.get("kind") == "b") + trial.seed / 1000
    return {"loss": loss + 1 / (1 + float(str(trial.settings.get("epochs", 9)))), "size": x}


SPACE: dict[str, Any] = {"x": Range(0, 1), "kind": ["a", "b"]}


def search(**changes: Any) -> Search:
    said: dict[str, Any] = {
        "name": "Bowl",
        "experiment": bowl,
        "space": SPACE,
        "objectives": {"loss": "lower"},
        "tries": 14,
    }
    return Search(**{**said, **changes})
