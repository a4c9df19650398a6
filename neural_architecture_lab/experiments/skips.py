"""Skip connections in a deep, narrow network."""

from __future__ import annotations

from neural_architecture_lab.experiments.evolving import evolve
from neural_architecture_lab.hypothesis import Arm, Hypothesis, HypothesisCategory, Prediction
from neural_architecture_lab.levels import Setting


def skip_connections() -> Hypothesis:
    """Eight hidden layers of 16 units, plain, against eight with a shortcut around every two.

    Shortcuts are projections, zero at birth, which cost parameters; the layers that have them are
    narrower, so that both arms have as many within 1 % (14 and 15 units on the digits). The
    prediction is that of He et al., "Deep residual learning", CVPR 2016: a deep plain network is
    hard to train, and shortcuts help; the size is a guess.
    """
    hidden: list[Setting] = [16] * 8
    around: list[Setting] = [[0, 2], [2, 4], [4, 6]]
    narrow: dict[str, Setting] = {"shape": [1] * 8, "as_large_as": hidden}
    return Hypothesis(
        name="Skip connections",
        category=HypothesisCategory.ARCHITECTURE,
        question="At equal parameters, do skip connections make a deep network more accurate?",
        prediction="With a shortcut around every two layers it is more accurate.",
        experiment=evolve,
        arms=(
            Arm("plain", {"hidden": hidden}, control=True),
            Arm("skipping", {"hidden": narrow, "shortcuts": around}),
        ),
        predictions=(Prediction("accuracy", "higher", smallest_effect=0.01),),
    )
