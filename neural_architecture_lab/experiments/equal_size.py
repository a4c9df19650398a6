"""Grown against fixed at equal final parameters."""

from __future__ import annotations

from neural_architecture_lab.experiments.evolving import evolve, grown
from neural_architecture_lab.hypothesis import Arm, Hypothesis, HypothesisCategory, Prediction


def grown_against_fixed() -> Hypothesis:
    """Two hidden layers of 48 units from birth on, against 16 that get 8 more, four times.

    Both end with 48 and 48 units and train for twelve epochs; the grown one computes less on the
    way. The prediction follows a race on MNIST (two seeds each): networks grown from 8-8 to 64-64
    reached 96.2 to 96.6 %, one of fixed size 97.1 %.
    """
    from structure_net.evolution import All, Cooldown, MaxEvents
    from structure_net.evolution.components import NetworkStatsAnalyzer, WidthGrowthStrategy

    widened = WidthGrowthStrategy("network_ranking", places=2, count=8)
    when = All(Cooldown(epochs=2), MaxEvents(4))
    widening = grown([16, 16], NetworkStatsAnalyzer(), widened, when)
    return Hypothesis(
        name="Grown against fixed",
        category=HypothesisCategory.GROWTH_DYNAMICS,
        question="Is a network that grew less accurate than one born with its final size?",
        prediction="The grown network stays behind the fixed one.",
        experiment=evolve,
        arms=(Arm("fixed", {"hidden": [48, 48]}, control=True), Arm("grown", widening)),
        predictions=(Prediction("accuracy", "lower", smallest_effect=0.005),),
    )
