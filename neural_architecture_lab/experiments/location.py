"""Where to grow: by what new units would gain, or where units are dead and saturated."""

from __future__ import annotations

from neural_architecture_lab.experiments.evolving import evolve, grown
from neural_architecture_lab.hypothesis import Arm, Hypothesis, HypothesisCategory, Prediction


def growth_location() -> Hypothesis:
    """Three hidden layers of 8 units get 4 more units at one place, four times.

    Arms differ in the score that names the place: the natural gain of the best new unit, or the
    share of dead and saturated units. The prediction follows ``docs/growth_location.md``, where on
    the digits a choice by the first gained .025 nats more of training loss than by the second (for
    one growth, of 80 networks of random widths). The smallest effect is less than half of that.
    """
    from structure_net.evolution import All, Cooldown, MaxEvents
    from structure_net.evolution.components import (
        GradientAnalyzer,
        StandardExtremaAnalyzer,
        WidthGrowthStrategy,
    )

    hidden, when = [8, 8, 8], All(Cooldown(epochs=2), MaxEvents(4))
    by_extrema = WidthGrowthStrategy("extrema_ranking", count=4)
    by_gain = WidthGrowthStrategy("gradient_ranking", count=4)
    extrema = grown(hidden, StandardExtremaAnalyzer(), by_extrema, when)
    gaining = grown(hidden, GradientAnalyzer(), by_gain, when)
    return Hypothesis(
        name="Growth location",
        category=HypothesisCategory.GROWTH_DYNAMICS,
        question="Is growth better placed by its expected gain than at dead and saturated units?",
        prediction="Placed by the expected gain, growth leads to a lower loss.",
        experiment=evolve,
        arms=(Arm("extrema", extrema, control=True), Arm("gain", gaining)),
        predictions=(Prediction("loss", "lower", smallest_effect=0.01),),
    )
