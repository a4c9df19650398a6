"""Labs whose results show one thing each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from neural_architecture_lab import (
    Arm,
    Hypothesis,
    LabConfig,
    NeuralArchitectureLab,
    Prediction,
    Trial,
)


def experiment(trial: Trial, *, device: str) -> dict[str, float]:
    """A score of what the settings say, and noise of the seed and of the trial."""
    own = sum(map(ord, f"{trial.arm}{sorted(trial.settings.items())}"))
    shared = np.random.default_rng(trial.seed).normal()
    noise = np.random.default_rng([trial.seed, own]).normal()
    get = {key: float(str(value)) for key, value in trial.settings.items()}
    width = get.get("width", 0.0)
    score = get.get("bonus", 0.0) + get.get("slope", 0.0) * min(width, get.get("bend", 1e9))
    score += get.get("cross", 0.0) * width * get.get("depth", 0.0)
    score += shared + 0.1 * noise * get.get("spread", 1.0)
    return {"accuracy": score, "parameters": get.get("size", 10.0)}


def claim(name: str = "h", **changes: Any) -> Hypothesis:
    """Two arms that differ in nothing but what ``changes`` say."""
    said: dict[str, Any] = {
        "name": name,
        "category": "training",
        "question": "?",
        "prediction": "!",
        "experiment": experiment,
        "arms": (Arm("a", control=True), Arm("b")),
        "predictions": (Prediction("accuracy", "higher", arm="b"),),
        "seeds": 10,
    }
    return Hypothesis(**{**said, **changes})


def ran(folder: Path, *hypotheses: Hypothesis) -> NeuralArchitectureLab:
    """A lab that has run them."""
    lab = NeuralArchitectureLab(LabConfig(results_dir=folder))
    for one in hypotheses:
        lab.register_hypothesis(one)
    lab.run_all()
    return lab
