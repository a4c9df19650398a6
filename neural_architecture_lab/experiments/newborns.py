"""How new units begin: at zero, at random, as copies, or by what the gradient asks for."""

from __future__ import annotations

from neural_architecture_lab.experiments.evolving import evolve, grown
from neural_architecture_lab.hypothesis import Arm, Hypothesis, HypothesisCategory, Prediction
from neural_architecture_lab.levels import Setting


def newborn_initialisation() -> Hypothesis:
    """Two hidden layers of 8 units get 8 more each, three times; what their weights are differs.

    ``zero``: outgoing weights 0; ``random``: drawn as at birth; ``copies``: of present units, with
    noise; ``gradmax``: such that the gradient is largest. The prediction follows teacher-student
    networks (Evci et al., "GradMax", ICLR 2022, and our replication with 20 teachers: final loss
    .112 with GradMax, .179 at random, .216 with zero outgoing weights). On data of another kind
    less is expected.
    """
    from structure_net.evolution import All, Cooldown, MaxEvents
    from structure_net.evolution.components import NetworkStatsAnalyzer, WidthGrowthStrategy
    from structure_net.surgery import CopyUnits, GradMax, RandomOutgoing, ZeroOutgoing
    from structure_net.surgery.initialisers import Initialiser

    def begun(initialiser: Initialiser) -> dict[str, Setting]:
        widened = WidthGrowthStrategy("network_ranking", places=2, count=8, initialiser=initialiser)
        when = All(Cooldown(epochs=2), MaxEvents(3))
        return grown([8, 8], NetworkStatsAnalyzer(), widened, when)

    return Hypothesis(
        name="Initialisation of new units",
        category=HypothesisCategory.GROWTH_DYNAMICS,
        question="Do new units learn faster from another start than outgoing weights of zero?",
        prediction="GradMax leads to a lower loss than zero, and random weights do too.",
        experiment=evolve,
        arms=(
            Arm("zero", begun(ZeroOutgoing()), control=True),
            Arm("random", begun(RandomOutgoing())),
            Arm("copies", begun(CopyUnits())),
            Arm("gradmax", begun(GradMax())),
        ),
        predictions=(
            Prediction("loss", "lower", smallest_effect=0.02, arm="gradmax"),
            Prediction("loss", "lower", smallest_effect=0.01, arm="random"),
        ),
    )
