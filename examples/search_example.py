"""Optuna searches for good settings of a strategy, and the lab tests what was found.

Run it with ``python examples/search_example.py``, where the extra ``optuna`` is installed; it takes
some seconds. Results lie in ``search_results``: a second call runs nothing again, and
``nal report --results search_results`` prints them.
"""

from __future__ import annotations

from typing import Any

from neural_architecture_lab import LabConfig, NeuralArchitectureLab, Prediction, Trial
from neural_architecture_lab.experiments import described, evolve, growing
from neural_architecture_lab.searching import Search
from structure_net.evolution.components import ExtremaGrowthStrategy, StandardExtremaAnalyzer


def suggest(trial: Any) -> dict[str, Any]:
    """A setting: how fast it learns, and by how many connections it grows at a time."""
    strategy = ExtremaGrowthStrategy(patch_size=trial.suggest_int("patch_size", 5, 40))
    return {
        "learning_rate": trial.suggest_float("learning_rate", 1e-3, 3e-2, log=True),
        "strategies": [growing(strategy)],
    }


def validated(trial: Trial, *, device: str) -> dict[str, float]:
    """What the search looks at are validation data, so that the test data stay unseen."""
    outcome = evolve(trial, device=device)
    validation = outcome.curves["validation_accuracy"][-1]
    return {"validation_accuracy": validation, "accuracy": outcome.metrics["accuracy"]}


lab = NeuralArchitectureLab(LabConfig(results_dir="search_results"))
fixed: dict[str, Any] = {
    "density": 0.05,
    "iterations": 3,
    "epochs": 1,
    "analyzers": described(StandardExtremaAnalyzer()),
}
found = lab.search(
    Search(
        name="Rates and patches",
        question="How fast should a network learn that grows at dead and saturated units?",
        experiment=validated,
        space=suggest,
        settings=fixed,
        objectives={"validation_accuracy": "higher"},
        tries=8,
    )
)
print(found)
for one in found.searched.tries:
    print(one.number, one.state, dict(one.params), one.values)

# The best of eight looks better than it is. Seeds that it has not seen say how good it is.
default = {**fixed, "strategies": [growing(ExtremaGrowthStrategy())]}
claim = Prediction("accuracy", "higher", smallest_effect=0.005)
hypothesis = found.hypothesis(default, predictions=[claim], seeds=5)
print(lab.run_hypothesis_test(lab.register_hypothesis(hypothesis)))
