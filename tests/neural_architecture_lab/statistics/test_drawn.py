from __future__ import annotations

import numpy as np
import pytest

from neural_architecture_lab.statistics import DrawnEffect, effects_of_drawn, share_of


def drawn(generator: np.random.Generator, count: int = 16) -> dict[str, list[float]]:
    return {name: generator.uniform(1, 2, count).tolist() for name in ("x", "z")}


def test_a_factor_that_matters_is_told_from_one_that_does_not() -> None:
    generator = np.random.default_rng(0)
    levels = drawn(generator, 24)
    y = 3 * np.array(levels["x"]) + 0.1 * generator.normal(size=24)
    x, z = effects_of_drawn(levels, y)
    assert isinstance(x, DrawnEffect)
    assert (x.factors, z.factors) == (("x",), ("z",))
    assert x.p_value < 0.001
    assert z.p_value > 0.05
    assert x.share.low > 0.5 > z.share.value
    assert (x.lowest, x.highest) == (min(levels["x"]), max(levels["x"]))


def test_a_valley_is_seen_where_no_line_goes_up_or_down() -> None:
    generator = np.random.default_rng(1)
    levels = drawn(generator, 30)
    y = (np.array(levels["x"]) - 1.5) ** 2 + 0.01 * generator.normal(size=30)
    x, _ = effects_of_drawn(levels, y)
    assert x.p_value < 0.001
    assert abs(x.lowest - 1.5) < 0.1


def test_levels_that_are_no_numbers_are_told_apart_by_their_means() -> None:
    generator = np.random.default_rng(2)
    kinds = generator.choice(["a", "b", "c"], 30).tolist()
    y = np.array([{"a": 0.0, "b": 1.0, "c": 0.1}[kind] for kind in kinds])
    (found,) = effects_of_drawn({"kind": kinds}, y + 0.1 * generator.normal(size=30))
    assert (found.lowest, found.highest) == ("a", "b")
    assert found.p_value < 0.001


def test_the_level_is_kept_where_another_factor_acts_as_no_parabola_can() -> None:
    generator = np.random.default_rng(3)
    runs, hits = 400, 0
    for place in range(runs):
        levels = drawn(generator)
        y = np.sign(np.sin(20 * np.array(levels["z"]))) * 5 + generator.standard_t(2, 16)
        x, _ = effects_of_drawn(levels, y, resamples=99, seed=place)
        hits += x.p_value <= 0.05
    # An exact test: three standard deviations of a binomial of 400 at .05.
    assert hits / runs <= 0.05 + 3 * (0.05 * 0.95 / runs) ** 0.5


def test_too_few_points_and_constant_factors_say_nothing() -> None:
    assert effects_of_drawn({"x": [1.0, 2.0, 3.0, 4.0]}, [1.0, 2.0, 3.0, 4.0]) == ()
    assert effects_of_drawn({"x": [1.0] * 9}, np.arange(9.0)) == ()
    with pytest.raises(ValueError, match="9 outcomes, but the factor 'x' has 3"):
        effects_of_drawn({"x": [1.0, 2.0, 3.0]}, np.arange(9.0))


def test_a_share_is_partial_eta_squared() -> None:
    # f * effect / (f * effect + residual), by hand.
    assert share_of(4.0, 2, 8).value == pytest.approx(0.5)
    assert share_of(4.0, 2, 8).low < 0.5 < share_of(4.0, 2, 8).high
