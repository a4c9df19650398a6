"""How few connections will do."""

from __future__ import annotations

from neural_architecture_lab.experiments.evolving import evolve
from neural_architecture_lab.hypothesis import Arm, Hypothesis, HypothesisCategory, Prediction


def sparsity_level() -> Hypothesis:
    """A dense network against the same with half, and with a twentieth, of its connections.

    The prediction follows what was measured on MNIST with a static pattern of 2 % (98.53 % dense,
    95.71 % sparse, 784-300-100-10, 30 epochs): a loss of some points where connections are few.
    That half of them cost nothing is a guess from the pruning literature (Han et al., "Learning
    both weights and connections", NeurIPS 2015), where networks lose more without harm.
    """
    return Hypothesis(
        name="Sparsity level",
        category=HypothesisCategory.SPARSITY,
        question="How many connections can be left out from birth on before accuracy suffers?",
        prediction="Half of the connections are as accurate as all; a twentieth is not.",
        experiment=evolve,
        arms=(
            Arm("dense", control=True),
            Arm("half", {"density": 0.5}),
            Arm("twentieth", {"density": 0.05}),
        ),
        predictions=(
            Prediction("accuracy", "same", smallest_effect=0.01, arm="half"),
            Prediction("accuracy", "lower", smallest_effect=0.02, arm="twentieth"),
        ),
    )
