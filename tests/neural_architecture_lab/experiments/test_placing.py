from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import spearmanr

from neural_architecture_lab.errors import HypothesisError
from neural_architecture_lab.experiments import ready_hypothesis
from neural_architecture_lab.experiments.placing import place, predicting_places, rank_correlation
from neural_architecture_lab.outcomes import Outcome
from neural_architecture_lab.trials import Trial


@pytest.fixture(scope="module")
def outcomes() -> dict[str, Outcome]:
    return {
        arm.name: place(Trial("h", arm.name, 3, {**arm.settings, "epochs": 1}), device="cpu")
        for arm in predicting_places().arms
    }


def test_all_arms_judge_the_same_gains(outcomes: dict[str, Outcome]) -> None:
    gains = [found.curves["gains"] for found in outcomes.values()]
    assert all(one == gains[0] for one in gains)
    assert len(set(gains[0])) == 3


def test_the_regret_is_what_the_chosen_place_gains_less_than_the_best(
    outcomes: dict[str, Outcome],
) -> None:
    for found in outcomes.values():
        gains, scores = (np.array(found.curves[name]) for name in ("gains", "scores"))
        chosen = gains[scores == scores.max()].mean()
        # The same float64 subtraction as the experiment's.
        assert found.metrics["regret"] == gains.max() - chosen
        assert found.metrics["regret"] >= 0
        assert found.metrics["best_gain"] == gains.max()


def test_rank_correlation_is_spearmans() -> None:
    drawn = np.random.default_rng(0)
    for _ in range(20):
        first, second = drawn.integers(0, 6, (2, 9)).astype(float)
        # Both are the correlation of the same ranks in float64.
        assert rank_correlation(first, second) == pytest.approx(
            spearmanr(first, second).statistic, abs=1e-10
        )
    assert rank_correlation([1.0, 1.0, 1.0], [1.0, 2.0, 3.0]) == 0


def test_a_score_that_says_nothing_of_the_layers_is_refused() -> None:
    arm = ready_hypothesis("predicting_places").control
    settings = {**arm.settings, "score": "gradient_batch_size", "epochs": 1}
    with pytest.raises(HypothesisError, match="'gradient_batch_size' says nothing of any of"):
        place(Trial("h", "a", 0, settings), device="cpu")
