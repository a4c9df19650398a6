"""How connections are spread over the layers: what the category TOPOLOGY supplies."""

from __future__ import annotations

from neural_architecture_lab.experiments.evolving import evolve
from neural_architecture_lab.hypothesis import Arm, Hypothesis, HypothesisCategory, Prediction


def connection_allocation() -> Hypothesis:
    """A twentieth of all connections, evenly over the layers or by the Erdos-Renyi rule.

    The rule gives small layers a larger share, so that units of the output layer keep inputs. The
    prediction follows Evci et al., "Rigging the lottery", ICML 2020, and what was measured on MNIST
    at 2 % with RigL (one seed): 98.01 % by the rule, 97.00 % evenly.
    """
    return Hypothesis(
        name="Allocation of connections",
        category=HypothesisCategory.TOPOLOGY,
        question="Do small layers need a larger share of few connections?",
        prediction="By the Erdos-Renyi rule the network is more accurate than with even shares.",
        experiment=evolve,
        arms=(
            Arm("even", {"density": 0.05, "allocation": "uniform"}, control=True),
            Arm("erdos_renyi", {"density": 0.05, "allocation": "erdos_renyi"}),
        ),
        predictions=(Prediction("accuracy", "higher", smallest_effect=0.01),),
    )
