"""A model on a CUDA device has the graph that it has on the CPU."""

from __future__ import annotations

import pytest

from structure_net.graph import trace
from tests.elsewhere import away
from tests.zoo import ZOO

pytestmark = pytest.mark.away


@pytest.mark.parametrize("name", ["mlp_batchnorm", "lstm", "separate_heads", "sparse_convolutions"])
def test_the_graph_is_that_of_the_cpu(name: str) -> None:
    case = ZOO[name]
    here = trace(case.build(), case.inputs())
    there = trace(case.build().to(away()), case.inputs().to(away()))
    assert here.shapes() == there.shapes()
    assert {n: g.size for n, g in here.editable.items()} == {
        n: g.size for n, g in there.editable.items()
    }
    assert here.frozen == there.frozen
