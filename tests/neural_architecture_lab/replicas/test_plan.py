from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from neural_architecture_lab.errors import PlanError
from neural_architecture_lab.replicas import ReplicaPlan, Score
from neural_architecture_lab.replicas.products import multiply_dense
from structure_net.core.sparsity import SparsePattern

PLAN = ReplicaPlan([64, 32, 10])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"sizes": (64,)}, "sizes must list inputs and outputs at least; got"),
        ({"sizes": (64, 0, 10)}, "each of sizes must be a whole number from 1 on; got 0"),
        ({"activation": "rellu"}, "activation must be one of relu,"),
        ({"optimizer": "lion"}, "optimizer must be one of adam, adamw, sgd; got 'lion'"),
        ({"dtype": "float16"}, "dtype must be one of float32, float64; got 'float16'"),
        ({"density": 0.0}, r"density must be in \(0, 1\]; got 0.0"),
        ({"density": (0.5,)}, "density must have an entry for each of 2 layers"),
        ({"patterns": (None, SparsePattern.full((3, 3)))}, "have its layer's shape"),
        ({"epochs": 0}, "epochs must be a whole number from 1 on; got 0"),
        ({"epochs": 1.5}, "epochs must be a whole number from 1 on; got 1.5"),
        ({"learning_rate": float("nan")}, "learning_rate must be a finite number from 0 on"),
        ({"betas": (0.9, 1.0)}, r"betas must be two numbers in \[0, 1\)"),
        ({"nesterov": True}, "nesterov=True needs a momentum above 0"),
        ({"order_seed": -1}, "order_seed must be a whole number from 0 on; got -1"),
    ],
)
def test_a_plan_that_cannot_be_meant_is_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(PlanError, match=words):
        replace(PLAN, **changes)


def test_a_plan_is_a_value() -> None:
    assert ReplicaPlan((64, 32, 10)) == PLAN
    assert PLAN.shapes == ((32, 64), (10, 32))
    assert hash(PLAN) == hash(ReplicaPlan((64, 32, 10)))
    assert (PLAN.decay, replace(PLAN, optimizer="adamw").decay) == (0.0, 0.01)
    assert (replace(PLAN, seed=4).order, replace(PLAN, seed=4, order_seed=9).order) == (4, 9)
    assert Score(0.5, None).accuracy is None


def test_a_cosine_falls_from_the_rate_to_a_hundredth() -> None:
    plan = replace(PLAN, schedule="cosine", learning_rate=2.0)
    rates = [plan.rate(step, 10) for step in range(11)]
    assert rates[0] == 2.0
    assert rates[5] == pytest.approx(2.0 * (0.01 + 0.99 / 2))
    assert rates[10] == pytest.approx(0.02)
    assert PLAN.rate(7, 10) == PLAN.learning_rate


@pytest.mark.parametrize("kind", ["float32", "float64"])
@pytest.mark.parametrize(("rows", "depth", "width"), [(9, 5, 70), (4, 3, 7), (1, 8, 129)])
@pytest.mark.parametrize("lines", [1, 4])
def test_products_are_products_at_any_size(
    kind: str, rows: int, depth: int, width: int, lines: int
) -> None:
    generator = np.random.default_rng(0)
    a, b, bias = (
        generator.integers(-4, 5, shape).astype(kind)
        for shape in ((rows, depth), (depth, width), (rows,))
    )
    across = np.ascontiguousarray(a.T)
    c = np.empty((rows, width), kind)
    for factor, strides in ((a, (depth, 1)), (across, (1, rows))):
        for added in (bias, None):
            tensors = (
                c.ctypes.data,
                factor.ctypes.data,
                b.ctypes.data,
                0 if added is None else added.ctypes.data,
            )
            zero = np.dtype(kind).type(0)
            multiply_dense(zero, tensors, strides, width, (lines, rows, depth))
            # Whole numbers: no rounding in any order.
            expected = a @ b + (0 if added is None else bias[:, None])
            assert np.array_equal(c, expected)
