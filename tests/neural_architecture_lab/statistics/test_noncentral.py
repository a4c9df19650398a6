from __future__ import annotations

import numpy as np
import pytest
from scipy import integrate, stats

from neural_architecture_lab.statistics.noncentral import noncentral_t_cdf


@pytest.mark.parametrize("freedom", [1, 2, 5, 30, 400, 20_000])
def test_without_an_effect_it_is_students(freedom: int) -> None:
    for t in (-30.0, -2.0, 0.0, 0.7, 4.0):
        expected = stats.t.cdf(t, freedom)
        assert noncentral_t_cdf(t, freedom, 0.0) == pytest.approx(expected, abs=1e-13)


@pytest.mark.parametrize(("freedom", "shift"), [(1, 1.0), (4, -2.5), (9, 3.0), (60, 8.0)])
def test_it_is_the_integral_that_defines_it(freedom: int, shift: float) -> None:
    for t in (-4.0, 0.5, 3.0, 12.0):
        expected, _ = integrate.quad(
            lambda s, t=t: (
                stats.norm.cdf(t * s - shift)
                * stats.chi.pdf(s * freedom**0.5, freedom)
                * freedom**0.5
            ),
            0,
            20,
            points=[0.5, 1, 2],
            epsabs=1e-13,
        )
        assert noncentral_t_cdf(t, freedom, shift) == pytest.approx(expected, abs=1e-10)


def test_far_tails_are_numbers() -> None:
    """Where scipy 1.17 answers NaN: five degrees of freedom, a statistic of -14."""
    for shift in np.linspace(-60, 60, 241):
        assert 0 <= noncentral_t_cdf(-14.0, 5, float(shift)) <= 1
    assert noncentral_t_cdf(-14.0, 5, 11.6) < 1e-12
