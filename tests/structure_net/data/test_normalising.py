"""Normalisation: zero mean, unit deviation, by float64 statistics."""

from __future__ import annotations

import pytest
import torch

from structure_net.data.normalising import Normalisation, Scaling


@pytest.mark.parametrize(
    ("scaling", "dims"), [("channel", (0, 2, 3)), ("feature", (0,)), ("whole", (0, 1, 2, 3))]
)
def test_statistics_are_those_of_float64(scaling: Scaling, dims: tuple[int, ...]) -> None:
    # Several chunks of values, far from zero: what float32 sums would get wrong.
    generator = torch.Generator().manual_seed(0)
    samples = 1000 + 3 * torch.randn(7000, 3, 4, 5, generator=generator)
    found = Normalisation.fit(samples, scaling)
    deviation, mean = torch.std_mean(samples.double(), dims, correction=0, keepdim=True)
    torch.testing.assert_close(found.mean, mean[0], rtol=1e-12, atol=0)
    torch.testing.assert_close(found.deviation, deviation[0], rtol=1e-9, atol=0)


@pytest.mark.parametrize("scaling", ["channel", "feature", "whole"])
def test_bytes_are_normalised_like_the_numbers_they_stand_for(scaling: Scaling) -> None:
    generator = torch.Generator().manual_seed(0)
    bytes_ = torch.randint(0, 256, (40, 2, 3, 3), generator=generator, dtype=torch.uint8)
    one, other = (Normalisation.fit(x, scaling)(x) for x in (bytes_, bytes_.double()))
    assert one.dtype == torch.float32
    # One rounding of float32 each in mean, deviation, difference and quotient, of values below 3.
    torch.testing.assert_close(one, other, rtol=0, atol=4 * 3 * 2**-23)


def test_what_does_not_vary_becomes_zero() -> None:
    samples = torch.full((10, 2), 7.0)
    assert torch.equal(Normalisation.fit(samples, "feature")(samples), torch.zeros(10, 2))


def test_no_scaling_leaves_the_values() -> None:
    samples = torch.tensor([[1.0, -1.0], [1.0, 1.0]])
    assert torch.equal(Normalisation.fit(samples, "none")(samples), samples)


def test_normalising_leaves_its_argument() -> None:
    samples = torch.arange(6.0).reshape(3, 2)
    before = samples.clone()
    Normalisation.fit(samples, "feature")(samples)
    assert torch.equal(samples, before)
