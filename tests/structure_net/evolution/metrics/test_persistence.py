"""Neural persistence: published and closed-form values, its null, and deep graph persistence."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
import torch
from torch import Tensor

from structure_net.core.sparsity import SparsePattern
from structure_net.evolution.metrics import (
    NeuralPersistence,
    NullComparison,
    ShuffledPersistence,
    Unavailable,
    deep_graph_persistence,
    largest_magnitude,
    neural_persistence,
    shuffled_persistence,
    summarised_weights,
)

ONE = torch.zeros(5, 3).index_put((torch.tensor(2), torch.tensor(1)), torch.tensor(1.0))


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def found(weights: Tensor, **options: object) -> NeuralPersistence:
    result = neural_persistence(weights, **options)
    assert isinstance(result, NeuralPersistence)
    return result


@pytest.mark.parametrize(
    ("weights", "total", "per_vertex", "essential"),
    [
        (torch.full((5, 3), 0.7), 0.0, 0.0, 0.377964),
        (ONE, 2.449490, 0.925820, 1.0),
        (torch.tensor([[1, 0.5], [0.25, 0.1]]), 0.901388, 0.520416, 0.777282),
        (torch.eye(4), 1.732051, 0.654654, 0.755929),
        (torch.tensor([[1.0, 0.8, 0.4, 0.2]]), 1.019804, 0.509902, 0.714143),
    ],
)
def test_small_layers_have_the_values_of_the_table(weights, total, per_vertex, essential) -> None:
    persistence = found(weights.double())
    assert persistence.total() == pytest.approx(total, abs=1e-6)
    assert persistence.per_vertex() == pytest.approx(per_vertex, abs=1e-6)
    assert persistence.per_vertex(essential=True) == pytest.approx(essential, abs=1e-6)
    assert persistence.per_merge() == pytest.approx(per_vertex, abs=1e-6)


def test_the_essential_part_lifts_the_published_number_over_one() -> None:
    persistence = found(torch.full((5, 3), 1e-9, dtype=torch.float64), scale=1.0)
    assert persistence.per_vertex(essential=True) == pytest.approx(1.0690, abs=1e-4)
    assert persistence.per_vertex() <= 1


@pytest.mark.parametrize("order", [1.0, 2.0, 3.5])
def test_a_layer_with_one_output_sums_over_its_weights(order) -> None:
    weights = randn(9, 1)
    gaps = 1 - weights.abs() / weights.abs().max()
    expected = float(gaps.pow(order).sum() ** (1 / order))
    assert found(weights, order=order).total() == pytest.approx(expected, abs=1e-12)
    assert found(weights.T, order=order).total() == pytest.approx(expected, abs=1e-12)


def test_scale_sign_and_order_of_units_do_not_matter() -> None:
    weights = randn(12, 7)
    expected = found(weights).total()
    rows, columns = torch.randperm(12), torch.randperm(7)
    for same in (3.7 * weights, -weights, weights[rows][:, columns], weights.T):
        assert found(same).total() == pytest.approx(expected, abs=1e-12)


def test_single_precision_gives_the_same() -> None:
    weights = randn(784, 256)
    single, double = found(weights.float()), found(weights)
    assert single.per_vertex() == pytest.approx(double.per_vertex(), abs=1e-7)


@pytest.mark.parametrize(
    ("draw", "expected"),
    [
        (lambda g: g.uniform(-1, 1, (784, 256)), 0.005),
        (lambda g: g.normal(size=(784, 256)), 0.35),
        (lambda g: g.laplace(size=(784, 256)), 0.61),
        (lambda g: g.standard_t(3, (784, 256)), 0.85),
    ],
    ids=["uniform", "normal", "laplace", "t3"],
)
def test_of_independent_weights_it_is_a_statistic_of_the_tail(draw, expected) -> None:
    """To .12: three deviations that the largest of 200 704 values causes."""
    weights = torch.from_numpy(draw(np.random.default_rng(0)))
    assert found(weights).per_vertex() == pytest.approx(expected, abs=0.12)


def test_one_outlier_changes_it_much() -> None:
    weights = randn(784, 256)
    before = found(weights).per_vertex()
    weights[0, 0] = 5 * weights.abs().max()
    assert before < 0.4
    assert found(weights).per_vertex() > 0.85


def test_shuffling_independent_weights_changes_nothing() -> None:
    """To four deviations of a shuffle, which are 9e-4 of the normalised number."""
    weights = randn(784, 256)
    order = torch.randperm(784 * 256, generator=torch.Generator().manual_seed(1))
    other = found(weights.flatten()[order].view(784, 256)).per_vertex()
    assert found(weights).per_vertex() == pytest.approx(other, abs=3.6e-3)


def compared(weights: Tensor, samples: int = 50) -> NullComparison:
    shuffled = shuffled_persistence(weights, samples=samples)
    assert isinstance(shuffled, ShuffledPersistence)
    return NullComparison(found(weights).total(), shuffled.totals())


def low_rank() -> Tensor:
    return randn(128, 4, seed=1) @ randn(4, 96, seed=2)


def strong_columns() -> Tensor:
    weights = randn(128, 96)
    weights[:, :9] *= 3
    return weights


@pytest.mark.parametrize(
    "weights", [low_rank(), strong_columns()], ids=["rank 4", "strong columns"]
)
def test_structure_exceeds_the_null(weights) -> None:
    comparison = compared(weights)
    assert comparison.excess > 0
    assert comparison.z > 10


def test_independent_weights_do_not_exceed_the_null() -> None:
    """Over 40 matrices z has mean 0 and deviation 1, to 4 standard errors."""
    scores = torch.tensor([float(compared(randn(30, 20, seed=seed)).z) for seed in range(40)])
    assert abs(float(scores.mean())) < 4 / math.sqrt(40)
    assert 0.5 < float(scores.std()) < 1.6


def test_the_null_is_what_shuffling_gives() -> None:
    """Mean and deviation over 2000 shuffles of a matrix, to 5 standard errors."""
    weights, samples = low_rank()[:12, :8], 2000
    fast = shuffled_persistence(weights, samples=samples).totals()
    generator = torch.Generator().manual_seed(3)
    shuffles = (weights.flatten()[torch.randperm(96, generator=generator)] for _ in range(samples))
    slow = torch.tensor([found(one.view(12, 8)).total() for one in shuffles])
    error = float(slow.std()) / math.sqrt(samples)
    assert float(fast.mean()) == pytest.approx(float(slow.mean()), abs=7 * error)
    assert float(fast.std()) == pytest.approx(float(slow.std()), rel=0.1)


def test_a_layer_with_one_output_has_no_null() -> None:
    z = compared(randn(9, 1)).z
    assert isinstance(z, Unavailable)
    assert "changes nothing" in z.reason


def test_a_sparse_layer_falls_into_parts_and_both_normalisations_say_so() -> None:
    pattern = SparsePattern.from_pairs([(0, 0), (1, 1), (1, 2)], (3, 4))
    weights = torch.tensor([1.0, 0.5, 0.5], dtype=torch.float64)
    persistence = found(weights, pattern=pattern)
    assert persistence.components == 4
    assert persistence.diagram.tolist() == [[1, 1], [1, 0.5], [1, 0.5]]
    assert persistence.per_vertex() == pytest.approx(math.sqrt(0.5 / 6))
    assert persistence.per_merge() == pytest.approx(math.sqrt(0.5 / 3))
    assert persistence.total(essential=True) == pytest.approx(math.sqrt(4.5))


def test_a_full_pattern_is_a_dense_layer() -> None:
    weights = randn(12, 9)
    pattern = SparsePattern.full((12, 9))
    assert found(weights.flatten(), pattern=pattern).total() == found(weights).total()
    sparse = shuffled_persistence(weights.flatten(), pattern=pattern, seed=4)
    dense = shuffled_persistence(weights, seed=4)
    assert torch.allclose(sparse.merges, dense.merges, rtol=0, atol=1e-12)
    assert torch.equal(dense.per_vertex(), dense.totals() / math.sqrt(20))


def test_another_scale_is_a_factor() -> None:
    weights = randn(7, 6)
    own, scale = found(weights), float(2 * weights.abs().max())
    halved = found(weights, scale=scale)
    assert own.rescaled(0.5).total() == pytest.approx(halved.total(), abs=1e-12)
    shuffled = shuffled_persistence(weights).rescaled(0.5).totals()
    expected = shuffled_persistence(weights, scale=scale).totals()
    assert torch.allclose(shuffled, expected, rtol=0, atol=1e-12)


def test_the_scale_is_the_largest_of_all_layers() -> None:
    layers = [randn(5, 4), 3 * randn(6, 5)]
    scale = largest_magnitude(layers)
    assert scale == float(layers[1].abs().max())
    assert found(layers[0], scale=scale).total() > found(layers[0]).total()


@pytest.mark.parametrize(
    ("weights", "reason"),
    [(torch.zeros(3, 2), "all weights are 0"), (torch.zeros(0, 2), "no connection")],
)
def test_without_weights_there_is_a_reason_and_no_number(weights, reason) -> None:
    for result in (neural_persistence(weights), shuffled_persistence(weights)):
        assert isinstance(result, Unavailable)
        assert reason in result.reason


@pytest.mark.parametrize(
    ("weights", "options", "message"),
    [
        (torch.ones(3), {}, "must be a matrix"),
        (torch.tensor([[1.0, math.nan]]), {}, "finite"),
        (torch.ones(2, 2), {"scale": 0.5}, "largest magnitude of all layers"),
        (torch.ones(2, 2), {"order": 0.5}, "at least 1"),
        (torch.ones(2), {"pattern": SparsePattern.full((1, 3))}, "one per connection"),
    ],
)
def test_what_does_not_fit_is_refused(weights, options, message) -> None:
    with pytest.raises(ValueError, match=message):
        neural_persistence(weights, **options)


def widest_paths(matrices: list[Tensor]) -> Tensor:
    """By definition: over all paths."""
    sizes = [matrices[0].shape[1], *(len(matrix) for matrix in matrices)]
    widest = torch.zeros(sizes[-1], sizes[0], dtype=torch.float64)
    for path in product(*(range(size) for size in sizes)):
        steps = zip(matrices, path[1:], path[:-1], strict=True)
        width = min(float(matrix[after, before]) for matrix, after, before in steps)
        widest[path[-1], path[0]] = max(float(widest[path[-1], path[0]]), width)
    return widest


def chain() -> list[Tensor]:
    return [randn(6, 5, seed=1), 2 * randn(4, 6, seed=2), randn(3, 4, seed=3)]


def test_the_summary_is_the_widest_path_between_input_and_output() -> None:
    plain = summarised_weights(chain(), standardised=False)
    assert torch.equal(plain, widest_paths([matrix.abs() for matrix in chain()]))
    standard = [((m - m.mean()) / m.std(correction=0)).abs() for m in chain()]
    scale = max(float(m.max()) for m in standard)
    expected = widest_paths([m / scale for m in standard])
    assert torch.allclose(summarised_weights(chain()), expected, rtol=0, atol=1e-12)


def test_deep_graph_persistence_is_that_of_the_summary() -> None:
    summary = summarised_weights(chain())
    exact, previous = deep_graph_persistence(chain()), deep_graph_persistence(chain(), scaled=False)
    assert isinstance(exact, NeuralPersistence)
    assert isinstance(previous, NeuralPersistence)
    assert exact.total() == found(summary).total()
    assert previous.total() == found(summary, scale=1.0).total()
    assert previous.total() > exact.total()


def test_deep_graph_persistence_of_one_layer_is_that_of_its_standardised_weights() -> None:
    (matrix, *_) = chain()
    standard = (matrix - matrix.mean()) / matrix.std(correction=0)
    deep = deep_graph_persistence([matrix])
    assert isinstance(deep, NeuralPersistence)
    assert deep.total() == pytest.approx(found(standard).total(), abs=1e-12)


def test_deep_graph_persistence_does_not_change_when_a_layer_is_scaled_or_shifted() -> None:
    first, *rest = chain()
    before, after = deep_graph_persistence(chain()), deep_graph_persistence([5 * first + 1, *rest])
    assert isinstance(before, NeuralPersistence)
    assert isinstance(after, NeuralPersistence)
    assert after.total() == pytest.approx(before.total(), abs=1e-10)


def test_a_weight_of_zero_connects_nothing() -> None:
    first, second = torch.zeros(3, 2).double(), randn(2, 3)
    first[0, 0], first[1, 0] = 1.0, -2.0
    summary = summarised_weights([first, second])
    assert bool((summary[:, 0] > 0).all())
    assert bool((summary[:, 1] == 0).all())


def test_a_kernel_is_as_strong_as_its_norm() -> None:
    kernels = randn(4, 3 * 5).view(4, 3, 5)
    plain = summarised_weights([kernels], standardised=False)
    assert torch.allclose(plain, kernels.norm(dim=2), rtol=0, atol=1e-12)
    standard = (kernels - kernels.mean()) / kernels.std(correction=0)
    expected = standard.norm(dim=2) / standard.norm(dim=2).max()
    assert torch.allclose(summarised_weights([kernels]), expected, rtol=0, atol=1e-12)


def test_layers_that_do_not_follow_each_other_are_refused() -> None:
    with pytest.raises(ValueError, match="must read the 6 outputs"):
        summarised_weights([randn(6, 5), randn(3, 4)])
    with pytest.raises(ValueError, match="at least one layer"):
        deep_graph_persistence([])
