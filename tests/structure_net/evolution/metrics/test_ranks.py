from __future__ import annotations

import math

import pytest
import torch

from structure_net.errors import StructureNetError
from structure_net.evolution.metrics import (
    Unavailable,
    cumulative_rank,
    effective_rank,
    numerical_rank,
    participation_ratio,
    spectrum,
    spectrum_of_covariance,
    stable_rank,
)
from structure_net.evolution.metrics import ranks as tested
from structure_net.evolution.metrics.ranks import largest_singular_values


def test_the_identity_has_every_rank_eight() -> None:
    sigma = torch.ones(8)
    ranks = [f(sigma) for f in (effective_rank, stable_rank, participation_ratio, cumulative_rank)]
    assert [float(rank) for rank in ranks] == pytest.approx([8.0] * 4, abs=1e-12)
    assert numerical_rank(torch.eye(8)) == 8


def test_two_singular_values_give_the_ranks_worked_out_by_hand() -> None:
    sigma = torch.tensor([2.0, 1.0])
    by_hand = math.exp(-(2 / 3) * math.log(2 / 3) - (1 / 3) * math.log(1 / 3))
    assert effective_rank(sigma) == pytest.approx(by_hand, abs=1e-12)
    assert by_hand == pytest.approx(1.8899, abs=5e-5)
    assert stable_rank(sigma) == pytest.approx(1.25, abs=1e-12)
    assert participation_ratio(sigma) == pytest.approx(25 / 17, abs=1e-12)


def test_a_gaussian_matrix_has_the_ranks_of_the_reference() -> None:
    """473.1, 173.3, 338.5 and 498 for 1000 x 512; other draws differ by less than one."""
    matrix = torch.randn(1000, 512, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    sigma = torch.linalg.svdvals(matrix)
    assert float(effective_rank(sigma)) == pytest.approx(473.1, abs=0.5)
    assert float(stable_rank(sigma)) == pytest.approx(173.3, abs=4)
    assert float(participation_ratio(sigma)) == pytest.approx(338.5, abs=1)
    assert float(cumulative_rank(sigma)) == pytest.approx(498, abs=1)


def test_ranks_do_not_depend_on_scale_and_order() -> None:
    sigma = torch.tensor([5.0, 0.1, 2.0, 1.0], dtype=torch.float64)
    for rank in (effective_rank, stable_rank, participation_ratio, cumulative_rank):
        assert float(rank(1e-9 * sigma.flip(0))) == pytest.approx(float(rank(sigma)), abs=1e-10)


@pytest.mark.parametrize("shape", [(40, 7), (7, 40)])
def test_the_spectrum_is_that_of_the_centred_samples(shape: tuple[int, int]) -> None:
    samples = torch.randn(shape, generator=torch.Generator().manual_seed(1)).double() + 3
    centred = torch.linalg.svdvals(samples - samples.mean(0)) / math.sqrt(shape[0])
    # The Gram matrix squares the condition number: what is 0 comes out as the root of rounding.
    assert spectrum(samples) == pytest.approx(centred, abs=1e-6)
    raw = torch.linalg.svdvals(samples) / math.sqrt(shape[0])
    assert spectrum(samples, centred=False) == pytest.approx(raw, abs=1e-6)


def test_a_covariance_has_the_spectrum_of_its_samples() -> None:
    samples = torch.randn(50, 6, generator=torch.Generator().manual_seed(2)).double()
    found = spectrum_of_covariance(samples.T.cov(correction=0))
    assert found == pytest.approx(spectrum(samples), abs=1e-10)


def test_a_common_mean_hides_the_directions_of_values_that_are_not_centred() -> None:
    samples = torch.randn(500, 20, generator=torch.Generator().manual_seed(3)).double() + 10
    assert float(stable_rank(spectrum(samples, centred=False))) < 1.05
    assert float(stable_rank(spectrum(samples))) > 12


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_units_that_do_not_vary_have_no_rank(dtype: torch.dtype) -> None:
    samples = torch.full((30, 4), 0.1, dtype=dtype)
    for rank in (effective_rank, stable_rank, participation_ratio, cumulative_rank):
        found = rank(spectrum(samples))
        assert isinstance(found, Unavailable)
        assert not found
        with pytest.raises(StructureNetError, match="do not vary"):
            float(found)


def test_the_effective_rank_of_activations_grows_with_the_samples() -> None:
    generator = torch.Generator().manual_seed(4)
    samples = torch.randn(800, 100, generator=generator)
    found = [float(effective_rank(spectrum(samples[:n]))) for n in (25, 100, 800)]
    assert found == sorted(found)
    assert found[0] < 25 < found[1] < found[2] < 100


def test_the_numerical_rank_is_relative_to_scale_and_precision() -> None:
    generator = torch.Generator().manual_seed(5)
    left, right = (torch.randn(256, 10, generator=generator) for _ in range(2))
    assert numerical_rank(left @ right.T) == 10
    tiny = 1e-8 * torch.randn(256, 256, generator=generator)
    assert numerical_rank(tiny) == 256
    assert numerical_rank(torch.zeros(3, 5)) == 0
    assert numerical_rank(torch.diag(torch.tensor([1.0, 0.01])), tolerance=0.1) == 1


def test_the_cumulative_rank_counts_what_makes_up_the_share() -> None:
    sigma = torch.tensor([6.0, 3.0, 1.0])
    assert [cumulative_rank(sigma, share) for share in (0.5, 0.6, 0.61, 0.9, 1.0)] == [
        1,
        1,
        2,
        2,
        3,
    ]


@pytest.mark.parametrize("values", [[-1.0, 2.0], [float("nan")], []])
def test_singular_values_that_are_none_are_refused(values: list[float]) -> None:
    for rank in (effective_rank, stable_rank, participation_ratio, cumulative_rank):
        with pytest.raises(ValueError, match="singular_values"):
            rank(torch.tensor(values))


def test_samples_and_shares_that_are_none_are_refused() -> None:
    with pytest.raises(ValueError, match="shape"):
        spectrum(torch.zeros(3))
    with pytest.raises(ValueError, match="finite"):
        spectrum(torch.full((2, 2), float("inf")))
    with pytest.raises(ValueError, match="share"):
        cumulative_rank(torch.ones(2), 0.0)


@pytest.mark.parametrize("shape", [(40, 25), (25, 40)])
def test_the_largest_singular_values_are_the_same_in_both_ways(
    monkeypatch: pytest.MonkeyPatch, shape: tuple[int, int]
) -> None:
    from scipy.sparse import csr_array

    generator = torch.Generator().manual_seed(0)
    dense = torch.randn(shape, generator=generator, dtype=torch.float64)
    dense[torch.rand(shape, generator=generator) < 0.8] = 0.0
    expected = torch.linalg.svdvals(dense)[:5]
    for side in (2048, 10):
        monkeypatch.setattr(tested, "_MOST_SIDE", side)
        found = largest_singular_values(csr_array(dense.numpy()), 5)
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=0)
        none = largest_singular_values(csr_array((30, 20)), 4)
        assert none.tolist() == [0.0] * 4
