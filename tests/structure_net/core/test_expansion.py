"""New units on a linear problem in float64, where the loss says exactly what they gain."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor

from structure_net.core.expansion import (
    Expansion,
    PlaceMoments,
    best_update,
    expressivity_bottleneck,
    gradmax_expansion,
    natural_expansion,
    natural_score,
    tiny_expansion,
)

SAMPLES, INPUTS, HIDDEN, OUTPUTS = 60, 7, 2, 4


class Linear:
    """Half the squared error of ``W2 W1 x``, with more inputs than hidden units."""

    def __init__(self, seed: int = 0) -> None:
        draw = torch.Generator().manual_seed(seed)

        def normal(*shape: int) -> Tensor:
            return torch.randn(*shape, generator=draw, dtype=torch.float64)

        self.x = normal(SAMPLES, INPUTS) @ normal(INPUTS, INPUTS)
        self.y = self.x @ normal(INPUTS, OUTPUTS) + normal(SAMPLES, OUTPUTS)
        self.h = self.x @ normal(INPUTS, HIDDEN)
        self.w = normal(OUTPUTS, HIDDEN)

    def loss(self, outputs: Tensor) -> Tensor:
        return (outputs - self.y).square().sum() / (2 * SAMPLES)

    @property
    def outputs(self) -> Tensor:
        return self.h @ self.w.T

    def moments(self, curvature: Tensor | None = None) -> PlaceMoments:
        delta = self.outputs - self.y
        return PlaceMoments(
            "first",
            "second",
            SAMPLES,
            1,
            self.x.T @ self.x / SAMPLES,
            self.h.T @ self.h / SAMPLES,
            (self.h.T @ self.x / SAMPLES)[None],
            (delta.T @ self.x / SAMPLES)[None],
            delta.T @ self.h / SAMPLES,
            delta.T @ delta / SAMPLES if curvature is None else curvature,
            bias=False,
        )

    def added(self, units: Expansion) -> Tensor:
        """What the new units add to the outputs."""
        return self.x @ units.incoming.T @ units.outgoing[:, :, 0]


def minimised(loss: Callable[..., Tensor], *shapes: tuple[int, ...]) -> float:
    """The least value that L-BFGS finds from five random starts."""
    return min(_descended(loss, shapes, seed) for seed in range(5))


def _descended(loss: Callable[..., Tensor], shapes: Sequence[tuple[int, ...]], seed: int) -> float:
    draw = torch.Generator().manual_seed(seed)
    at = [torch.randn(*s, generator=draw, dtype=torch.float64).requires_grad_() for s in shapes]
    search = torch.optim.LBFGS(
        at, max_iter=2000, tolerance_grad=1e-12, tolerance_change=0, line_search_fn="strong_wolfe"
    )

    def closure() -> float:
        search.zero_grad()
        value = loss(*at)
        value.backward()
        return float(value.detach())

    search.step(closure)
    return closure()


@pytest.mark.parametrize("units", [1, 2, 3])
def test_tiny_is_the_brute_force_optimum_of_a_linear_problem(units: int) -> None:
    problem = Linear()
    moments = problem.moments()
    found = tiny_expansion(moments, damping=0)
    updated = problem.outputs + problem.h @ best_update(moments, damping=0).T
    left_over = float(problem.loss(updated))
    least = minimised(
        lambda a, b: problem.loss(updated + problem.x @ a @ b), (INPUTS, units), (units, OUTPUTS)
    )
    with_units = float(problem.loss(updated + problem.added(found.first(units))))
    assert with_units == pytest.approx(least, rel=1e-8)
    assert left_over - with_units == pytest.approx(float(found.gains[:units].sum()), rel=1e-10)


def test_the_natural_expansion_is_the_brute_force_optimum_beside_free_present_weights() -> None:
    problem = Linear()
    moments = problem.moments(torch.eye(OUTPUTS, dtype=torch.float64))
    found = natural_expansion(moments, damping=0)
    least = minimised(
        lambda w, a, b: problem.loss(problem.h @ w + problem.x @ a @ b),
        (HIDDEN, OUTPUTS),
        (INPUTS, 1),
        (1, OUTPUTS),
    )
    gained = natural_score(moments, damping=0) + found.gains[0]
    assert float(problem.loss(problem.outputs) - gained) == pytest.approx(least, rel=1e-8)


def test_natural_units_make_the_gain_that_is_said_of_them() -> None:
    problem = Linear()
    moments = problem.moments(torch.eye(OUTPUTS, dtype=torch.float64))
    unit = natural_expansion(moments, damping=0).first(1)
    explained = torch.linalg.lstsq(problem.h, problem.x).solution
    new = (problem.x - problem.h @ explained) @ unit.incoming.T @ unit.outgoing[:, :, 0]
    updated = problem.outputs + problem.h @ best_update(moments, damping=0).T
    gained = problem.loss(updated) - problem.loss(updated + new)
    assert float(gained) == pytest.approx(float(unit.gains[0]), rel=1e-10)


def test_the_natural_expansion_does_not_depend_on_the_basis_of_inputs_and_outputs() -> None:
    problem = Linear()
    draw = torch.Generator().manual_seed(1)
    a = torch.randn(INPUTS, INPUTS, generator=draw, dtype=torch.float64)
    b = torch.randn(OUTPUTS, OUTPUTS, generator=draw, dtype=torch.float64)
    m = problem.moments()
    turned = PlaceMoments(
        m.layer,
        m.reader,
        m.samples,
        m.positions,
        a @ m.inputs @ a.T,
        m.features,
        m.cross @ a.T,
        b @ m.gradient @ a.T,
        b @ m.feature_gradient,
        b @ m.curvature @ b.T,
        m.bias,
    )
    before, after = (
        natural_expansion(m, damping=0).gains,
        natural_expansion(turned, damping=0).gains,
    )
    torch.testing.assert_close(before, after, rtol=1e-7, atol=1e-10)


def test_the_gradmax_gain_is_the_decrease_per_learning_rate_of_the_first_step() -> None:
    problem = Linear()
    unit = gradmax_expansion(problem.moments()).first(1)
    rate = 1e-6
    start, step = problem.outputs, problem.added(unit)
    # Central differences: the loss is quadratic, so that they are exact but for rounding.
    decrease = (problem.loss(start - rate * step) - problem.loss(start + rate * step)) / (2 * rate)
    assert float(decrease) == pytest.approx(float(unit.gains[0]), rel=1e-7)


def test_no_other_direction_has_a_larger_gradient_than_gradmax_s() -> None:
    problem = Linear()
    found = gradmax_expansion(problem.moments())
    torch.testing.assert_close(found.incoming.norm(dim=1), torch.ones(OUTPUTS, dtype=torch.float64))
    draw = torch.Generator().manual_seed(3)
    others = torch.randn(1000, INPUTS, generator=draw, dtype=torch.float64)
    others /= others.norm(dim=1, keepdim=True)
    squares = (others @ problem.moments().gradient[0].T).square().sum(1)
    assert bool((squares <= found.gains[0] * (1 + 1e-12)).all())


def test_present_weights_that_are_best_leave_the_residual_of_least_squares() -> None:
    problem = Linear()
    best = torch.linalg.lstsq(problem.h, problem.y).solution
    residual = 2 * problem.loss(problem.h @ best)
    assert float(expressivity_bottleneck(problem.moments(), damping=0)) == pytest.approx(
        float(residual)
    )
    problem.w = best.T
    assert float(natural_score(problem.moments(), damping=0)) == pytest.approx(0, abs=1e-20)
    update = best_update(problem.moments(), damping=0)
    torch.testing.assert_close(update, torch.zeros_like(update), atol=1e-10, rtol=0)


def test_inputs_that_present_features_explain_offer_no_natural_gain() -> None:
    problem = Linear()
    problem.h = problem.x
    problem.w = torch.zeros(OUTPUTS, INPUTS, dtype=torch.float64)
    gains = natural_expansion(problem.moments(), damping=0).gains
    assert float(gains.sum()) == pytest.approx(0, abs=1e-12)


def test_a_place_without_gradient_offers_nothing() -> None:
    problem = Linear()
    problem.y = problem.outputs
    for method in (gradmax_expansion, tiny_expansion, natural_expansion):
        assert float(method(problem.moments()).gains.sum()) == 0


def test_redundant_inputs_and_features_change_no_gain() -> None:
    problem, doubled = Linear(), Linear()
    doubled.x = torch.cat([problem.x, problem.x[:, :3], torch.zeros(SAMPLES, 1)], 1)
    doubled.h = torch.cat([problem.h, problem.h], 1)
    doubled.w = torch.cat([problem.w, torch.zeros_like(problem.w)], 1)
    for method in (tiny_expansion, natural_expansion):
        plain, repeated = (method(p.moments(), damping=0).gains for p in (problem, doubled))
        torch.testing.assert_close(plain, repeated, rtol=1e-8, atol=1e-10)
        damped = method(doubled.moments()).gains
        assert float(damped[0]) == pytest.approx(float(plain[0]), rel=0.05)


def test_negative_damping_and_no_units_are_refused() -> None:
    moments = Linear().moments()
    with pytest.raises(ValueError, match="damping must be 0 or more"):
        tiny_expansion(moments, damping=-1)
    with pytest.raises(ValueError, match="units must be 1 or more"):
        tiny_expansion(moments).first(0)
