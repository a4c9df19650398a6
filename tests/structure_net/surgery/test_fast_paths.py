"""Torch's encoder layers compute what they did where their linear layers become sparse."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn

from structure_net.surgery import AddResidualBlock, densify, edit, sparsify
from tests.laws.storages import STORAGES, Storage, crossover

EXACT: dict[str, Any] = {"rtol": 0.0, "atol": 1e-10}


@pytest.mark.parametrize("storage", STORAGES)
def test_encoder_layers_work_where_torch_would_take_its_fast_path(storage: Storage) -> None:
    block = nn.TransformerEncoderLayer(8, 2, 32, batch_first=True)
    model = nn.TransformerEncoder(block, 2).double().eval()
    x = torch.randn(3, 5, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    padded = torch.zeros(3, 5, dtype=torch.bool)
    padded[1, 3:] = True
    # With gradients torch calls the layers itself.
    expected, whole = model(x, src_key_padding_mask=padded), model(x)
    with crossover(storage), torch.no_grad():
        sparsify(model, 1.0)
        found = model(x, src_key_padding_mask=padded)
        torch.testing.assert_close(found, expected, **EXACT)
        torch.testing.assert_close(model(x), whole, **EXACT)
        densify(model, layers=["layers.0.linear1"])
        assert [one.activation_relu_or_gelu for one in model.layers] == [0, 0]
        densify(model)
    assert [one.activation_relu_or_gelu for one in model.layers] == [1, 1]
    assert model.use_nested_tensor


@pytest.mark.parametrize("fast", [0, 1])
def test_the_fast_path_is_as_it_was_when_layers_are_dense_again(fast: int) -> None:
    block = nn.TransformerEncoderLayer(8, 2, 32, batch_first=True)
    model = nn.TransformerEncoder(block, 2)
    model.layers[1].activation_relu_or_gelu, model.use_nested_tensor = fast, bool(fast)
    before = [dict(vars(one)) for one in (model, *model.layers)]
    sparsify(model, 0.5, layers=["layers.0.linear1", "layers.1.linear1"])
    sparsify(model, 0.5, layers=["layers.1.linear2"])
    model = copy.deepcopy(model)
    assert [one.activation_relu_or_gelu for one in model.layers] == [0, 0]
    assert not model.use_nested_tensor
    densify(model)
    assert [one.activation_relu_or_gelu for one in model.layers] == [1, fast]
    assert model.use_nested_tensor is bool(fast)
    assert [vars(one).keys() for one in (model, *model.layers)] == [own.keys() for own in before]


def test_the_fast_path_stays_off_where_a_graft_came_meanwhile() -> None:
    block = nn.TransformerEncoderLayer(8, 2, 32, batch_first=True)
    model = nn.TransformerEncoder(block, 1).eval()
    x = torch.randn(3, 5, 8, generator=torch.Generator().manual_seed(0))
    sparsify(model, 0.5)
    edit(model, AddResidualBlock("layers.0.linear2", 4), x)
    graft: Any = model.get_submodule("layers.0.linear2.grafts.residual1")
    graft.project.fill_by(nn.init.ones_)
    expected = model(x).detach()
    densify(model)
    with torch.no_grad():
        torch.testing.assert_close(model(x), expected)
