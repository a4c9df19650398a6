"""What measures of representations must not depend on, and between which bounds they lie."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from structure_net.evolution.metrics import (
    Unavailable,
    bottleneck_scores,
    cka,
    correlation,
    effective_rank,
    gaussian_kernel,
    noisy_information,
    participation_ratio,
    redundant_pairs,
    renyi_entropy,
    spectrum,
    stable_rank,
    unconnected_pairs,
)

CASES = settings(max_examples=30)


@st.composite
def clouds(draw: st.DrawFn) -> Tensor:
    """Samples of units that mix a few sources, some of them rectified."""
    samples, units = draw(st.integers(8, 40)), draw(st.integers(2, 12))
    sources = draw(st.integers(1, units))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 10_000)))
    values = torch.randn(samples, sources, generator=generator, dtype=torch.float64)
    mixing = torch.randn(sources, units, generator=generator, dtype=torch.float64)
    mixed: Tensor = values @ mixing + draw(st.sampled_from([0.0, 5.0]))
    return mixed.relu() if draw(st.booleans()) else mixed


def turned(cloud: Tensor) -> Tensor:
    """Rotated, scaled and moved."""
    generator = torch.Generator().manual_seed(1)
    square = torch.randn(cloud.size(1), cloud.size(1), generator=generator, dtype=torch.float64)
    moved: Tensor = 0.3 * cloud @ torch.linalg.qr(square).Q + 2.0
    return moved


@CASES
@given(clouds())
def test_ranks_and_similarity_do_not_depend_on_the_axes(cloud: Tensor) -> None:
    sigma, again = spectrum(cloud), spectrum(turned(cloud))
    if not sigma.any():
        return
    for rank in (effective_rank, stable_rank, participation_ratio):
        # Singular values that are 0 come out as up to 1e-7 of the largest.
        assert float(rank(again)) == pytest.approx(float(rank(sigma)), rel=1e-4)
        assert 1 - 1e-9 <= float(rank(sigma)) <= min(len(cloud) - 1, cloud.size(1)) + 1e-4
    assert float(cka(cloud, turned(cloud))) == pytest.approx(1.0, abs=1e-8)


@CASES
@given(clouds())
def test_ranks_are_ordered(cloud: Tensor) -> None:
    """They are the exponentials of entropies of falling order, of ever more peaked shares."""
    sigma = spectrum(cloud)
    if sigma.any():
        ranks = [float(rank(sigma)) for rank in (stable_rank, participation_ratio, effective_rank)]
        assert ranks == pytest.approx(sorted(ranks), rel=1e-9)


@CASES
@given(clouds())
def test_correlations_do_not_depend_on_offset_and_scale_of_units(cloud: Tensor) -> None:
    factors = torch.linspace(0.5, 2.0, cloud.size(1), dtype=torch.float64)
    found = correlation(cloud * factors - 3.0)
    assert found.numpy() == pytest.approx(correlation(cloud).numpy(), abs=1e-9, nan_ok=True)
    known = found[~found.isnan()]
    assert bool((known.abs() <= 1).all())


@CASES
@given(clouds())
def test_matrix_entropy_lies_between_nothing_and_the_number_of_samples(cloud: Tensor) -> None:
    entropy = float(renyi_entropy(gaussian_kernel(cloud)))
    assert -1e-9 <= entropy <= math.log2(len(cloud)) + 1e-9
    assert float(renyi_entropy(gaussian_kernel(turned(cloud)))) == pytest.approx(entropy, abs=1e-6)


@CASES
@given(clouds(), st.floats(0.2, 3.0))
def test_noisy_information_lies_below_its_upper_bound(cloud: Tensor, noise: float) -> None:
    spread = float(cloud.std(0).norm()) or 1.0
    found = noisy_information(cloud, noise * spread, generator=torch.Generator().manual_seed(0))
    if not isinstance(found, Unavailable):
        assert 0 <= found.bits <= found.upper_bits + 1e-9
        assert found.bits <= math.log2(len(cloud))


@CASES
@given(clouds(), st.floats(0.5, 1.0))
def test_redundant_units_are_dropped_once_and_never_kept(cloud: Tensor, threshold: float) -> None:
    covariance = cloud.T.cov(correction=0).reshape(cloud.size(1), -1)
    pairs = redundant_pairs(covariance, cloud.mean(0), threshold=threshold)
    dropped = [pair.dropped for pair in pairs]
    assert len(set(dropped)) == len(dropped)
    assert not set(dropped) & {pair.kept for pair in pairs}
    assert all(pair.correlation >= threshold - 1e-12 for pair in pairs)


@CASES
@given(clouds(), st.integers(0, 20), st.integers(0, 1000))
def test_pairs_worth_connecting_are_free_distinct_and_sorted(
    cloud: Tensor, count: int, seed: int
) -> None:
    found = correlation(cloud)
    generator = torch.Generator().manual_seed(seed)
    connected = torch.rand(found.shape, generator=generator) < 0.5
    pairs = unconnected_pairs(found, connected, count=count, least=0.3)
    assert len({pair[:2] for pair in pairs}) == len(pairs) <= count
    assert all(not connected[row, column] for row, column, _ in pairs)
    strengths = [abs(value) for _, _, value in pairs]
    # Within 1e-6 they are ties, which places break.
    assert all(one >= other - 1e-6 for one, other in pairwise(strengths))
    assert all(strength >= 0.3 for strength in strengths)


@CASES
@given(
    st.dictionaries(
        st.sampled_from(["gradient_variance", "activation_diversity"]),
        st.lists(st.floats(-1e6, 1e6), min_size=3, max_size=3),
        min_size=1,
    )
)
def test_the_hybrid_score_lies_between_nought_and_one(values: dict[str, list[float]]) -> None:
    measured = {name: dict(zip("abc", row, strict=True)) for name, row in values.items()}
    scores = bottleneck_scores(measured)
    assert isinstance(scores, dict)
    assert set(scores) == {"a", "b", "c"}
    assert all(0 <= score <= 1 for score in scores.values())
    assert list(scores.values()) == sorted(scores.values(), reverse=True)
