"""Sparse layers whose weight something else computes, or holds too, are not rearranged."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, parametrize, prune

from structure_net.core import StandardSparseLayer
from structure_net.errors import StructureNetError, SurgeryError
from structure_net.evolution import ComposableEvolutionSystem, NetworkContext
from structure_net.evolution.components import ConnectionAnalyzer, RigL
from structure_net.surgery import (
    AddConnections,
    AddNeurons,
    MoveConnections,
    RemoveConnections,
    densify,
    edit,
    set_storage,
    sparsify,
)
from structure_net.surgery.bound_weights import (
    refuse_bound,
    refuse_computed,
    refuse_graphs,
    refuse_shared,
)
from tests.laws.storages import STORAGES, Storage, crossover

INPUTS = torch.linspace(-1, 1, 24).view(4, 6)


def network(storage: Storage) -> nn.Sequential:
    with crossover(storage):
        first, last = (
            StandardSparseLayer(*size, density=0.5, generator=torch.Generator().manual_seed(0))
            for size in ((6, 5), (5, 3))
        )
    return nn.Sequential(first, nn.ReLU(), last)


def _free(layer: nn.Module) -> None:
    parametrize.remove_parametrizations(layer, "weight")


BINDINGS: dict[str, tuple[Callable[[Any], Any], str, Callable[[Any], Any]]] = {
    "weight norm": (
        parametrizations.weight_norm,
        r"parametrized by WeightNorm.*remove_parametrizations\(layer, \"weight\"\)",
        _free,
    ),
    "spectral norm": (parametrizations.spectral_norm, "parametrized by SpectralNorm", _free),
    "pruned": (
        lambda layer: prune.l1_unstructured(layer, "weight", amount=2),
        r"prune masks its weight \(L1Unstructured\)\. The weight is computed anew for each forward "
        r"pass, from tensors that no edit rearranges\. Call .*prune.remove\(layer, \"weight\"\)",
        lambda layer: prune.remove(layer, "weight"),
    ),
    "spectral norm by a hook": (
        torch.nn.utils.spectral_norm,
        r"spectral_norm computes its weight.*remove_spectral_norm\(layer\)",
        torch.nn.utils.remove_spectral_norm,
    ),
}


def _attempts(model: nn.Sequential) -> list[Callable[[], object]]:
    """An edit of the last layer, one between both, a switch of storage, and a strategy."""
    last = model[2]
    assert isinstance(last, StandardSparseLayer)
    pairs, other = last.pattern.pairs[:1], STORAGES[last.storage == "live"]
    data = [(INPUTS, torch.tensor([0, 1, 2, 0]))]
    system = ComposableEvolutionSystem([ConnectionAnalyzer(), RigL(0.3)])
    return [
        lambda: edit(model, RemoveConnections("2", pairs), INPUTS),
        lambda: edit(model, AddNeurons("0", 1), INPUTS),
        lambda: set_storage(model, other),
        lambda: system.attach(model, data_loader=data).after_epoch({"loss": 1.0}),
    ]


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("name", BINDINGS)
def test_a_weight_that_is_computed_is_left_alone_until_it_is_freed(
    name: str, storage: Storage
) -> None:
    bind, reason, free = BINDINGS[name]
    model = network(storage)
    attempts = _attempts(model)
    for layer in (model[0], model[2]):
        bind(layer)
    model.eval()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    for attempt in attempts:
        with pytest.raises(SurgeryError, match=reason):
            attempt()
        after = model.state_dict()
        assert list(after) == list(before)
        assert all(torch.equal(after[key], before[key]) for key in before)
    for layer in (model[0], model[2]):
        free(layer)
    for attempt in attempts[:2]:
        attempt()
    assert model(INPUTS).shape == (4, 3)


def _tied(storage: Storage) -> tuple[nn.Sequential, StandardSparseLayer]:
    with crossover(storage):
        one = StandardSparseLayer(6, 6, density=0.3)
        other = StandardSparseLayer(6, 6, pattern=one.pattern)
    other.weight = one.weight
    return nn.Sequential(one, nn.ReLU(), other), one


@pytest.mark.parametrize("storage", STORAGES)
def test_layers_that_share_a_parameter_are_not_rearranged(storage: Storage) -> None:
    model, one = _tied(storage)
    before = model(INPUTS)
    for name, other in (("0", "2"), ("2", "0")):
        with pytest.raises(SurgeryError, match=f"'{name}' cannot be rearranged.*'{other}.weight'"):
            edit(model, RemoveConnections(name, one.pattern.pairs[:1]), INPUTS)
    with pytest.raises(SurgeryError, match="cannot be rearranged"):
        set_storage(model, STORAGES[storage == "live"])
    assert torch.equal(model(INPUTS), before)


@pytest.mark.parametrize("storage", STORAGES)
def test_a_layer_in_two_places_and_a_list_of_weights_are_no_ties(storage: Storage) -> None:
    one = _tied(storage)[1]
    twice = nn.Sequential(one, nn.ReLU(), one)
    twice.register_parameter("watched", one.weight)
    twice.watched_too = nn.ParameterList([one.weight])
    pairs = one.pattern.pairs
    refuse_bound(twice, {"0": one})
    refuse_shared(twice, {"0": one})
    refuse_computed({"0": one})
    edit(twice[:3], RemoveConnections("0", pairs[:1]), INPUTS)
    assert one.pattern.pairs == pairs[1:]


@pytest.mark.parametrize("storage", STORAGES)
def test_weights_that_are_masked_or_shared_are_not_made_dense(storage: Storage) -> None:
    pruned, normed, shifted = (network(storage) for _ in range(3))
    prune.l1_unstructured(pruned[2], "weight", amount=2)
    parametrizations.weight_norm(normed[2])
    parametrize.register_parametrization(shifted[0], "bias", nn.Identity())
    for model in (pruned, normed, shifted, _tied(storage)[0]):
        kinds, before = [type(one) for one in model], model(INPUTS)
        with pytest.raises(SurgeryError, match="cannot be rearranged"):
            densify(model)
        assert [type(one) for one in model] == kinds
        assert torch.equal(model(INPUTS), before)


def test_layers_that_share_a_bias_become_sparse_and_dense_again() -> None:
    one, other = nn.Linear(6, 6), nn.Linear(6, 6)
    other.bias = one.bias
    model = nn.Sequential(one, other)
    sparsify(model, 0.5)
    before = model(INPUTS)
    densify(model)
    assert one.bias is other.bias
    torch.testing.assert_close(model(INPUTS), before)


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("bound", ["shared", "computed"])
def test_connections_move_whoever_else_has_the_bias(storage: Storage, bound: str) -> None:
    model = network(storage)
    first, reader = model[0], nn.Linear(3, 5)
    assert isinstance(first, StandardSparseLayer)
    if bound == "shared":
        assert first.bias is not None
        reader.bias = first.bias
        model.append(reader)
    else:
        parametrize.register_parametrization(first, "bias", nn.Identity())
    (free,) = (~first.pattern.mask()).nonzero()[:1].tolist()
    pairs = first.pattern.pairs
    come, bias = ((free[0], free[1]),), first.bias
    assert bias is not None
    before = bias.clone()
    edit(model, MoveConnections("0", pairs[:1], come, 1.0), INPUTS)
    edit(model, AddConnections("0", pairs[:1]), INPUTS)
    edit(model, RemoveConnections("0", come), INPUTS)
    assert first.pattern.pairs == pairs
    set_storage(model, STORAGES[storage == "live"])
    assert first.bias is not None
    assert torch.equal(first.bias, before)
    with pytest.raises(SurgeryError, match=r"'0' cannot be rearranged: its (parameter|bias) is"):
        edit(model, AddNeurons("0", 1), INPUTS)


def test_a_model_whose_weights_have_a_graph_is_not_copied() -> None:
    data = [(INPUTS, torch.tensor([0, 1, 2, 0]))]
    system = ComposableEvolutionSystem([])
    pruned = nn.Sequential(nn.Linear(6, 5), nn.Linear(5, 3))
    prune.l1_unstructured(pruned[1], "weight", amount=2)
    message = r"since '1' keeps .* 'weight': .*prune masks its weight .*prune\.remove\(layer, \"wei"
    with pytest.raises(StructureNetError, match=message):
        system.evolve_network(NetworkContext(pruned, data), 1)
    prune.remove(pruned[1], "weight")
    system.evolve_network(NetworkContext(pruned, data), 1)
    pruned[0].seen = pruned[0](INPUTS).detach()
    refuse_graphs(pruned)
    pruned[0].seen = pruned[0](INPUTS)
    with pytest.raises(StructureNetError, match=r"since '0' keeps .* 'seen': .*tensor\.detach\(\)"):
        system.evolve_network(NetworkContext(pruned, data), 1)
