"""Growth at information bottlenecks: what the category INFORMATION supplies."""

from __future__ import annotations

from neural_architecture_lab.experiments.evolving import evolve, grown
from neural_architecture_lab.hypothesis import Arm, Hypothesis, HypothesisCategory, Prediction


def information_bottlenecks() -> Hypothesis:
    """Hidden layers of 32, 4 and 32 units get 4 more at one place, twice.

    Arms differ in the score that names the place: the information pressure of a layer's neighbours,
    or the share of dead and saturated units. The prediction follows ``docs/growth_location.md``,
    where on the digits the first lost .0125 nats of training loss to the best place and the second
    .0265; with so plain a bottleneck more is at stake, and twice the difference is asked for.
    """
    from structure_net.evolution import All, Cooldown, MaxEvents
    from structure_net.evolution.components import (
        SimpleInformationFlowAnalyzer,
        StandardExtremaAnalyzer,
        WidthGrowthStrategy,
    )

    hidden, when = [32, 4, 32], All(Cooldown(epochs=2), MaxEvents(2))
    by_extrema = WidthGrowthStrategy("extrema_ranking", count=4)
    by_pressure = WidthGrowthStrategy("information_ranking", count=4)
    extrema = grown(hidden, StandardExtremaAnalyzer(), by_extrema, when)
    informed = grown(hidden, SimpleInformationFlowAnalyzer(), by_pressure, when)
    return Hypothesis(
        name="Growth at information bottlenecks",
        category=HypothesisCategory.INFORMATION,
        question="Does information flow find the place where units are missing?",
        prediction="Placed by information flow, growth leads to a lower loss.",
        experiment=evolve,
        arms=(Arm("extrema", extrema, control=True), Arm("information", informed)),
        predictions=(Prediction("loss", "lower", smallest_effect=0.03),),
    )
