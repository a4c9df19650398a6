from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from structure_net.core import SparsePattern
from structure_net.evolution.metrics import (
    OjaStatistics,
    RedundantPair,
    Unavailable,
    correlation,
    correlation_of_covariance,
    oja_statistics,
    oja_step,
    redundant_pairs,
    unconnected_pairs,
)
from structure_net.evolution.metrics import hebbian as tested
from structure_net.evolution.metrics.hebbian import (
    correlation_blocks,
    oja_by_blocks,
    unconnected_units,
)
from structure_net.surgery import AddConnections, MergeNeurons
from structure_net.surgery import edit as edited


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def redundant(samples: Tensor, threshold: float = 0.99) -> tuple[RedundantPair, ...]:
    return redundant_pairs(samples.T.cov(correction=0), samples.mean(0), threshold=threshold)


def test_correlations_are_those_of_numpy() -> None:
    x = drawn(50, 5) @ drawn(5, 5, seed=1) + 3
    y = drawn(50, 2, seed=2)
    whole = np.corrcoef(torch.cat([x, y], 1).numpy(), rowvar=False)
    assert correlation(x).numpy() == pytest.approx(whole[:5, :5], abs=1e-10)
    assert correlation(x, y).numpy() == pytest.approx(whole[:5, 5:], abs=1e-10)
    covariance = x.T.cov(correction=0)
    assert correlation_of_covariance(covariance).numpy() == pytest.approx(whole[:5, :5], abs=1e-10)
    between = (y - y.mean(0)).T @ (x - x.mean(0)) / 50
    found = correlation_of_covariance(between, y.var(0, correction=0), covariance.diagonal())
    assert found.numpy() == pytest.approx(whole[5:, :5], abs=1e-10)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_unit_that_does_not_vary_correlates_with_nothing(dtype: torch.dtype) -> None:
    x = torch.cat([torch.full((30, 1), 0.1), drawn(30, 2).float()], 1).to(dtype)
    found = correlation(x)
    assert found[0].isnan().all()
    assert found[:, 0].isnan().all()
    assert not found[1:, 1:].isnan().any()
    still = correlation_of_covariance(torch.diag(torch.tensor([0.0, 1.0])))
    assert still.isnan().tolist() == [[True, True], [True, False]]


def test_layers_of_different_samples_are_refused() -> None:
    with pytest.raises(ValueError, match="same samples"):
        correlation(drawn(5, 2), drawn(6, 2))


def test_copies_are_redundant_and_can_be_merged_without_moving_the_output() -> None:
    generator = torch.Generator().manual_seed(3)
    first = nn.Linear(4, 6)
    network = nn.Sequential(first, nn.ReLU(), nn.Linear(6, 3)).double()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
        first.weight[[4, 5]] = first.weight[1].clone()
        first.bias[[4, 5]] = first.bias[1].clone()
    inputs = drawn(200, 4, seed=4)
    pairs = redundant(network[:2](inputs).detach())
    assert {pair.kept for pair in pairs} | {pair.dropped for pair in pairs} == {1, 4, 5}
    assert len(pairs) == 2
    assert all(pair.mismatch < 1e-7 for pair in pairs)
    before = network(inputs)
    change = MergeNeurons("0", tuple((pair.kept, pair.dropped) for pair in pairs))
    after = edited(network, change, inputs)(inputs)
    assert after.detach().numpy() == pytest.approx(before.detach().numpy(), abs=1e-10)


def test_a_scaled_and_shifted_copy_says_by_how_much() -> None:
    x = drawn(400, 1)
    (pair,) = redundant(torch.cat([0.5 * x + 1, x], 1))
    assert (pair.kept, pair.dropped) == (1, 0)
    assert pair.correlation == pytest.approx(1.0, abs=1e-12)
    assert pair.ratio == pytest.approx(0.5, abs=1e-12)
    apart, size = (0.5 * x + 1 - x).square().mean(), (0.5 * x + 1).square().mean()
    assert pair.mismatch == pytest.approx(float((apart / size).sqrt()), abs=1e-10)


def test_redundant_pairs_can_all_be_merged_together() -> None:
    base = drawn(300, 3, seed=5)
    samples = (base.repeat(1, 5) + 0.02 * drawn(300, 15, seed=6)) * torch.rand(
        15, generator=torch.Generator().manual_seed(7)
    ).add(0.5)
    pairs = redundant(samples)
    kept, dropped = [p.kept for p in pairs], [p.dropped for p in pairs]
    assert len(dropped) == len(set(dropped)) == 12
    assert not set(kept) & set(dropped)
    assert [p.correlation for p in pairs] == sorted((p.correlation for p in pairs), reverse=True)


