"""Skip connections in a deep, narrow network."""

from __future__ import annotations

from neural_architecture_lab.experiments.evolving import described, evolve, growing
from neural_architecture_lab.hypothesis import (
    Arm,
    Hypothesis,
    HypothesisCategory,
    Prediction,
    Setting,
)


def skip_connections() -> Hypothesis:
    """Eight hidden layers of 16 units, plain or with three skip connections from birth on.

    Both begin with the same weights; the connections are projections, zero at birth, into the
    layers that could gain most by them. They bring parameters of their own (counted among the
    metrics). The prediction is that of He et al., "Deep residual learning", CVPR 2016: a deep plain
    network is hard to train, and shortcuts help; the size is a guess.
    """
    from structure_net.evolution import MaxEvents
    from structure_net.evolution.components import ShortcutAnalyzer, SkipConnectionGrowthStrategy

    hidden = [16] * 8
    grown = growing(SkipConnectionGrowthStrategy(places=3), MaxEvents(1))
    skipping: dict[str, Setting] = {
        "hidden": hidden,
        "analyzers": described(ShortcutAnalyzer()),
        "strategies": [grown],
    }
    return Hypothesis(
        name="Skip connections",
        category=HypothesisCategory.ARCHITECTURE,
        question="Do skip connections make a deep, narrow network more accurate?",
        prediction="With three skip connections it is more accurate after as many epochs.",
        experiment=evolve,
        arms=(Arm("plain", {"hidden": hidden}, control=True), Arm("skipping", skipping)),
        predictions=(Prediction("accuracy", "higher", smallest_effect=0.01),),
    )
