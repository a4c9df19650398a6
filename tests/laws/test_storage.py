"""Whatever the storage of sparse layers: the same function, gradients, training, edits and journal.

Tolerances: sums of at most a few dozen float64 products in another order differ by some 1e-15, and
200 steps of Adam on smooth losses amplify that to less than 1e-11.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from structure_net import create_standard_network
from structure_net.core import SparsePattern, StandardSparseLayer, TemporaryPatchLayer, assign
from structure_net.core.layers import SparseConv2d
from structure_net.core.storage import StoredLayer
from structure_net.evolution import ComposableEvolutionSystem, NetworkContext
from structure_net.evolution.components import (
    PruningGrowthStrategy,
    SparseEvolutionaryTraining,
    StandardExtremaAnalyzer,
    StandardNetworkTrainer,
)
from structure_net.surgery import (
    AddConnections,
    AddNeurons,
    Edit,
    EditEntry,
    Journal,
    MergeNeurons,
    RemoveConnections,
    RemoveNeurons,
    SplitNeurons,
    apply,
    architecture,
    diff,
    edit,
    load_checkpoint,
    replay,
    save_checkpoint,
    set_storage,
)
from tests.laws.storages import STORAGES, Storage, crossover, network

EXAMPLE = torch.zeros(2, 12, dtype=torch.float64)


def data() -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(1)
    inputs = torch.randn(24, 12, generator=draw, dtype=torch.float64)
    return inputs, torch.randn(24, 4, generator=draw, dtype=torch.float64)


def train(model: nn.Module, optimizer: torch.optim.Optimizer, steps: int) -> None:
    inputs, targets = data()
    for _ in range(steps):
        optimizer.zero_grad()
        (model(inputs) - targets).square().mean().backward()
        optimizer.step()


def weights(model: nn.Module) -> list[Tensor]:
    layers = [module for module in model.modules() if isinstance(module, StoredLayer)]
    return [layer.dense_weight().detach() for layer in layers] + [
        layer.bias.detach() for layer in layers if layer.bias is not None
    ]


def same(one: nn.Module, other: nn.Module) -> None:
    for first, second in zip(weights(one), weights(other), strict=True):
        torch.testing.assert_close(first, second, rtol=0, atol=1e-10)


def stages(model: nn.Module) -> Iterator[Edit]:
    """Growth, pruning and new connections, as the network is when each is asked for."""
    first = model.get_submodule("layers.0")
    assert isinstance(first, StandardSparseLayer)
    yield AddNeurons("layers.0", 3)
    yield RemoveConnections("layers.1", model.get_submodule("layers.1").pattern.pairs[::3])  # type: ignore[union-attr]
    yield AddConnections(
        "layers.0", tuple(map(tuple, (~first.pattern.mask()).nonzero()[:9].tolist()))
    )
    yield SplitNeurons("layers.1", (2, 5))
    yield RemoveNeurons("layers.0", (0, 4))
    yield MergeNeurons("layers.1", ((1, 3),))


def test_training_is_the_same_in_either_storage_through_edits_and_switches() -> None:
    """200 steps of Adam; the third network changes its storage all the time."""
    models = [network("live"), network("masked"), network("masked")]
    optimizers = [torch.optim.Adam(model.parameters(), lr=0.01) for model in models]
    forced: tuple[Storage, ...] = ("live", "masked", "live")
    for number, changes in enumerate(zip(*(stages(model) for model in models), strict=True)):
        assert changes[0] == changes[1] == changes[2]
        for model, optimizer, storage in zip(models, optimizers, forced, strict=True):
            train(model, optimizer, 15)
            with crossover(storage):
                edit(model, changes[0], EXAMPLE, optimizer=optimizer, seed=number)
            train(model, optimizer, 15)
        set_storage(models[2], STORAGES[number % 2], optimizer=optimizers[2])
        same(models[0], models[1])
        same(models[0], models[2])
    for model, optimizer in zip(models, optimizers, strict=True):
        train(model, optimizer, 20)
    same(models[0], models[1])
    same(models[0], models[2])
    assert {layer.storage for layer in models[0].layers} == {"live"}
    assert {layer.storage for layer in models[1].layers} == {"masked"}
    assert architecture(models[0]) == architecture(models[1]) == architecture(models[2])


@pytest.mark.parametrize("start", STORAGES)
def test_an_edit_that_switches_the_storage_is_undone_bit_for_bit(start: Storage) -> None:
    model, other = network(start), STORAGES[start == "live"]
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    train(model, optimizer, 3)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    weight = model.layers[0].weight
    moments = {key: value.clone() for key, value in optimizer.state[weight].items()}
    with crossover(other):
        done = apply(model, AddNeurons("layers.0", 2), EXAMPLE, optimizer=optimizer)
    assert model.layers[0].storage == other
    train(model, optimizer, 2)
    done.undo()
    assert model.layers[0].storage == start
    after = model.state_dict()
    assert list(after) == list(before)
    touched = [n for n in before if n.startswith("layers.0") or n == "layers.1.weight"]
    assert all(torch.equal(after[name], before[name]) for name in touched)
    assert all(torch.equal(optimizer.state[weight][k], v) for k, v in moments.items())
    train(model, optimizer, 2)


@pytest.mark.parametrize("start", STORAGES)
def test_a_switch_is_undone_bit_for_bit(start: Storage) -> None:
    model, other = network(start), STORAGES[start == "live"]
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    train(model, optimizer, 3)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    weight = model.layers[0].weight
    moments = {key: value.clone() for key, value in optimizer.state[weight].items()}
    undo = set_storage(model, other, optimizer=optimizer)
    assert {layer.storage for layer in model.layers} == {other}
    assert model.layers[0].weight is weight
    undo.undo()
    after = model.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())
    assert all(torch.equal(optimizer.state[weight][k], v) for k, v in moments.items())
    with pytest.raises(ValueError, match="storage must be live, masked or auto"):
        set_storage(model, "dense")  # type: ignore[arg-type]


@pytest.mark.parametrize("start", STORAGES)
def test_an_optimizer_that_was_not_handed_over_follows_a_switch(start: Storage) -> None:
    model, twin = network(start), network(start)
    optimizers = [torch.optim.Adam(one.parameters(), lr=0.01) for one in (model, twin)]
    train(model, optimizers[0], 5)
    train(twin, optimizers[1], 5)
    set_storage(model, STORAGES[start == "live"])
    train(model, optimizers[0], 20)
    train(twin, optimizers[1], 20)
    same(model, twin)


@pytest.mark.parametrize("saved", STORAGES)
def test_a_run_saved_in_one_storage_goes_on_in_the_other(saved: Storage, tmp_path: Path) -> None:
    model, other = network(saved), STORAGES[saved == "live"]
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    train(model, optimizer, 5)
    with crossover(saved):
        edit(model, AddNeurons("layers.1", 2), EXAMPLE, optimizer=optimizer)
    journal = Journal((EditEntry(AddNeurons("layers.1", 2)),))
    path = tmp_path / "run.safetensors"
    save_checkpoint(path, model, optimizer=optimizer, journal=journal)
    with crossover(other):
        checkpoint = load_checkpoint(path)
        resumed = checkpoint.model
        again = torch.optim.Adam(resumed.parameters(), lr=0.01)
        checkpoint.restore_optimizer(again)
        assert all(
            torch.equal(tensor, resumed.state_dict()[name])
            for name, tensor in model.state_dict().items()
        )
        edit(resumed, AddNeurons("layers.0", 3), EXAMPLE, optimizer=again)
        assert resumed.get_submodule("layers.0").storage == other
    with crossover(saved):
        edit(model, AddNeurons("layers.0", 3), EXAMPLE, optimizer=optimizer)
    train(model, optimizer, 30)
    train(resumed, again, 30)
    same(model, resumed)


def test_journal_and_architecture_do_not_depend_on_the_storage() -> None:
    inputs, targets = data()
    batches = [(inputs.float(), targets.argmax(1))]
    found = []
    for storage in STORAGES:
        with crossover(storage):
            model = create_standard_network([12, 20, 16, 4], density=0.3, seed=0)
            strategies = [SparseEvolutionaryTraining(), PruningGrowthStrategy({"density": 0.2})]
            parts = [StandardNetworkTrainer(), StandardExtremaAnalyzer(), *strategies]
            context = NetworkContext(model, batches)
            after = ComposableEvolutionSystem(parts).evolve_network(context, 3)
            assert {layer.storage for layer in after.network.layers} == {storage}  # type: ignore[union-attr]
        found.append(after)
    assert found[0].journal.edits
    assert found[0].journal == found[1].journal
    assert architecture(found[0].network) == architecture(found[1].network)
    assert diff(found[0].journal, found[1].journal).same
    replayed = replay(network("masked").float(), found[0].journal, EXAMPLE.float())
    assert architecture(replayed) == architecture(found[0].network)


SHAPES = st.tuples(st.integers(1, 7), st.integers(1, 7))


def pattern(shape: tuple[int, int], picks: list[int]) -> SparsePattern:
    places = sorted({pick % (shape[0] * shape[1]) for pick in picks})
    return SparsePattern.from_pairs([divmod(place, shape[1]) for place in places], shape)


def both(shape: tuple[int, int], picks: list[int], kind: str) -> tuple[StoredLayer, StoredLayer]:
    """Equal layers in the two storages: empty rows and columns, one connection, all of them."""
    made = []
    for storage in STORAGES:
        draw = torch.Generator().manual_seed(0)
        live = pattern(shape, picks)
        with crossover(storage):
            layer: StoredLayer = (
                StandardSparseLayer(shape[1], shape[0], pattern=live, generator=draw)
                if kind == "linear"
                else SparseConv2d(shape[1], shape[0], (2, 3), pattern=live, generator=draw)
            )
        made.append(layer.double())
    return made[0], made[1]


def rearrange(layer: StoredLayer, action: str, picks: list[int]) -> tuple[StoredLayer, Tensor]:
    """The layer after an edit, and state that was 1, 2, 3, ... along its connections."""
    changes = {
        "outputs": lambda: layer.reindexed(
            0,
            [pick % (layer.out_channels + 1) - 1 for pick in picks],
            new="fresh",
            generator=torch.Generator().manual_seed(3),
        ),
        "inputs": lambda: layer.reindexed(
            1,
            [pick % (layer.in_channels + 1) - 1 for pick in picks],
            new="silent",
            scale=torch.linspace(0.5, 2, len(picks), dtype=torch.float64),
            generator=torch.Generator().manual_seed(3),
        ),
        "connect": lambda: layer.connected((~layer.pattern.mask()).nonzero()[::2]),
        "disconnect": lambda: layer.disconnected(layer.pattern.pairs[1::2]),
        "merge": lambda: layer.merged([(0, layer.in_channels - 1)], part=0.25),
        "switch": lambda: layer.stored(STORAGES[layer.storage == "live"]),
    }[action]()
    marks = torch.arange(1.0, len(layer.pattern) + 1, dtype=torch.float64)
    layer_state, plain = layer.live_weights.detach().clone(), layer.live_weights.detach().clone()
    layer.fill(marks.view(-1, *[1] * (plain.dim() - 1)).expand_as(plain))
    state = layer.weight.detach().clone()
    layer.fill(layer_state)
    state = changes[0].carry(state) if changes else state
    assign(layer, changes)
    layer.settle()
    after = layer.live_weights.detach().clone()
    held = layer.weight.data
    layer.weight.data = state
    carried = layer.dense_weight().detach().clone()
    layer.weight.data = held
    assert torch.equal(after, layer.live_weights)
    return layer, carried


@settings(deadline=None)
@given(
    SHAPES,
    st.lists(st.integers(0, 48), min_size=1, max_size=50),
    st.sampled_from(["linear", "convolution"]),
    st.sampled_from(["outputs", "inputs", "connect", "disconnect", "merge", "switch"]),
    st.lists(st.integers(0, 99), min_size=1, max_size=9),
)
def test_every_edit_makes_the_same_layer_in_either_storage(
    shape: tuple[int, int], picks: list[int], kind: str, action: str, more: list[int]
) -> None:
    if action == "merge" and shape[1] < 2:
        return
    live, masked = both(shape, picks, kind)
    assert torch.equal(live.dense_weight(), masked.dense_weight())
    with crossover("live"):
        live, first = rearrange(live, action, more)
    with crossover("masked"):
        masked, second = rearrange(masked, action, more)
    assert live.pattern == masked.pattern
    assert torch.equal(live.dense_weight(), masked.dense_weight())
    assert torch.equal(first, second)
    assert (live.storage, masked.storage) == (
        ("masked", "live") if action == "switch" else ("live", "masked")
    )


@settings(deadline=None)
@example((5, 7), list(range(35)), "linear", 1, True)  # all connections
@example((5, 7), list(range(35)), "convolution", 1, True)
@example((6, 4), [9], "linear", 3, False)  # one: all rows and columns but one are empty
@example((6, 4), [9], "convolution", 3, False)
@given(
    SHAPES,
    st.lists(st.integers(0, 48), min_size=1, max_size=50),
    st.sampled_from(["linear", "convolution"]),
    st.integers(1, 3),
    st.booleans(),
)
def test_outputs_and_gradients_are_the_same_in_either_storage(
    shape: tuple[int, int], picks: list[int], kind: str, batch: int, strided: bool
) -> None:
    live, masked = both(shape, picks, kind)
    draw = torch.Generator().manual_seed(1)
    size = (batch, shape[1]) if kind == "linear" else (batch, shape[1], 4, 5)
    inputs = torch.randn(size, generator=draw, dtype=torch.float64)
    if strided:
        inputs = inputs.transpose(0, -1).contiguous().transpose(0, -1)
    found = []
    for layer in (live, masked):
        leaf = inputs.clone().requires_grad_()
        outputs = layer(leaf)
        outputs.pow(3).sum().backward()
        gradient = layer.weight.grad
        assert gradient is not None
        along = gradient if layer.storage == "live" else gradient[layer.mask]
        assert layer.bias is not None
        found.append((outputs.detach(), leaf.grad, along, layer.bias.grad))
    torch.testing.assert_close(found[0], found[1], rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("storage", STORAGES)
def test_trial_connections_ride_on_the_storage_below(storage: Storage) -> None:
    live, masked = both((6, 7), list(range(0, 42, 3)), "linear")
    pairs = (~live.pattern.mask()).nonzero()[::5]
    inputs = torch.randn(3, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    layers = []
    for layer in (live, masked):
        with crossover(storage):
            trial = TemporaryPatchLayer(
                layer, pairs, scale=1.0, generator=torch.Generator().manual_seed(2)
            )
            before = trial(inputs)
            layers.append(trial.accept())
        torch.testing.assert_close(layers[-1](inputs), before, rtol=0, atol=1e-12)
    assert layers[0].pattern == layers[1].pattern
    assert [layer.storage for layer in layers] == [storage, storage]  # type: ignore[attr-defined]
    torch.testing.assert_close(layers[0](inputs), layers[1](inputs), rtol=0, atol=1e-12)
