"""Weight decay: what the category REGULARIZATION supplies."""

from __future__ import annotations

from neural_architecture_lab.experiments.evolving import evolve
from neural_architecture_lab.hypothesis import Arm, Hypothesis, HypothesisCategory, Prediction
from neural_architecture_lab.levels import Setting


def weight_decay() -> Hypothesis:
    """AdamW with a decay of 0 against .1 and 1, on a network that is larger than needed.

    Two hidden layers of 128 units, twelve epochs, the same weights and batches. The prediction is
    that of Loshchilov and Hutter, "Decoupled weight decay regularization", ICLR 2019: decay helps
    generalisation. In some 250 steps at a rate of .005 a decay of .1 takes an eighth off the
    weights and one of 1 seven tenths; that the former does next to nothing is arithmetic, that the
    latter lowers the test loss is the claim.
    """
    wide: dict[str, Setting] = {"hidden": [128, 128], "optimizer": "adamw"}
    return Hypothesis(
        name="Weight decay",
        category=HypothesisCategory.REGULARIZATION,
        question="Does weight decay lower the test loss of a network that is larger than needed?",
        prediction="A strong decay lowers the test loss; a weak one makes no difference.",
        experiment=evolve,
        arms=(
            Arm("none", {**wide, "weight_decay": 0.0}, control=True),
            Arm("weak", {**wide, "weight_decay": 0.1}),
            Arm("strong", {**wide, "weight_decay": 1.0}),
        ),
        predictions=(
            Prediction("loss", "same", smallest_effect=0.02, arm="weak"),
            Prediction("loss", "lower", smallest_effect=0.01, arm="strong"),
        ),
    )
