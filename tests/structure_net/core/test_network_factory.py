from __future__ import annotations

import copy
import json
import pickle
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from structure_net.core import (
    ExtremaAwareSparseLayer,
    StandardNetwork,
    StandardSparseLayer,
    assign,
    create_standard_network,
)
from structure_net.core.crossover import Storage, get_crossover, set_crossover


def test_the_seed_s_call_makes_a_network_with_one_percent_of_its_connections() -> None:
    network = create_standard_network(architecture=[784, 256, 128, 10], sparsity=0.01)
    assert network.get_network_stats()["total_connections"] == round(0.01 * 234752)
    assert network(torch.zeros(3, 1, 28, 28)).shape == (3, 10)


def test_density_and_the_seed_s_sparsity_are_one_number() -> None:
    first = create_standard_network([20, 16, 4], 0.3, seed=1)
    second = create_standard_network([20, 16, 4], sparsity=0.3, seed=1)
    assert first.recipe == second.recipe
    assert torch.equal(first.layers[0].weight, second.layers[0].weight)


def test_no_unit_is_without_a_connection_where_the_budget_allows_it() -> None:
    for seed in range(5):
        network = create_standard_network([64, 64, 32, 10], 0.05, seed=seed)
        for layer in network.layers:
            assert isinstance(layer, StandardSparseLayer)
            assert int(layer.pattern.fan_in().min()) >= 1
            assert int(layer.pattern.fan_out().min()) >= 1


def test_the_network_is_its_layers_with_activations_between() -> None:
    network = create_standard_network([6, 5, 4, 3], 0.6, activation="tanh", seed=0).double()
    hidden = inputs = torch.randn(7, 2, 3, dtype=torch.float64)
    hidden = inputs.flatten(1)
    for layer in network.layers[:-1]:
        hidden = torch.tanh(hidden @ layer.dense_weight().T + layer.bias)
    last = network.layers[-1]
    expected = hidden @ last.dense_weight().T + last.bias
    torch.testing.assert_close(network(inputs), expected, rtol=0, atol=1e-12)


def test_names_are_stable() -> None:
    network = create_standard_network([6, 5, 4, 3], seed=0)
    names = [name for name, _ in network.named_modules() if name.count(".") == 1]
    assert names == ["layers.0", "layers.1", "layers.2", "activations.0", "activations.1"]


def test_equal_seeds_make_equal_networks_and_no_seed_follows_torch() -> None:
    def weights(seed: int | None) -> torch.Tensor:
        return create_standard_network([20, 10, 4], 0.3, seed=seed).layers[0].weight.detach()

    assert torch.equal(weights(3), weights(3))
    assert not torch.equal(weights(3), weights(4))
    state = torch.get_rng_state()
    first = weights(None)
    torch.set_rng_state(state)
    assert torch.equal(first, weights(None))


def test_a_seed_draws_nothing_from_torch_s_default_generator() -> None:
    state = torch.get_rng_state()
    create_standard_network([20, 10, 4], 0.3, seed=3)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("layer", ["standard", "extrema_aware"])
def test_a_recipe_is_json_and_rebuilds_the_birth_state(layer: Any) -> None:
    network = create_standard_network([12, 8, 3], 0.4, activation="gelu", layer=layer)
    recipe = json.loads(json.dumps(network.recipe))
    twin = StandardNetwork.from_recipe(recipe)
    for (name, tensor), other in zip(
        network.state_dict().items(), twin.state_dict().values(), strict=True
    ):
        assert torch.equal(tensor, other), name


def test_a_recipe_does_not_change_with_the_network_or_its_reader() -> None:
    network = create_standard_network([12, 8, 3], 0.4, seed=0)
    network.recipe["architecture"].append(5)
    assign(network.layers[0], network.layers[0].reindexed(0, [0, 1], new="fresh"))
    assert network.recipe["architecture"] == [12, 8, 3]


def test_widths_and_counts_follow_edits() -> None:
    network = create_standard_network([12, 8, 3], 0.5, seed=0)
    first, second = network.layers
    assign(first, first.reindexed(0, [*range(8), -1, -1], new="fresh"))
    assign(second, second.reindexed(1, [*range(8), -1, -1], new="silent"))
    assert network.architecture == [12, 10, 3]
    assert "architecture=[12, 10, 3]" in repr(network)
    stats = network.get_network_stats()
    live = [len(first.pattern), len(second.pattern)]
    assert [row["connections"] for row in stats["layers"]] == live
    assert stats["total_parameters"] == sum(live) + 10 + 3


