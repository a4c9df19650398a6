from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from structure_net.evolution.metrics.gradients import (
    GradientScale,
    cosine_of_total,
    gradient_diversity,
    gradient_scale,
    mean_pairwise_cosine,
    sample_variance,
    scale_of_batches,
    share_of_squares,
)
from structure_net.evolution.metrics.validity import Unavailable


def _samples(count: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients with mean (3, 0, 4, 0, ...) and standard deviations 1, 2, ..., 10."""
    draw = torch.Generator().manual_seed(seed)
    mean = torch.zeros(10, dtype=torch.float64)
    mean[0], mean[2] = 3, 4
    deviation = torch.arange(1, 11, dtype=torch.float64)
    noise = torch.randn(count, 10, generator=draw, dtype=torch.float64)
    return mean + noise * deviation, mean, deviation


def _moments(gradients: Tensor, batch: int) -> tuple[Tensor, Tensor, int, float]:
    means = gradients.unflatten(0, (-1, batch)).mean(1)
    return means.mean(0), means.square().mean(0), len(means), float(batch)


def test_the_noise_scale_of_known_variance_is_found() -> None:
    """tr(Sigma) = 1 + 4 + ... + 100 = 385 and |g|^2 = 25, so that the noise scale is 15.4.

    From 100,000 samples the variance has a relative error of 0.3 % and |g|^2 one of 1.7 % (one
    standard deviation, 2 sqrt(g' Sigma g / n) / |g|^2); three of them are allowed.
    """
    gradients, _, _ = _samples(100_000)
    for batch in (1, 10, 100):
        scale = scale_of_batches(*_moments(gradients, batch))
        assert isinstance(scale, GradientScale)
        assert scale.variance == pytest.approx(385, rel=0.05 if batch > 1 else 0.01)
        assert float(scale.noise_scale) == pytest.approx(15.4, rel=0.1)
        assert float(scale.signal_to_noise(100)) == pytest.approx(math.sqrt(100 / 15.4), rel=0.05)


def test_both_estimates_are_unbiased_however_few_the_samples() -> None:
    """The mean over 4,000 draws of three batches of two; its own deviation is about 1 %."""
    found = [scale_of_batches(*_moments(_samples(6, seed)[0], 2)) for seed in range(4000)]
    scales = [one for one in found if isinstance(one, GradientScale)]
    assert sum(one.variance for one in scales) / 4000 == pytest.approx(385, rel=0.04)
    squares = torch.tensor([one.squared_norm for one in scales], dtype=torch.float64)
    allowed = 4 * float(squares.std()) / math.sqrt(4000)
    assert float(squares.mean()) == pytest.approx(25, abs=allowed)


def test_two_sizes_without_noise_agree_exactly() -> None:
    scale = gradient_scale((4, 25.0), (16, 25.0))
    assert scale == GradientScale(25.0, 0.0)
    assert isinstance(scale, GradientScale)
    assert scale.noise_scale == 0
    assert scale.signal_to_noise() == math.inf


def test_two_sizes_solve_their_two_equations() -> None:
    square, variance = 2.0, 12.0
    scale = gradient_scale((3, square + variance / 3), (8, square + variance / 8))
    assert isinstance(scale, GradientScale)
    assert (scale.squared_norm, scale.variance) == pytest.approx((square, variance), abs=1e-12)
    assert scale.noise_scale == pytest.approx(6)


def test_a_gradient_that_drowns_in_noise_has_no_noise_scale() -> None:
    scale = gradient_scale((1, 10.0), (4, 2.0))
    assert isinstance(scale, GradientScale)
    assert scale.squared_norm < 0
    for value in (scale.noise_scale, scale.signal_to_noise()):
        assert isinstance(value, Unavailable)
        assert "more batches" in value.reason


def test_one_batch_says_nothing_of_the_noise_between_batches() -> None:
    mean = torch.ones(3, dtype=torch.float64)
    assert isinstance(scale_of_batches(mean, mean, 1, 8), Unavailable)
    assert isinstance(sample_variance(mean, mean, 1, 8), Unavailable)


def test_sizes_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ValueError, match="smaller first"):
        gradient_scale((8, 1.0), (4, 1.0))
    with pytest.raises(ValueError, match="batch_size must be 1 or more"):
        GradientScale(1.0, 1.0).signal_to_noise(0)


def test_the_variance_of_samples_follows_from_batches() -> None:
    """Batches of one give the plain unbiased variance; larger ones estimate the same."""
    gradients, _, deviation = _samples(20_000)
    exact = sample_variance(*_moments(gradients, 1))
    assert isinstance(exact, Tensor)
    torch.testing.assert_close(exact, gradients.var(0), rtol=1e-10, atol=0)
    # 2,000 batches: a relative deviation of sqrt(2 / 2000) = 3 %.
    found = sample_variance(*_moments(gradients, 10))
    assert isinstance(found, Tensor)
    torch.testing.assert_close(found, deviation.square(), rtol=0.15, atol=0)


def test_equal_gradients_have_diversity_and_cosine_one() -> None:
    gradients = torch.tensor([[1.0, 2.0]] * 5, dtype=torch.float64)
    assert mean_pairwise_cosine(gradients) == pytest.approx(1, abs=1e-12)
    assert gradient_diversity(5.0, 5.0) == 1


def test_orthogonal_gradients_have_diversity_n_and_cosine_zero() -> None:
    gradients = 3 * torch.eye(7, dtype=torch.float64)
    square_of_mean = float(gradients.mean(0).square().sum())
    assert gradient_diversity(9.0, square_of_mean) == pytest.approx(7)
    assert mean_pairwise_cosine(gradients) == pytest.approx(0, abs=1e-12)


def test_the_mean_cosine_is_that_over_all_pairs() -> None:
    gradients, _, _ = _samples(9)
    unit = gradients / gradients.norm(dim=1, keepdim=True)
    pairs = (unit @ unit.T)[~torch.eye(9, dtype=torch.bool)]
    silent = torch.cat([gradients, torch.zeros(2, 10, dtype=torch.float64)])
    assert mean_pairwise_cosine(silent) == pytest.approx(float(pairs.mean()), abs=1e-12)


def test_what_has_no_direction_has_no_cosine_and_no_share() -> None:
    assert isinstance(mean_pairwise_cosine(torch.zeros(4, 3)), Unavailable)
    assert isinstance(cosine_of_total(1.0, 1), Unavailable)
    assert isinstance(gradient_diversity(1.0, 0.0), Unavailable)
    assert isinstance(share_of_squares(torch.zeros(3, 2), torch.ones(3).bool()), Unavailable)


def test_shares_of_a_layer_s_gradient_add_up_to_one() -> None:
    gradient = torch.tensor([[3.0, 4.0], [0.0, 5.0]], dtype=torch.float64)
    first = torch.tensor([True, False])
    assert share_of_squares(gradient, first) == pytest.approx(0.5)
    assert share_of_squares(gradient[:, 1], first) == pytest.approx(16 / 41)
