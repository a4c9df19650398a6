from __future__ import annotations

import numpy as np
import pytest

from neural_architecture_lab.statistics import (
    Profile,
    interquartile_mean,
    performance_profile,
    probability_of_improvement,
    stratified_interval,
)

SCORES = np.random.default_rng(0).normal(size=(10, 4))


def test_the_interquartile_mean_leaves_out_a_quarter_on_both_sides() -> None:
    assert interquartile_mean([0, 1, 2, 3, 4, 5, 6, 1000]) == (2 + 3 + 4 + 5) / 4
    assert interquartile_mean(np.arange(16).reshape(4, 4)) == np.arange(4, 12).mean()


def test_tasks_keep_their_own_seeds_in_the_bootstrap() -> None:
    """Two tasks that are constant: whatever seeds are drawn, the mean is the same."""
    table = np.tile([[1.0, 3.0]], (5, 1))
    found = stratified_interval(table, np.mean)
    assert (found.low, found.value, found.high) == (2, 2, 2)


def test_the_interval_of_an_aggregate_holds_it() -> None:
    found = stratified_interval(SCORES, seed=1)
    assert found.low < found.value < found.high
    assert found == stratified_interval(SCORES, seed=1)


def test_a_profile_falls_from_all_to_none() -> None:
    found = performance_profile(SCORES, [-10, 0, 10], resamples=200)
    assert isinstance(found, Profile)
    assert found.fractions.tolist() == [1, (SCORES > 0).mean(), 0]
    assert (found.low <= found.fractions).all()
    assert (found.fractions <= found.high).all()


def test_improvement_counts_pairs_of_runs_within_a_task() -> None:
    """Task 1: 3 of 4 pairs are won and 1 is tied; task 2: all are lost."""
    found = probability_of_improvement([[2, 0], [3, 0]], [[1, 5], [2, 5]])
    assert found == (3.5 / 4 + 0) / 2
    assert probability_of_improvement(SCORES, SCORES) == 0.5


def test_scores_are_a_table_of_finite_numbers() -> None:
    with pytest.raises(ValueError, match=r"shape \(seeds, tasks\)"):
        stratified_interval([1.0, 2.0])
    with pytest.raises(ValueError, match="same tasks; got 4 and 2"):
        probability_of_improvement(SCORES, SCORES[:, :2])
    with pytest.raises(ValueError, match="must be finite"):
        performance_profile([[1.0], [float("nan")]], [0.0])
