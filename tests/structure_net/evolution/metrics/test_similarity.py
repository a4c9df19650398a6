from __future__ import annotations

import pytest
import torch
from torch import Tensor

from structure_net.evolution.metrics import (
    Unavailable,
    cka,
    cka_table,
    gaussian_kernel,
    hsic,
    linear_kernel,
)


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("debiased", [True, False])
def test_rotation_and_scale_leave_a_representation_like_itself(debiased: bool) -> None:
    x = drawn(60, 12)
    rotation = torch.linalg.qr(drawn(12, 12, seed=1)).Q
    assert cka(x, 3 * x @ rotation, debiased=debiased) == pytest.approx(1.0, abs=1e-10)


@pytest.mark.parametrize(("samples", "biased"), [(64, 0.891), (256, 0.664)])
def test_independent_representations_are_alike_only_if_biased(samples: int, biased: float) -> None:
    """The reference has .891 and .006 for 64 samples, .664 and -.002 for 256."""
    x, y = drawn(samples, 512, seed=2), drawn(samples, 512, seed=3)
    assert float(cka(x, y, debiased=False)) == pytest.approx(biased, abs=0.01)
    assert float(cka(x, y)) == pytest.approx(0.0, abs=0.02)


def test_the_biased_criterion_is_the_trace_of_the_centred_kernels() -> None:
    x, y = drawn(9, 3), drawn(9, 2, seed=1)
    k, l, h = linear_kernel(x), linear_kernel(y), torch.eye(9).double() - 1 / 9  # noqa: E741
    by_hand = float(torch.trace(k @ h @ l @ h)) / 64
    assert hsic(k, l, debiased=False) == pytest.approx(by_hand, abs=1e-10)
    feature_space = float(((x - x.mean(0)).T @ (y - y.mean(0))).square().sum()) / 64
    assert hsic(k, l, debiased=False) == pytest.approx(feature_space, abs=1e-10)


def test_the_debiased_criterion_is_the_estimator_of_song() -> None:
    n = 11
    k, l = (gaussian_kernel(drawn(n, 4, seed=seed)) for seed in (0, 1))  # noqa: E741
    k0, l0, one = k - torch.eye(n), l - torch.eye(n), torch.ones(n).double()
    by_hand = (
        torch.trace(k0 @ l0)
        + (one @ k0 @ one) * (one @ l0 @ one) / ((n - 1) * (n - 2))
        - 2 * (one @ k0 @ l0 @ one) / (n - 2)
    ) / (n * (n - 3))
    assert hsic(k, l) == pytest.approx(float(by_hand), abs=1e-12)


def test_the_debiased_criterion_is_zero_on_average_for_independent_samples() -> None:
    found = [
        float(hsic(linear_kernel(drawn(8, 5, seed=i)), linear_kernel(drawn(8, 5, seed=1000 + i))))
        for i in range(400)
    ]
    values = torch.tensor(found)
    assert abs(float(values.mean())) < 3 * float(values.std()) / 20


def test_a_table_holds_the_pairwise_figures() -> None:
    layers = [drawn(30, 4), drawn(30, 6, seed=1), drawn(30, 2, seed=2)]
    table = cka_table(layers)
    for i, first in enumerate(layers):
        for j, second in enumerate(layers):
            assert float(table[i][j]) == pytest.approx(float(cka(first, second)), abs=1e-12)
            assert table[i][j] == table[j][i]
    assert cka_table([]) == []


def test_a_representation_that_does_not_vary_is_like_nothing() -> None:
    found = cka(torch.full((20, 3), 0.1), drawn(20, 3))
    assert isinstance(found, Unavailable)
    assert "does not vary" in found.reason


def test_too_few_samples_are_a_reason_and_no_number() -> None:
    assert isinstance(cka(drawn(3, 5), drawn(3, 5)), Unavailable)
    assert isinstance(hsic(linear_kernel(drawn(3, 5)), linear_kernel(drawn(3, 5))), Unavailable)
    assert not isinstance(cka(drawn(3, 5), drawn(3, 5), debiased=False), Unavailable)


def test_representations_of_different_samples_are_refused() -> None:
    with pytest.raises(ValueError, match="same samples"):
        cka(drawn(5, 2), drawn(6, 2))
    with pytest.raises(ValueError, match="same samples"):
        hsic(drawn(5, 2), drawn(5, 2))


def test_the_gaussian_kernel_is_its_formula() -> None:
    x = torch.tensor([[0.0], [3.0], [4.0]])
    found = gaussian_kernel(x, width=2.0)
    assert float(found[0, 1]) == pytest.approx(float(torch.tensor(-9 / 8).double().exp()))
    # The distances are 3, 4 and 1: their median is 3.
    assert torch.equal(gaussian_kernel(x), gaussian_kernel(x, width=3.0))
    assert gaussian_kernel(1e4 * x) == pytest.approx(gaussian_kernel(x), abs=1e-12)
    assert torch.equal(gaussian_kernel(torch.ones(4, 2)), torch.ones(4, 4, dtype=torch.float64))
    assert torch.equal(gaussian_kernel(torch.ones(1, 2)), torch.ones(1, 1, dtype=torch.float64))


def test_many_equal_samples_fall_back_on_the_mean_distance() -> None:
    x = torch.tensor([[0.0], [0.0], [0.0], [0.0], [1.0]])
    # Six pairs at distance 0 and four at 1: the median is 0, the mean .4.
    assert torch.equal(gaussian_kernel(x), gaussian_kernel(x, width=0.4))


def test_a_width_that_is_not_positive_is_refused() -> None:
    with pytest.raises(ValueError, match="width"):
        gaussian_kernel(drawn(4, 2), width=0.0)
