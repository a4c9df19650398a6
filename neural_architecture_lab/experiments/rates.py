"""Learning rates behind growth: what the category OPTIMIZATION supplies."""

from __future__ import annotations

from neural_architecture_lab.experiments.evolving import evolve, grown
from neural_architecture_lab.hypothesis import Arm, Hypothesis, HypothesisCategory, Prediction
from neural_architecture_lab.levels import Setting


def learning_rate_after_growth() -> Hypothesis:
    """Two hidden layers of 8 units get 8 more each, three times; learning rates answer, or do not.

    ``young``: new weights learn twice as fast at first (half of it is gone after 40 steps).
    ``scaffold``: for an epoch what was there learns at a tenth of its rate. Both are what the
    project's first description asks for. That the young ones gain by it is its claim; that slowing
    the rest costs as much as it brings in so short a training is a guess of ours.
    """
    from structure_net.evolution import All, Cooldown, MaxEvents
    from structure_net.evolution.components import NetworkStatsAnalyzer, WidthGrowthStrategy

    widened = WidthGrowthStrategy("network_ranking", places=2, count=8)
    when = All(Cooldown(epochs=2), MaxEvents(3))
    even = grown([8, 8], NetworkStatsAnalyzer(), widened, when)
    young: dict[str, Setting] = {"kind": "AgeBasedRates", "young_factor": 2.0, "half_life": 40.0}
    scaffold: dict[str, Setting] = {
        "kind": "GrowthPhaseScheduler",
        "scaffold_factor": 0.1,
        "growth_steps": 21,
        "warmup_steps": 5,
    }
    return Hypothesis(
        name="Learning rates after growth",
        category=HypothesisCategory.OPTIMIZATION,
        question="Should new weights learn faster than old ones after a growth?",
        prediction="Faster young weights lower the loss; slower old ones make no difference.",
        experiment=evolve,
        arms=(
            Arm("even", even, control=True),
            Arm("young", {**even, "rates": [young]}),
            Arm("scaffold", {**even, "rates": [scaffold]}),
        ),
        predictions=(
            Prediction("loss", "lower", smallest_effect=0.01, arm="young"),
            Prediction("loss", "same", smallest_effect=0.03, arm="scaffold"),
        ),
    )
