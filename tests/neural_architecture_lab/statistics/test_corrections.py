from __future__ import annotations

import numpy as np
import pytest

from neural_architecture_lab.statistics import benjamini_hochberg, holm


def test_holms_values_worked_out_by_hand() -> None:
    """.01 x 3, .02 x 2, .03 x 1, the last raised to the one before it."""
    assert holm([0.03, 0.01, 0.02]) == pytest.approx([0.04, 0.03, 0.04], abs=1e-12)


def test_benjamini_and_hochbergs_values_worked_out_by_hand() -> None:
    """.01 x 3, .02 x 3/2, .03."""
    assert benjamini_hochberg([0.03, 0.01, 0.02]) == pytest.approx([0.03, 0.03, 0.03], abs=1e-12)


@pytest.mark.parametrize(("ours", "name"), [(holm, "holm"), (benjamini_hochberg, "fdr_bh")])
def test_corrections_agree_with_statsmodels(ours: object, name: str) -> None:
    multitest = pytest.importorskip("statsmodels.stats.multitest")
    p = np.random.default_rng(0).uniform(size=30) ** 2
    reference = multitest.multipletests(p, method=name)[1]
    assert ours(p) == pytest.approx(reference, abs=1e-12)  # type: ignore[operator]


def test_no_tests_need_no_correction() -> None:
    assert len(holm([])) == 0
    assert len(benjamini_hochberg([])) == 0


def test_a_p_value_lies_between_zero_and_one() -> None:
    with pytest.raises(ValueError, match=r"must lie in \[0, 1\]; got 1.2"):
        holm([0.1, 1.2])