def test_grown_layers_are_listed_where_they_continue_the_chain() -> None:
    network = create_standard_network([12, 8, 3], 0.5, seed=0)
    network.layers[0] = nn.Sequential(
        network.layers[0], nn.ReLU(), nn.Linear(8, 6), nn.Linear(9, 9)
    )
    assert network.architecture == [12, 8, 6]


def test_networks_copy_and_pickle() -> None:
    network, inputs = create_standard_network([12, 8, 3], 0.4, seed=0), torch.ones(2, 12)
    network(inputs).sum().backward()
    assert torch.equal(copy.deepcopy(network)(inputs), network(inputs))
    assert torch.equal(pickle.loads(pickle.dumps(network))(inputs), network(inputs))


def test_signals_keep_their_scale_at_birth_however_sparse() -> None:
    """The mean square halves at a ReLU and doubles at weights drawn by live fan-in."""
    network = create_standard_network([400, 400, 400, 400, 400], 0.03, seed=0)
    hidden = torch.randn(256, 400, generator=torch.Generator().manual_seed(0))
    for layer, activation in zip(network.layers, network.activations, strict=False):
        hidden = activation(layer(hidden))
        assert 0.7 < float(hidden.detach().square().mean()) < 1.4


def test_extrema_aware_networks_are_made_of_extrema_aware_layers() -> None:
    network = create_standard_network([6, 4, 2], layer="extrema_aware", activation="tanh")
    for layer in network.layers:
        assert isinstance(layer, ExtremaAwareSparseLayer)
    assert network.layers[0].activation == "tanh"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"sparsity": 0.99}, r"EXIST.*got 0.99.*density=0.01.*density=0.99"),
        ({"sparsity": 0.0}, "sparsity must be in"),
        ({"density": 0.1, "sparsity": 0.1}, "two words for one number"),
        ({"density": 0}, r"density must be in \(0, 1\]; got 0"),
        ({"density": 1.01}, "got 1.01"),
        ({"activation": "step"}, "activation must be one of relu"),
        ({"allocation": "random"}, "allocation must be one of uniform"),
        ({"layer": "dense"}, "layer must be one of standard, extrema_aware"),
        ({"seed": -1}, "seed must be None or a whole number"),
        ({"seed": 2**63}, "seed must be None or a whole number"),
        ({"architecture": [5]}, "at least two"),
        ({"architecture": [5, 0, 2]}, "positive"),
        ({"architecture": [5, 2.5]}, "whole"),
    ],
)
def test_wrong_arguments_are_refused(arguments: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        create_standard_network(**{"architecture": [6, 4, 2], **arguments})


def test_numpy_integers_are_whole_numbers() -> None:
    network = create_standard_network([np.int64(6), 4, 2], seed=np.int32(3))
    assert json.loads(json.dumps(network.recipe)) == network.recipe


def test_a_wrong_recipe_is_refused() -> None:
    recipe = create_standard_network([6, 4, 2]).recipe
    del recipe["seed"]
    with pytest.raises(ValueError, match="A recipe must have the entries"):
        StandardNetwork.from_recipe(recipe)


def test_words_of_the_wrong_kind_are_refused_whatever_the_depth() -> None:
    for word in ("density", "sparsity"):
        with pytest.raises(TypeError, match=f"{word} must be a number; got 'x'"):
            create_standard_network([64, 10], **{word: "x"})  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"activation must be one of .* got 'foo'"):
        create_standard_network([64, 10], activation="foo")


@pytest.mark.parametrize("storage", ["live", "masked"])
def test_inputs_that_do_not_fit_are_named_as_they_were_given(storage: Storage) -> None:
    before = get_crossover()
    set_crossover(storage)
    network = create_standard_network([64, 8, 2], density=0.5, seed=0)
    set_crossover(before)
    with pytest.raises(
        ValueError, match=r"got \(2, 3, 64\), flattened to \(2, 192\)\. .* inputs\.flatten\(0, -2\)"
    ):
        network(torch.randn(2, 3, 64))
    with pytest.raises(ValueError, match=r"64 entries a sample; got \(2, 5, 5\), .* \(2, 25\)\.$"):
        network(torch.randn(2, 5, 5))
    assert network(torch.randn(2, 8, 8)).shape == (2, 2)
    assert network(torch.randn(0, 4, 16)).shape == (0, 2)