def test_units_that_oppose_each_other_or_do_not_vary_are_not_redundant() -> None:
    x = drawn(100, 1)
    assert redundant(torch.cat([x, -x], 1)) == ()
    assert redundant(torch.ones(100, 3)) == ()
    with pytest.raises(ValueError, match="threshold"):
        redundant(x, threshold=0.0)


def test_pairs_worth_connecting_are_the_strongest_without_a_connection() -> None:
    correlations = torch.tensor([[0.9, -0.8, float("nan")], [0.1, 0.0, 0.7]])
    connected = torch.tensor([[True, False, False], [False, False, False]])
    found = unconnected_pairs(correlations, connected, count=2)
    assert [pair[:2] for pair in found] == [(0, 1), (1, 2)]
    assert [pair[2] for pair in found] == pytest.approx([-0.8, 0.7])
    AddConnections("reader", tuple((row, column) for row, column, _ in found))
    everything = unconnected_pairs(correlations, connected, count=10)
    assert [pair[:2] for pair in everything] == [(0, 1), (1, 2), (1, 0)]


def test_pairs_of_other_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="shape"):
        unconnected_pairs(torch.zeros(2, 3), torch.zeros(3, 2, dtype=torch.bool), count=1)
    with pytest.raises(ValueError, match="count"):
        unconnected_pairs(torch.zeros(2, 3), torch.zeros(2, 3, dtype=torch.bool), count=-1)


def inputs_of_spectrum() -> Tensor:
    axes = torch.linalg.qr(drawn(5, 5, seed=8)).Q
    inputs = drawn(2000, 5, seed=9) * torch.tensor([3.0, 1.5, 1.0, 0.5, 0.2]) @ axes
    centred: Tensor = inputs - inputs.mean(0)
    return centred


def test_ojas_rule_turns_units_to_the_first_principal_component() -> None:
    inputs = inputs_of_spectrum()
    covariance = inputs.T.cov(correction=0)
    first = torch.linalg.eigh(covariance).eigenvectors[:, -1]
    weights = drawn(3, 5, seed=10)
    for _ in range(400):
        weights = oja_step(weights, inputs, 0.05)
    assert (weights @ first).abs().numpy() == pytest.approx(np.ones(3), abs=1e-8)
    assert weights.norm(dim=1).numpy() == pytest.approx(np.ones(3), abs=1e-8)


def test_one_step_of_oja_is_the_mean_over_its_samples() -> None:
    weights, inputs = drawn(2, 3), drawn(7, 3, seed=1)
    by_hand = weights.clone()
    for k, w in enumerate(weights):
        steps = [(w @ x) * (x - (w @ x) * w) for x in inputs]
        by_hand[k] += 0.1 * torch.stack(steps).mean(0)
    assert oja_step(weights, inputs, 0.1).numpy() == pytest.approx(by_hand.numpy(), abs=1e-12)


def test_oja_statistics_are_those_of_the_principal_directions() -> None:
    covariance = torch.diag(torch.tensor([4.0, 1.0, 0.0])).double()
    rows = [[2.0, 0, 0], [0, -3.0, 0], [0, 0, 1.0], [1.0, 1.0, 0]]
    found = oja_statistics(torch.tensor(rows), covariance)
    assert isinstance(found, OjaStatistics)
    assert found.variance.tolist() == pytest.approx([1.0, 0.25, 0.0, 0.625], abs=1e-12)
    assert found.alignment.tolist() == pytest.approx([1.0, 0.0, 0.0, 0.5**0.5], abs=1e-12)
    # Between two directions the drift is half the difference of their variances.
    assert found.drift.tolist() == pytest.approx([0.0, 0.0, 0.0, 0.375], abs=1e-12)


def test_the_drift_is_the_step_that_oja_takes() -> None:
    inputs = inputs_of_spectrum()
    covariance = inputs.T @ inputs / len(inputs)
    weights = torch.nn.functional.normalize(drawn(4, 5, seed=11))
    found = oja_statistics(weights, covariance)
    assert isinstance(found, OjaStatistics)
    step = (oja_step(weights, inputs, 1.0) - weights).norm(dim=1)
    largest = torch.linalg.eigvalsh(covariance)[-1]
    assert found.drift.numpy() == pytest.approx((step / largest).numpy(), abs=1e-10)
    assert bool((found.drift <= 0.5).all())


