"""What the checks and the initialisation of a network say of each layer."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from structure_net.core import (
    HealthProblem,
    LayerScaling,
    NetworkHealth,
    SparsePattern,
    StandardSparseLayer,
    lsuv_,
    validate_network,
)


def test_a_unit_without_an_input_is_one_problem_of_its_layer() -> None:
    layer = StandardSparseLayer(2, 2, pattern=SparsePattern.from_pairs([(0, 0), (0, 1)], (2, 2)))
    health = validate_network(nn.Sequential(layer))
    assert isinstance(health, NetworkHealth)
    (problem,) = health.problems
    assert isinstance(problem, HealthProblem)
    assert (problem.layer, problem.kind, problem.count) == ("0", "no_incoming", 1)
    assert problem.message in str(health)


def test_a_layer_s_variance_is_scaled_by_the_square_of_the_factor() -> None:
    model = nn.Sequential(nn.Linear(8, 16, bias=False)).double()
    inputs = torch.randn(64, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    before = model[0].weight.detach().clone()
    (scaling,) = lsuv_(model, inputs)
    assert isinstance(scaling, LayerScaling)
    assert (scaling.layer, scaling.converged) == ("0", True)
    ratio = (model[0].weight / before).detach()
    torch.testing.assert_close(ratio, torch.full_like(ratio, ratio[0, 0].item()))
    assert scaling.after == pytest.approx(float(ratio[0, 0]) ** 2 * scaling.before, rel=1e-6)
