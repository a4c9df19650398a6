from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from structure_net.errors import StructureNetError
from structure_net.evolution.metrics import (
    Unavailable,
    cloned_units,
    dead_confidence,
    detectable_rate,
    dormancy_scores,
    dormant_units,
    rarely_active_units,
    resting_units,
    samples_to_call_dead,
    silence_probability,
)


@pytest.mark.parametrize(("samples", "expected"), [(32, 0.968), (256, 0.774), (1024, 0.359)])
def test_a_unit_that_fires_once_in_a_thousand_looks_dead_on_small_batches(
    samples: int, expected: float
) -> None:
    # The published figures have three digits.
    assert silence_probability(1e-3, samples) == pytest.approx(expected, abs=5e-4)


@pytest.mark.parametrize(("rate", "samples"), [(1e-3, 9899), (5e-3, 1976), (2e-2, 491)])
def test_the_samples_that_make_dead_mean_something_over_a_thousand_units(
    rate: float, samples: int
) -> None:
    assert samples_to_call_dead(rate, 1000) == samples
    assert 1000 * silence_probability(rate, samples) < 0.05
    assert 1000 * silence_probability(rate, samples - 1) >= 0.05


@pytest.mark.parametrize("units", [1, 40, 1000])
def test_the_detectable_rate_is_the_inverse_of_the_samples_needed(units: int) -> None:
    for samples in (10, 491, 9899):
        rate = detectable_rate(samples, units)
        assert units * silence_probability(rate, samples) == pytest.approx(0.05, rel=1e-9)
        assert samples_to_call_dead(rate * (1 + 1e-9), units) == samples
    assert detectable_rate(0, units) == 1.0


def test_the_confidence_is_what_the_union_bound_leaves() -> None:
    assert dead_confidence(0.01, 0, 3) == 0.0
    assert dead_confidence(0.5, 4, 3) == pytest.approx(1 - 3 / 16, rel=1e-12)
    assert dead_confidence(1e-3, 9899, 1000) > 0.95
    assert dead_confidence(1.0, 1, 1000) == 1.0


def test_as_many_units_look_dead_as_the_formula_says() -> None:
    generator = torch.Generator().manual_seed(0)
    units, samples, rate = 20_000, 64, 0.02
    fired = (torch.rand(samples, units, generator=generator) < rate).any(0)
    share = float((~fired).double().mean())
    expected = silence_probability(rate, samples)
    # Five standard deviations of a binomial share.
    assert share == pytest.approx(expected, abs=5 * (expected * (1 - expected) / units) ** 0.5)


def test_dormancy_is_the_activity_relative_to_the_layer() -> None:
    activity = torch.tensor([0.0, 0.01, 1.0, 2.99], dtype=torch.float64)
    expected = activity / (1.0 + 1e-9)
    torch.testing.assert_close(dormancy_scores(activity), expected, rtol=1e-12, atol=0)
    assert dormant_units(activity).tolist() == [True, True, False, False]
    assert dormant_units(activity, 0.0).tolist() == [True, False, False, False]
    assert dormant_units(torch.zeros(3)).all()


def test_dormant_and_rarely_active_are_two_things() -> None:
    # Unit 0 fires at every sample, hardly; unit 1 fires at one sample of a thousand, strongly.
    values = torch.zeros(1000, 3, dtype=torch.float64)
    values[:, 0], values[7, 1], values[:, 2] = 0.001, 900.0, 1.0
    mean, rate = values.abs().mean(0), (values > 0).double().mean(0)
    assert dormant_units(mean).tolist() == [True, False, False]
    assert rarely_active_units(rate).tolist() == [False, True, False]


def test_resting_units_have_a_flat_activation_under_them() -> None:
    assert resting_units(torch.tensor([0.009, 0.011, 1.0])).tolist() == [True, False, False]


def test_copies_are_found_whatever_their_sign_scale_and_offset() -> None:
    generator = torch.Generator().manual_seed(0)
    own = torch.randn(300, 4, generator=generator, dtype=torch.float64)
    noisy = own[:, 2] + 0.05 * torch.randn(300, generator=generator, dtype=torch.float64)
    samples = torch.column_stack((own, 3 * own[:, 1] + 7, -own[:, 1], noisy, own[:, 0] + own[:, 3]))
    # Noise of .05 leaves a correlation of 1 / sqrt(1.0025) = .9988, a sum of two units one of .7.
    assert cloned_units(samples) == ((1, 4), (1, 5), (2, 6))
    assert cloned_units(samples, 0.9999) == ((1, 4), (1, 5))


def test_units_that_share_one_lucky_sample_are_no_clones() -> None:
    samples = torch.zeros(100, 3, dtype=torch.float64)
    samples[5, 0], samples[5, 1] = 1.0, 2.0
    samples[:50, 2] = 1.0
    assert cloned_units(samples) == ()
    assert cloned_units(torch.column_stack((samples, samples[:, 2]))) == ((2, 3),)


def test_constant_units_are_no_clones() -> None:
    assert cloned_units(torch.ones(50, 3)) == ()


def test_few_samples_show_no_clones() -> None:
    found = cloned_units(torch.randn(15, 2, generator=torch.Generator().manual_seed(0)))
    assert isinstance(found, Unavailable)
    assert "15 samples" in found.reason


def test_what_is_not_available_is_false_and_refuses_to_be_a_number() -> None:
    absent = Unavailable("too few samples")
    assert not absent
    assert absent == Unavailable("too few samples") != Unavailable("no graph")
    assert str(absent) == "not available: too few samples"
    with pytest.raises(StructureNetError, match="too few samples"):
        float(absent)
    with pytest.raises(ValueError, match="needs a reason"):
        Unavailable("")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: silence_probability(1.2, 3), r"rate must be in \[0, 1\]; got 1.2"),
        (lambda: silence_probability(0.1, -3), "samples must be 0 or more; got -3"),
        (lambda: samples_to_call_dead(0.0), r"rate must be in \(0, 1\); got 0.0"),
        (lambda: samples_to_call_dead(0.1, 0), "units must be 1 or more; got 0"),
        (lambda: detectable_rate(5, 1, false_alarms=1.0), r"false_alarms must be in \(0, 1\)"),
    ],
)
def test_impossible_arguments_are_refused(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