def test_what_has_no_direction_says_so() -> None:
    assert isinstance(oja_statistics(torch.ones(2, 3), torch.zeros(3, 3)), Unavailable)
    silent = oja_statistics(torch.zeros(1, 2), torch.eye(2))
    assert isinstance(silent, OjaStatistics)
    assert silent.variance.isnan().all()
    with pytest.raises(ValueError, match="covariance"):
        oja_statistics(torch.ones(2, 3), torch.eye(2))


@pytest.mark.parametrize("at_once", [1, 35, 10**6])
@pytest.mark.parametrize("count", [0, 3, 12, 500])
def test_pairs_found_block_by_block_are_those_of_the_whole_matrix(
    monkeypatch: pytest.MonkeyPatch, at_once: int, count: int
) -> None:
    monkeypatch.setattr(tested, "_AT_ONCE", at_once)
    layer = drawn(40, 17)
    layer[:, 3] = 1.0  # a unit that does not vary
    layer[:, 9] = layer[:, 2]  # copies correlate alike
    reader = layer[:, :11].tanh() + 0.2 * drawn(40, 11, seed=1)
    reader[:, 7] = reader[:, 4]
    mask = drawn(11, 17, seed=2) > 0.5
    pattern = SparsePattern.from_mask(mask)
    found = unconnected_units(reader, layer, pattern, count=count, least=0.1)
    expected = unconnected_pairs(correlation(reader, layer), mask, count=count, least=0.1)
    # A block's product may be summed in another order than that of the whole.
    assert [pair[2] for pair in found] == pytest.approx([p[2] for p in expected], abs=1e-12)
    assert {pair[:2] for pair in found} == {pair[:2] for pair in expected}
    if at_once > 1000:
        assert found == expected


def test_samples_and_patterns_that_do_not_fit_are_refused() -> None:
    pattern = SparsePattern.full((2, 3))
    with pytest.raises(ValueError, match="the same samples"):
        unconnected_units(drawn(5, 2), drawn(6, 3), pattern, count=1)
    with pytest.raises(ValueError, match=r"as many rows .* got \(2, 3\) for 3 and 2"):
        unconnected_units(drawn(5, 3), drawn(5, 2), pattern, count=1)


def test_statistics_of_blocks_are_those_of_all_units() -> None:
    weights, x = drawn(7, 4), drawn(60, 4, seed=1) * torch.tensor([3.0, 1.0, 1.0, 0.5])
    covariance = x.T.cov(correction=0)
    whole, found = oja_statistics(weights, covariance), oja_by_blocks(weights.split(3), covariance)
    assert isinstance(whole, OjaStatistics)
    assert isinstance(found, OjaStatistics)
    for field in ("variance", "alignment", "drift"):
        got, want = getattr(found, field), getattr(whole, field)
        torch.testing.assert_close(got, want, rtol=0, atol=1e-12)
    assert isinstance(oja_by_blocks(weights.split(3), torch.zeros(4, 4)), Unavailable)


@pytest.mark.parametrize("at_once", [1, 12, 10**6])
def test_blocks_of_correlations_are_the_rows_of_all(
    monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    monkeypatch.setattr(tested, "_AT_ONCE", at_once)
    x, y = drawn(30, 7), drawn(30, 5, seed=1)
    blocks = list(correlation_blocks(x, y))
    assert [start for start, _ in blocks] == list(range(0, 7, max(1, at_once // 5)))
    found = torch.cat([block for _, block in blocks])
    torch.testing.assert_close(found, correlation(x, y), rtol=0, atol=1e-12)


@pytest.mark.parametrize("at_once", [1, 20, 10**6])
def test_a_unit_is_not_connected_to_itself(monkeypatch: pytest.MonkeyPatch, at_once: int) -> None:
    monkeypatch.setattr(tested, "_AT_ONCE", at_once)
    x = drawn(40, 9)
    pattern = SparsePattern.from_pairs([(0, 1), (3, 3)], (9, 9))
    found = unconnected_units(x, x, pattern, count=100, same=True)
    assert {pair[:2] for pair in found} == {
        (row, column) for row in range(9) for column in range(9) if row != column
    } - {(0, 1)}
    assert unconnected_units(x, x, pattern, count=1)[0][:2] == (0, 0)


def test_rounding_tells_no_pairs_apart() -> None:
    correlations = torch.tensor([[0.5, 1.0 - 1e-12, 0.7], [1.0, 0.7 + 1e-9, 1.0 - 1e-9]]).double()
    none = torch.zeros(2, 3, dtype=torch.bool)
    expected = [(0, 1), (1, 0), (1, 2), (0, 2), (1, 1), (0, 0)]
    for count in range(7):
        found = unconnected_pairs(correlations, none, count=count)
        assert [pair[:2] for pair in found] == expected[:count]
