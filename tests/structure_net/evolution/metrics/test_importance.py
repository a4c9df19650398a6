from __future__ import annotations

import pytest
import torch
from torch import Tensor

from structure_net.evolution.metrics.importance import (
    fisher_importance,
    fisher_information,
    per_unit,
    taylor_change,
    taylor_importance,
)
from structure_net.evolution.metrics.validity import Unavailable


def _normal(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_the_taylor_change_is_exact_where_the_loss_is_linear() -> None:
    weights, slope = _normal(4, 3), _normal(3, 4).T
    loss = (weights * slope).sum()
    change = taylor_change(weights, slope)
    for row in range(4):
        for column in range(3):
            ablated = weights.clone()
            ablated[row, column] = 0
            expected = (ablated * slope).sum() - loss
            torch.testing.assert_close(change[row, column], expected, atol=1e-12, rtol=0)
    assert torch.equal(taylor_importance(weights, slope), change.abs())


def test_the_fisher_importance_is_exact_at_the_minimum_of_a_separable_square() -> None:
    weights, curvature = _normal(5), _normal(5).square()
    rise = fisher_importance(weights, curvature)
    exact = torch.stack([curvature[k] * weights[k] ** 2 / 2 for k in range(5)])
    torch.testing.assert_close(rise, exact, atol=1e-14, rtol=0)


def test_the_fisher_information_of_single_samples_is_the_mean_square() -> None:
    gradients = _normal(50, 4) + 1
    found = fisher_information(gradients.mean(0), gradients.square().mean(0), 50, 1)
    assert isinstance(found, Tensor)
    torch.testing.assert_close(found, gradients.square().mean(0), rtol=1e-12, atol=0)


def test_the_fisher_information_of_batches_is_that_of_their_samples() -> None:
    """From 4,000 batches of 5: a relative deviation of about 2 % in each entry."""
    gradients = _normal(20_000, 4) + 1
    means = gradients.unflatten(0, (-1, 5)).mean(1)
    found = fisher_information(means.mean(0), means.square().mean(0), 4000, 5)
    assert isinstance(found, Tensor)
    torch.testing.assert_close(found, gradients.square().mean(0), rtol=0.08, atol=0)


def test_a_single_batch_of_several_samples_has_no_fisher_information() -> None:
    assert isinstance(fisher_information(torch.ones(2), torch.ones(2), 1, 8), Unavailable)


def test_the_importance_of_a_unit_is_that_of_its_weights() -> None:
    assert per_unit(torch.ones(3, 2, 2)).tolist() == [4, 4, 4]
    assert per_unit(torch.ones(3)).tolist() == [1, 1, 1]


def test_shapes_that_differ_are_refused() -> None:
    with pytest.raises(ValueError, match="one shape"):
        taylor_change(torch.ones(2), torch.ones(2, 1))
    with pytest.raises(ValueError, match="one shape"):
        fisher_importance(torch.ones(2), torch.ones(3))
