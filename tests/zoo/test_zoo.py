"""The zoo's own promises, without which no law that is tested over it says anything."""

from __future__ import annotations

import pytest
import torch
from torch.utils import _pytree as pytree

from structure_net.core import sparse_layers
from tests.zoo import ZOO, attention, convolutional, dense, habits, modes, sparse, traps


def _run(name: str, batch: int) -> list[torch.Tensor]:
    case = ZOO[name]
    inputs = case.inputs(batch, seed=1)
    model = case.build(seed=0)
    with torch.no_grad():
        if isinstance(inputs, dict):
            out = model(**inputs)
        else:
            out = model(*inputs) if isinstance(inputs, tuple) else model(inputs)
    return list(pytree.tree_leaves(out))


def test_names_are_unique() -> None:
    parts = (dense, convolutional, attention, traps, habits, modes, sparse)
    names = [case.name for part in parts for case in part.CASES]
    assert sorted(ZOO) == sorted(names)


@pytest.mark.parametrize("name", ZOO)
def test_a_model_is_float64_finite_and_drawn_from_its_seed(name: str) -> None:
    first, second = _run(name, 3), _run(name, 3)
    for a, b in zip(first, second, strict=True):
        assert a.dtype == torch.float64
        assert a.isfinite().all()
        assert torch.equal(a, b)


@pytest.mark.parametrize("name", ZOO)
def test_the_named_outputs_are_layers(name: str) -> None:
    case = ZOO[name]
    modules = dict(case.build().named_modules())
    assert set(case.outputs) | set(case.refused) <= set(modules)


@pytest.mark.parametrize("name", [case.name for case in sparse.CASES])
def test_a_sparse_model_is_zero_off_its_pattern(name: str) -> None:
    layers = sparse_layers(ZOO[name].build())
    assert layers
    for layer in layers.values():
        assert not layer.dense_weight()[~layer.pattern.mask()].any()
        assert 0 < layer.density < 1
