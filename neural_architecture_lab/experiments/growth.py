"""Does growth pay? The hypothesis that the category GROWTH_DYNAMICS supplies."""

from __future__ import annotations

from neural_architecture_lab.experiments.evolving import described, evolve, growing
from neural_architecture_lab.hypothesis import Arm, Hypothesis, HypothesisCategory, Prediction
from neural_architecture_lab.levels import Setting


def extrema_growth() -> Hypothesis:
    """A sparse network that grows at dead and saturated units against one that is born larger.

    Both have hidden layers of 64 and 32 units and train for twelve epochs on the digits. The
    control has a fifth of all connections from birth on, at random; the other begins with a
    twentieth and gets connections where units are dead or saturated, six times. The prediction is
    that of the project's first description: more accuracy from fewer parameters.
    """
    from structure_net.evolution.components import ExtremaGrowthStrategy, StandardExtremaAnalyzer

    grown: dict[str, Setting] = {
        "density": 0.05,
        "analyzers": described(StandardExtremaAnalyzer()),
        "strategies": [growing(ExtremaGrowthStrategy(patch_size=20))],
    }
    return Hypothesis(
        name="Extrema growth is efficient",
        category=HypothesisCategory.GROWTH_DYNAMICS,
        question="Does growth at dead and saturated units lead to more efficient networks?",
        prediction="Networks grown at extrema reach higher accuracy with fewer parameters.",
        experiment=evolve,
        arms=(Arm("fixed", {"density": 0.2}, control=True), Arm("grown", grown)),
        predictions=(
            Prediction("accuracy", "higher", smallest_effect=0.005),
            Prediction("parameters", "lower", smallest_effect=1),
        ),
    )
