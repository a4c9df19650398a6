"""Static against dynamic sparsity: what the category SPARSITY supplies."""

from __future__ import annotations

from neural_architecture_lab.experiments.evolving import described, evolve, growing
from neural_architecture_lab.hypothesis import Arm, Hypothesis, HypothesisCategory, Prediction
from neural_architecture_lab.levels import Setting


def static_against_dynamic() -> Hypothesis:
    """A twentieth of all connections: left where they are, or moved by SET or by RigL.

    All begin with the same pattern and weights and keep their number of connections. The prediction
    follows what was measured on MNIST at 2 % (784-300-100-10, 30 epochs, one seed): static 95.71 %,
    SET 97.39 %, RigL 98.01 %. The digits give the masks fewer steps, so that less is asked for.

    References:
        Mocanu et al., Nature Communications 2018 (SET). Evci et al., ICML 2020 (RigL).
    """
    from structure_net.evolution.components import (
        ConnectionAnalyzer,
        RigL,
        SparseEvolutionaryTraining,
    )

    sparse: dict[str, Setting] = {"density": 0.05}
    evolving = [growing(SparseEvolutionaryTraining(horizon=9))]
    looking = described(ConnectionAnalyzer())
    rigged = [growing(RigL(horizon=9))]
    return Hypothesis(
        name="Static against dynamic sparsity",
        category=HypothesisCategory.SPARSITY,
        question="Are moving connections more accurate than as many that stay?",
        prediction="Connections that move where the gradient is large, or at random, win.",
        experiment=evolve,
        arms=(
            Arm("static", sparse, control=True),
            Arm("set", {**sparse, "strategies": evolving}),
            Arm("rigl", {**sparse, "strategies": rigged, "analyzers": looking}),
        ),
        predictions=(
            Prediction("accuracy", "higher", smallest_effect=0.005, arm="set"),
            Prediction("accuracy", "higher", smallest_effect=0.01, arm="rigl"),
        ),
    )
