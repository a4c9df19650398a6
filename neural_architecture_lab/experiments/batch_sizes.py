"""Batch sizes and the learning rates that go with them: what the category TRAINING supplies."""

from __future__ import annotations

from neural_architecture_lab.experiments.evolving import evolve
from neural_architecture_lab.hypothesis import Arm, Hypothesis, HypothesisCategory, Prediction


def batch_size_scaling() -> Hypothesis:
    """Batches of 256 against 64, with the learning rate as it was, twofold, or fourfold.

    Adam, six epochs each, so that the large batches take a quarter of the steps. The prediction
    follows Malladi et al., "On the SDEs and scaling rules for adaptive gradient algorithms",
    NeurIPS 2022: with Adam the rate goes with the square root of the batch size. The sizes of the
    effects are guesses.
    """
    large = {"batch_size": 256, "epochs": 1}
    return Hypothesis(
        name="Batch size scaling",
        category=HypothesisCategory.TRAINING,
        question="What must become of Adam's learning rate when batches are four times as large?",
        prediction="Unscaled, accuracy falls; by the square root, it stays within a point.",
        experiment=evolve,
        arms=(
            Arm("small", {"epochs": 1}, control=True),
            Arm("unscaled", large),
            Arm("square_root", {**large, "learning_rate": 0.01}),
            Arm("linear", {**large, "learning_rate": 0.02}),
        ),
        predictions=(
            Prediction("accuracy", "lower", smallest_effect=0.01, arm="unscaled"),
            Prediction("accuracy", "same", smallest_effect=0.01, arm="square_root"),
        ),
    )
