"""A hypothesis whose trials show everything that a report has a place for."""

from __future__ import annotations

from typing import Any

import torch

from neural_architecture_lab import Arm, Hypothesis, Outcome, Prediction, Trial


def experiment(trial: Trial, *, device: str) -> Outcome:
    """Accuracy and size of an arm, with a curve, and growth where the arm says so."""
    if trial.settings.get("fails_at") == trial.seed:
        raise RuntimeError("no | luck <today>")
    noise = torch.rand(2, generator=torch.Generator().manual_seed(trial.seed)).tolist()
    reached = float(str(trial.settings["reach"])) + 0.02 * noise[0] + 0.01 * noise[1]
    size = float(str(trial.settings["size"]))
    return Outcome(
        {"accuracy": reached, "parameters": size + trial.seed},
        {"validation_accuracy": [reached - 0.2, reached - 0.1, reached]},
        [(2, "SomeGrowth")] if trial.arm == "grown" else [],
    )


def hypothesis(**changes: Any) -> Hypothesis:
    """Two arms that trade accuracy for size."""
    said: dict[str, Any] = {
        "name": "grown_is <better>",
        "category": "growth_dynamics",
        "question": "Does growth | pay?",
        "prediction": "It does.",
        "experiment": experiment,
        "arms": (
            Arm("fixed", {"reach": 0.9, "size": 200}, control=True),
            Arm("grown", {"reach": 0.8, "size": 100}),
        ),
        "predictions": (
            Prediction("accuracy", "higher", 0.01),
            Prediction("parameters", "lower", 1),
        ),
        "seeds": 6,
    }
    return Hypothesis(**{**said, **changes})
