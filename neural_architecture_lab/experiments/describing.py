"""Settings of `evolve` as plans, where a network keeps its shape; and what comes of these."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

from neural_architecture_lab.errors import HypothesisError
from neural_architecture_lab.experiments.widths import widths_of
from neural_architecture_lab.outcomes import Outcome
from neural_architecture_lab.replicas import ReplicaPlan, Trained
from neural_architecture_lab.replicas.material import dataset_of
from structure_net.errors import TrainingDivergedError

CHANGING: Final = ("shortcuts", "rates", "analyzers", "strategies")
"""Settings that a plan has no words for."""

_MOMENTUM: Final = 0.9
"""What `StandardNetworkTrainer` gives SGD, with Nesterov's rule."""


def plan_of_settings(settings: Mapping[str, Any], seed: int) -> ReplicaPlan | None:
    """The plan of an arm; None where the network changes, or is looked at, while it trains.

    Args:
        settings: The arm's, over the defaults.
        seed: The trial's.

    Raises:
        HypothesisError: The widths, or the weight decay, cannot be meant so.
        PlanError: A setting is out of range.
    """
    once = settings["iterations"] == 1 or settings["schedule"] == "constant"
    if any(settings[name] for name in CHANGING) or not once:
        return None
    check_decay(settings)
    data = dataset_of(settings["dataset"], settings["data_dir"])
    inputs, outputs = data.input_shape[0], data.outputs
    descending = settings["optimizer"] == "sgd"
    return ReplicaPlan(
        (inputs, *widths_of(settings, inputs, outputs), outputs),
        dataset=settings["dataset"],
        data_dir=settings["data_dir"],
        activation=settings["activation"],
        density=settings["density"],
        allocation=settings["allocation"],
        epochs=settings["iterations"] * settings["epochs"],
        batch_size=settings["batch_size"],
        optimizer=settings["optimizer"],
        learning_rate=settings["learning_rate"],
        schedule=settings["schedule"],
        momentum=_MOMENTUM if descending else 0.0,
        nesterov=descending,
        weight_decay=settings["weight_decay"],
        seed=seed,
    )


def check_decay(settings: Mapping[str, Any]) -> None:
    """Refuses a weight decay that no optimizer would keep apart from the gradient.

    Raises:
        HypothesisError: Another optimizer than AdamW is to have one.
    """
    name, decay = settings["optimizer"], settings["weight_decay"]
    if decay is not None and name != "adamw":
        raise HypothesisError(
            f"weight_decay is {decay!r} and optimizer is {name!r}; weight decay goes with"
            " optimizer='adamw', which keeps it apart from the gradient."
        )


def outcome_of_replica(trained: Trained) -> Outcome:
    """The metrics and curves that `evolve` gives, of a trained replica.

    Raises:
        TrainingDivergedError: A loss is not finite.
    """
    for epoch, loss in enumerate(trained.train_loss, 1):
        if not math.isfinite(loss):
            raise TrainingDivergedError(
                f"The loss is {loss} in epoch {epoch}. Lower the learning rate, or look for bad"
                " values in the data."
            )
    found = trained.outcome()
    metrics = {
        **found.metrics,
        "layers": float(len(trained.weights)),
        "flops": 2.0 * trained.connections,
        "edits": 0.0,
    }
    epochs = len(trained.train_loss)
    curves: dict[str, Sequence[float]] = dict(found.curves)
    for name in ("parameters", "connections"):
        curves[name] = (found.metrics[name],) * epochs
    return Outcome(metrics, curves)
