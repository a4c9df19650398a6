"""Shapes at equal parameters: widths that fall, rise or stay from layer to layer."""

from __future__ import annotations

from neural_architecture_lab.experiments.evolving import evolve
from neural_architecture_lab.hypothesis import Arm, Hypothesis, HypothesisCategory, Prediction


def pyramid_shapes() -> Hypothesis:
    """Three hidden layers of 32 units against 43-26-15 and 23-34-49, within 1 % of the parameters.

    The prediction is the rule of thumb that a classifier's layers should taper towards its few
    outputs; that a narrow first layer loses what no later one can bring back speaks for it. No
    measurement of ours stands behind it.
    """
    return Hypothesis(
        name="Pyramid shapes",
        category=HypothesisCategory.ARCHITECTURE,
        question="At equal parameters, are falling widths better than even ones, and rising worse?",
        prediction="Falling widths are more accurate than even ones, rising widths less.",
        experiment=evolve,
        arms=(
            Arm("even", {"hidden": [32, 32, 32]}, control=True),
            Arm("falling", {"hidden": [43, 26, 15]}),
            Arm("rising", {"hidden": [23, 34, 49]}),
        ),
        predictions=(
            Prediction("accuracy", "higher", smallest_effect=0.005, arm="falling"),
            Prediction("accuracy", "lower", smallest_effect=0.005, arm="rising"),
        ),
    )
