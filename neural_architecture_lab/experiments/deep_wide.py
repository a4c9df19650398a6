"""Deep against wide at equal parameters: what the category ARCHITECTURE supplies."""

from __future__ import annotations

from neural_architecture_lab.experiments.evolving import evolve
from neural_architecture_lab.hypothesis import Arm, Hypothesis, HypothesisCategory, Prediction


def deep_against_wide() -> Hypothesis:
    """Four hidden layers of one width against one of 64 units, at as many parameters.

    The width follows from the data: 29 on the digits (4795 and 4810 parameters).

    The prediction is a guess that rests on Ba and Caruana, "Do deep nets really need to be deep?",
    NeurIPS 2014: at as many parameters a shallow network can represent what a deep one learns. The
    deep one is the harder to train, so that it should be behind after twelve epochs.
    """
    return Hypothesis(
        name="Deep against wide",
        category=HypothesisCategory.ARCHITECTURE,
        question="At equal parameters, is a deep network less accurate than a wide one?",
        prediction="After a short training the deep network is less accurate.",
        experiment=evolve,
        arms=(
            Arm("wide", {"hidden": [64]}, control=True),
            Arm("deep", {"hidden": {"shape": [1, 1, 1, 1], "as_large_as": [64]}}),
        ),
        predictions=(Prediction("accuracy", "lower", smallest_effect=0.005),),
    )
