from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest

from neural_architecture_lab.statistics import FactorEffect, factor_effects

WIDTHS, RATES, SEEDS = (16, 32, 64), (0.1, 0.01), range(6)


def trials(
    of_width: float = 0.0, of_both: float = 0.0, seed: int = 0, noise: float = 1.0
) -> tuple[dict[str, list[Any]], list[int], np.ndarray]:
    grid = list(product(SEEDS, WIDTHS, RATES))
    generator = np.random.default_rng(seed)
    of_seed = generator.normal(size=len(SEEDS)) * 3
    response = np.array(
        [
            of_seed[s]
            + of_width * WIDTHS.index(w)
            + of_both * (WIDTHS.index(w) - 1) * (1 if r == 0.1 else -1)
            for s, w, r in grid
        ]
    )
    factors: dict[str, list[Any]] = {
        "width": [w for _, w, _ in grid],
        "rate": [r for _, _, r in grid],
    }
    return (
        factors,
        [s for s, _, _ in grid],
        response + noise * generator.normal(size=len(grid)),
    )


def by_name(effects: tuple[FactorEffect, ...]) -> dict[tuple[str, ...], FactorEffect]:
    return {effect.factors: effect for effect in effects}


def test_effects_agree_with_statsmodels() -> None:
    api = pytest.importorskip("statsmodels.formula.api")
    anova = pytest.importorskip("statsmodels.stats.anova")
    pandas = pytest.importorskip("pandas")
    factors, seeds, y = trials(of_width=0.5, of_both=0.3)
    frame = pandas.DataFrame({**factors, "seed": seeds, "y": y})
    model = api.ols("y ~ C(seed, Sum) + C(width, Sum) * C(rate, Sum)", frame).fit()
    reference = anova.anova_lm(model, typ=2)
    found = by_name(factor_effects(factors, seeds, y))
    for term, row in (
        (("width",), "C(width, Sum)"),
        (("rate",), "C(rate, Sum)"),
        (("width", "rate"), "C(width, Sum):C(rate, Sum)"),
    ):
        assert found[term].f == pytest.approx(reference.loc[row, "F"], rel=1e-9)
        assert found[term].p_value == pytest.approx(reference.loc[row, "PR(>F)"], rel=1e-8)


def test_unbalanced_trials_agree_with_statsmodels_too() -> None:
    api = pytest.importorskip("statsmodels.formula.api")
    anova = pytest.importorskip("statsmodels.stats.anova")
    pandas = pytest.importorskip("pandas")
    factors, seeds, y = trials(of_width=0.5)
    keep = [place for place in range(len(y)) if place not in (3, 17, 20)]
    factors = {name: [levels[i] for i in keep] for name, levels in factors.items()}
    seeds, y = [seeds[i] for i in keep], y[keep]
    frame = pandas.DataFrame({**factors, "seed": seeds, "y": y})
    model = api.ols("y ~ C(seed, Sum) + C(width, Sum) * C(rate, Sum)", frame).fit()
    reference = anova.anova_lm(model, typ=2)
    found = by_name(factor_effects(factors, seeds, y))
    assert found["width",].f == pytest.approx(reference.loc["C(width, Sum)", "F"], rel=1e-9)
    assert found["rate",].f == pytest.approx(reference.loc["C(rate, Sum)", "F"], rel=1e-9)


@pytest.mark.parametrize("method", ["values", "aligned-ranks"])
def test_what_matters_comes_first(method: Any) -> None:
    first = factor_effects(*trials(of_width=2.0), method=method)[0]
    assert first.factors == ("width",)
    assert first.p_value < 1e-4
    assert first.freedom == (2, 25)
    assert 0 < first.share.low < first.share.value < first.share.high < 1


@pytest.mark.parametrize("method", ["values", "aligned-ranks"])
def test_an_interaction_is_told_from_its_factors(method: Any) -> None:
    found = by_name(factor_effects(*trials(of_both=2.0), method=method))
    assert found["width", "rate"].p_value < 1e-4
    # One of two effects that are not there falls below .05 in a tenth of all draws.
    assert found["width",].p_value > 0.01
    assert found["rate",].p_value > 0.01


@pytest.mark.parametrize("method", ["values", "aligned-ranks"])
def test_no_effect_is_found_as_often_as_the_level_says(method: Any) -> None:
    """200 times three effects that are not there: .05 within three deviations of .009."""
    p = [e.p_value for s in range(200) for e in factor_effects(*trials(seed=s), method=method)]
    assert 0.023 < np.mean(np.array(p) < 0.05) < 0.077


def test_ranks_bear_an_outlier() -> None:
    factors, seeds, y = trials(of_width=1.5, noise=0.5)
    y[0] += 500
    assert by_name(factor_effects(factors, seeds, y))["width",].p_value > 0.05
    ranked = by_name(factor_effects(factors, seeds, y, method="aligned-ranks"))
    assert ranked["width",].p_value < 0.05


def test_the_interval_of_a_share_inverts_the_noncentral_distribution() -> None:
    from scipy import stats

    effect = by_name(factor_effects(*trials(of_width=1.0)))["width",]
    a, b = effect.freedom
    total = a + b + 1
    for end, tail in ((effect.share.low, 0.975), (effect.share.high, 0.025)):
        noncentrality = end * total / (1 - end)
        found = stats.ncf.cdf(effect.f, a, b, noncentrality)
        assert found == pytest.approx(tail, abs=1e-6)


def test_one_trial_of_each_combination_leaves_interactions_out() -> None:
    factors = {"width": [1, 1, 2, 2, 3, 3], "rate": ["a", "b"] * 3}
    found = factor_effects(factors, [0] * 6, [1.0, 2.1, 2.0, 3.2, 3.1, 3.9])
    assert {effect.factors for effect in found} == {("width",), ("rate",)}


def test_trials_that_cannot_tell_are_refused() -> None:
    with pytest.raises(ValueError, match="'rate' must have two levels or more; got one"):
        factor_effects({"rate": [1, 1, 1]}, [0, 1, 2], [1, 2, 3])
    with pytest.raises(ValueError, match="3 responses, but the factor 'rate' has 2"):
        factor_effects({"rate": [1, 2]}, [0, 1, 2], [1, 2, 3])
    with pytest.raises(ValueError, match="too few, or too unevenly spread"):
        factor_effects({"rate": [1, 2, 3]}, [0, 1, 2], [1, 2, 3])
