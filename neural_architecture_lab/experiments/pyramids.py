"""Shapes at equal parameters: widths that fall, rise or stay from layer to layer."""

from __future__ import annotations

from neural_architecture_lab.experiments.evolving import evolve
from neural_architecture_lab.hypothesis import Arm, Hypothesis, HypothesisCategory, Prediction
from neural_architecture_lab.levels import Setting


def pyramid_shapes() -> Hypothesis:
    """Three hidden layers of 32 units against widths as 5 : 3 : 2 and as 2 : 3 : 4.

    The widths follow from the data, so that all have as many parameters within 1 %: 42-26-18 and
    24-34-47 on the digits.

    The prediction is the rule of thumb that a classifier's layers should taper towards its few
    outputs; that a narrow first layer loses what no later one can bring back speaks for it. No
    measurement of ours stands behind it.
    """
    even: list[Setting] = [32, 32, 32]
    return Hypothesis(
        name="Pyramid shapes",
        category=HypothesisCategory.ARCHITECTURE,
        question="At equal parameters, are falling widths better than even ones, and rising worse?",
        prediction="Falling widths are more accurate than even ones, rising widths less.",
        experiment=evolve,
        arms=(
            Arm("even", {"hidden": even}, control=True),
            Arm("falling", {"hidden": {"shape": [5, 3, 2], "as_large_as": even}}),
            Arm("rising", {"hidden": {"shape": [2, 3, 4], "as_large_as": even}}),
        ),
        predictions=(
            Prediction("accuracy", "higher", smallest_effect=0.005, arm="falling"),
            Prediction("accuracy", "lower", smallest_effect=0.005, arm="rising"),
        ),
    )
