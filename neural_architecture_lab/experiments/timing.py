"""When to grow: early, late, or where learning stalls."""

from __future__ import annotations

from neural_architecture_lab.experiments.evolving import evolve, grown
from neural_architecture_lab.hypothesis import Arm, Hypothesis, HypothesisCategory, Prediction
from neural_architecture_lab.levels import Setting


def growth_timing() -> Hypothesis:
    """Two hidden layers of 8 units get 24 more each: after 2 epochs, after 8, or at a plateau.

    Each grows once. All begin with the same weights and train for twelve epochs, so that units that
    come early are trained for longer; that is all that the prediction rests on, and its size is a
    guess. At a plateau: once the validation loss did not fall for two epochs, which may be never.
    """
    from structure_net.evolution import All, Cooldown, MaxEvents, Plateau, Trigger
    from structure_net.evolution.components import NetworkStatsAnalyzer, WidthGrowthStrategy

    widened = WidthGrowthStrategy("network_ranking", places=2, count=24)

    def once(when: Trigger) -> dict[str, Setting]:
        return grown([8, 8], NetworkStatsAnalyzer(), widened, All(when, MaxEvents(1)))

    return Hypothesis(
        name="Growth timing",
        category=HypothesisCategory.GROWTH_DYNAMICS,
        question="Does it pay to grow early rather than late, or when learning stalls?",
        prediction="Growth after two epochs is more accurate than after eight or at a plateau.",
        experiment=evolve,
        arms=(
            Arm("early", once(Cooldown(epochs=2)), control=True),
            Arm("late", once(Cooldown(epochs=8))),
            Arm("plateau", once(Plateau(patience=2))),
        ),
        predictions=(
            Prediction("accuracy", "lower", smallest_effect=0.005, arm="late"),
            Prediction("accuracy", "lower", smallest_effect=0.005, arm="plateau"),
        ),
    )
