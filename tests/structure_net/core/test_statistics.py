from __future__ import annotations

import torch
from torch import nn

from structure_net.core import (
    SparseConv2d,
    SparsePattern,
    StandardSparseLayer,
    TemporaryPatchLayer,
    network_stats,
    sparse_layers,
)
from structure_net.core.statistics import live_parameters


def sparse() -> StandardSparseLayer:
    return StandardSparseLayer(
        4, 3, pattern=SparsePattern.from_pairs([(0, 0), (0, 1), (2, 3)], (3, 4))
    )


def test_a_sparse_layer_counts_what_is_live() -> None:
    layer = sparse()
    stats = network_stats(nn.Sequential(layer))
    assert stats["total_connections"] == 3
    assert stats["total_parameters"] == 6
    assert stats["stored_parameters"] == {"live": 6, "masked": 15}[layer.storage]
    assert stats["density"] == 0.25
    assert stats["layers"] == [
        {
            "name": "0",
            "kind": "StandardSparseLayer",
            "inputs": 4,
            "outputs": 3,
            "connections": 3,
            "parameters": 6,
            "density": 0.25,
            "fan_in": {"min": 0, "mean": 1.0, "max": 2},
            "fan_out": {"min": 0, "mean": 0.75, "max": 1},
        }
    ]


def test_a_mixed_network_adds_up() -> None:
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3, groups=1),
        nn.BatchNorm2d(8),
        nn.ConvTranspose2d(8, 4, 2),
        SparseConv2d(4, 2, 3, density=0.5),
        nn.Flatten(),
        sparse(),
    )
    stats = network_stats(model)
    expected = [3 * 8 * 9, 8 * 4 * 4, 4 * 9, 3]
    assert [row["connections"] for row in stats["layers"]] == expected
    assert stats["total_connections"] == sum(expected)
    stored = sum(parameter.numel() for parameter in model.parameters())
    assert stats["stored_parameters"] == stored
    assert stats["total_parameters"] == live_parameters(model)
    assert stats["total_parameters"] == 3 * 8 * 9 + 8 + 8 + 8 + 8 * 4 * 4 + 4 + 4 * 9 + 2 + 3 + 3
    assert stats["density"] == sum(expected) / (3 * 8 * 9 + 8 * 4 * 4 + 8 * 9 + 12)
    transposed = stats["layers"][1]
    assert (transposed["inputs"], transposed["outputs"]) == (8, 4)
    assert transposed["fan_in"]["max"] == 8 * 4


def test_grouped_convolutions_count_their_own_fan_in() -> None:
    (row,) = network_stats(nn.Conv2d(8, 4, 3, groups=4))["layers"]
    assert (row["inputs"], row["outputs"], row["connections"]) == (8, 4, 72)
    assert (row["fan_in"]["max"], row["fan_out"]["max"]) == (18, 9)


def test_tied_weights_count_once() -> None:
    model = nn.ModuleDict({"embed": nn.Embedding(10, 4), "head": nn.Linear(4, 10, bias=False)})
    model["head"].weight = model["embed"].weight
    stats = network_stats(model)
    assert stats["total_connections"] == 40
    assert stats["total_parameters"] == 40


def test_modules_with_several_matrices_have_a_row_each() -> None:
    names = [row["name"] for row in network_stats(nn.Sequential(nn.LSTM(3, 4)))["layers"]]
    assert names == ["0.weight_ih_l0", "0.weight_hh_l0"]
    assert network_stats(nn.LSTM(3, 4))["total_connections"] == 16 * 7


def test_a_model_without_weights_is_empty() -> None:
    stats = network_stats(nn.ReLU())
    assert stats == {
        "total_connections": 0,
        "total_parameters": 0,
        "stored_parameters": 0,
        "density": 1.0,
        "layers": [],
    }


def test_trial_connections_count_within_their_layer() -> None:
    model = nn.Sequential(TemporaryPatchLayer(sparse(), [(1, 0), (1, 1)]))
    stats = network_stats(model)
    assert stats["total_connections"] == 5
    assert stats["total_parameters"] == 8
    assert [row["name"] for row in stats["layers"]] == ["0"]
    assert list(sparse_layers(model)) == ["0"]


def test_a_layer_that_lost_all_its_connections_counts_as_empty() -> None:
    empty = StandardSparseLayer(4, 3, pattern=SparsePattern.from_pairs([], (3, 4)))
    stats = network_stats(nn.Sequential(empty, nn.Linear(3, 2)))
    assert stats["total_connections"] == 6
    assert stats["density"] == 6 / 18


def test_counting_changes_nothing() -> None:
    model = nn.Sequential(sparse())
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    network_stats(model)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name])
