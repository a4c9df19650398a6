"""A model of one's own made sparse keeps what it was but for the connections that went."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_model, save_model
from torch import Tensor, nn

from structure_net.core import (
    StandardSparseLayer,
    connection_counts,
    create_standard_network,
    plan_sparsity,
    sparse_layers,
)
from structure_net.errors import SurgeryError
from structure_net.evolution import ComposableEvolutionSystem, NetworkContext
from structure_net.evolution.components import (
    ConnectionAnalyzer,
    PruningGrowthStrategy,
    RigL,
    SparseEvolutionaryTraining,
    StandardNetworkTrainer,
)
from structure_net.evolution.interfaces import EditingStrategy
from structure_net.surgery import (
    AddConnections,
    AddNeurons,
    Journal,
    densify,
    edit,
    load_checkpoint,
    save_checkpoint,
    sparsify,
)
from structure_net.surgery.sparsifying import Become
from tests.elsewhere import away
from tests.laws.storages import STORAGES, Storage, crossover

EXACT: dict[str, Any] = {"rtol": 0, "atol": 1e-10}


class Residual(nn.Module):
    """A user's module: a convolution, a residual block whose second layer has two names."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(2, 8, 3, padding="same")
        self.first = nn.Linear(8, 16)
        self.second = nn.Linear(16, 8, bias=False)
        self.alias = self.second
        self.plainly = [self.second]
        self.out = nn.Linear(8, 3)

    def forward(self, images: Tensor) -> Tensor:
        x = torch.relu(self.stem(images)).mean((2, 3))
        x = x + self.second(torch.relu(self.first(x)))
        x = x + self.alias(torch.relu(self.first(x)))
        result: Tensor = self.out(x)
        return result


def seeded(make: Callable[[], nn.Module], seed: int = 0) -> Any:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return make()


def made(seed: int = 0) -> tuple[Any, Tensor]:
    draw = torch.Generator().manual_seed(seed)
    images = torch.randn(5, 2, 6, 6, dtype=torch.float64, generator=draw)
    return seeded(Residual, seed).double(), images


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("granularity", ["kernel", "weight"])
def test_all_connections_give_the_outputs_of_the_dense_model(
    granularity: Any, storage: Storage
) -> None:
    model, x = made()
    expected = model(x)
    with crossover(storage):
        assert sparsify(model, 1.0, granularity=granularity) is model
        torch.testing.assert_close(model(x), expected, **EXACT)
        torch.testing.assert_close(densify(model)(x), expected, **EXACT)


@pytest.mark.parametrize("storage", STORAGES)
@given(
    density=st.floats(0.05, 1.0),
    granularity=st.sampled_from(["kernel", "weight"]),
    seed=st.integers(0, 99),
)
@settings(max_examples=15, deadline=None)
def test_the_largest_weights_stay_and_the_others_are_zero(
    storage: Storage, density: float, granularity: Any, seed: int
) -> None:
    model, x = made(seed)
    masked = copy.deepcopy(model)
    plan = plan_sparsity(model, density, granularity=granularity)
    for planned in plan.layers:
        weight = masked.get_parameter(f"{planned.name}.weight")
        whole = weight.dim() > 2 and granularity == "kernel"
        strength = (
            weight.detach().flatten(2).norm(dim=2) if whole else weight.detach().flatten(1).abs()
        )
        least = strength.flatten().sort(descending=True).values[len(planned.pattern) - 1]
        keep = (strength >= least).view(*strength.shape, 1, 1) if whole else strength >= least
        weight.data *= keep if whole else keep.view(weight.shape)
    with crossover(storage):
        sparsify(model, density, granularity=granularity)
        torch.testing.assert_close(model(x), masked(x), **EXACT)
        dense = densify(copy.deepcopy(model))
        for name, weight in masked.state_dict().items():
            assert torch.equal(dense.state_dict()[name], weight)
        assert not sparse_layers(dense)


@pytest.mark.parametrize("allocation", ["uniform", "erdos_renyi", "erdos_renyi_kernel"])
@pytest.mark.parametrize("by", ["magnitude", "random"])
def test_every_layer_gets_the_connections_of_the_allocation(allocation: Any, by: Any) -> None:
    model = made()[0]
    shapes = [tuple(getattr(model, n).weight.shape) for n in ("stem", "first", "second", "out")]
    counts = connection_counts(shapes, 0.3, allocation, whole=False)
    assert sum(counts) == round(0.3 * sum(torch.Size(shape).numel() for shape in shapes))
    sparsify(model, 0.3, by=by, allocation=allocation, granularity="weight", seed=3)
    assert tuple(layer.connections for layer in sparse_layers(model).values()) == counts


def test_modules_parameters_names_modes_and_hooks_stay_what_they_were() -> None:
    model, x = made()
    model.eval().first.train()
    model.first.bias.requires_grad_(False)
    model.first.note = "the user's"
    called: list[str] = []
    handle = model.first.register_forward_hook(lambda *_: called.append("first"))
    before = {name: id(parameter) for name, parameter in model.named_parameters()}
    modules = {name: id(module) for name, module in model.named_modules()}
    names = set(model.state_dict())
    sparsify(model, 0.3)
    model(x)
    assert called == ["first", "first"]
    handle.remove()
    model(x)
    assert called == ["first", "first"]
    assert {name: id(parameter) for name, parameter in model.named_parameters()} == before
    assert {name: id(module) for name, module in model.named_modules()} == modules
    assert names <= set(model.state_dict())
    assert model.alias is model.second is model.plainly[0]
    assert isinstance(model.plainly[0], StandardSparseLayer)
    assert (model.first.training, model.second.training) == (True, False)
    assert not model.first.bias.requires_grad
    assert model.first.note == "the user's"
    densify(model)
    assert type(model.first) is nn.Linear
    assert vars(model.first).keys() - {"note"} == vars(nn.Linear(1, 1)).keys()
    assert vars(model.stem).keys() == vars(nn.Conv2d(1, 1, 1)).keys()
    assert model.first.in_features == 8
    assert model.first.note == "the user's"
    assert set(model.state_dict()) == names


@pytest.mark.parametrize("handed", [True, False])
@pytest.mark.parametrize("storage", STORAGES)
def test_moments_of_weights_that_stay_go_on_and_new_ones_begin_at_zero(
    storage: Storage, handed: bool
) -> None:
    model, x = made()
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    model(x).square().sum().backward()
    optimizer.step()
    moments = optimizer.state[model.first.weight]["exp_avg"].clone()
    gradient = model.first.weight.grad.clone()
    with crossover(storage):
        sparsify(model, 0.4, optimizer=optimizer if handed else None)
        layer: Any = model.first
        mask = layer.pattern.mask()
        densify(model, optimizer=optimizer if handed else None)
    optimizer.state_dict()
    assert torch.equal(optimizer.state[model.first.weight]["exp_avg"], moments * mask)
    assert torch.equal(model.first.weight.grad, gradient * mask)
    model(x).square().sum().backward()
    optimizer.step()


@pytest.mark.parametrize("storage", STORAGES)
def test_a_sparse_model_is_copied_pickled_saved_and_loaded(
    storage: Storage, tmp_path: Path
) -> None:
    model, x = made()
    with crossover(storage):
        expected = sparsify(model, 0.3)(x)
        torch.testing.assert_close(copy.deepcopy(model)(x), expected, rtol=0, atol=0)
        torch.testing.assert_close(pickle.loads(pickle.dumps(model))(x), expected, rtol=0, atol=0)
        save_model(model, str(tmp_path / "weights.safetensors"))
        other = sparsify(made(1)[0], 0.3, by="random")
        load_model(other, str(tmp_path / "weights.safetensors"))
        torch.testing.assert_close(other(x), expected, rtol=0, atol=0)


def test_a_checkpoint_and_a_journal_go_on_with_a_sparse_model(tmp_path: Path) -> None:
    model, x = made()
    sparsify(model, 0.3)
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    model(x).sum().backward()
    optimizer.step()
    journal = Journal()
    edit(model, AddNeurons("first", 2), x, optimizer=optimizer)
    save_checkpoint(tmp_path / "a.safetensors", model, optimizer=optimizer, journal=journal)
    other = sparsify(made(1)[0], 0.3, by="random", seed=5)
    edit(other, AddNeurons("first", 2), x)
    after = torch.optim.SGD(other.parameters(), 0.1, momentum=0.9)
    load_checkpoint(tmp_path / "a.safetensors", other, optimizer=after)
    assert torch.equal(other(x), model(x))
    free = (~sparse_layers(other)["out"].pattern.mask()).nonzero()[:1].tolist()
    edit(other, AddConnections("out", tuple(map(tuple, free))), x, optimizer=after)


def convolutional() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(2, 8, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3, stride=2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(32, 4),
    )


class Attending(nn.Module):
    """An encoder layer over the rows of an image."""

    def __init__(self) -> None:
        super().__init__()
        self.block = nn.TransformerEncoderLayer(12, 2, 24, dropout=0.0, batch_first=True)
        self.out = nn.Linear(12, 4)

    def forward(self, images: Tensor) -> Tensor:
        """Shape ``(N, 2, 6, 6)`` to ``(N, 4)``."""
        rows = images.transpose(1, 2).flatten(2)
        result: Tensor = self.out(self.block(rows).mean(1))
        return result


def batches() -> list[tuple[Tensor, Tensor]]:
    draw = torch.Generator().manual_seed(0)
    images = torch.randn(4, 8, 2, 6, 6, generator=draw)
    return [(x, torch.arange(8) % 3) for x in images]


MODELS = (convolutional, Attending, Residual)


@pytest.mark.parametrize("make", MODELS, ids=lambda make: make.__name__)
@pytest.mark.parametrize("strategy", [RigL(), SparseEvolutionaryTraining()], ids=["rigl", "set"])
def test_connections_of_a_sparse_model_move_while_it_trains(
    make: Callable[[], nn.Module], strategy: EditingStrategy
) -> None:
    model = sparsify(seeded(make), 0.5)
    counts = {name: layer.connections for name, layer in sparse_layers(model).items()}
    patterns = {name: layer.pattern for name, layer in sparse_layers(model).items()}
    context = NetworkContext(model, batches(), validation_loader=batches()[:1])
    system = ComposableEvolutionSystem(
        [ConnectionAnalyzer(), StandardNetworkTrainer(epochs=1), strategy]
    )
    evolved = system.evolve_network(context, num_iterations=2).network
    after = sparse_layers(evolved)
    assert {name: layer.connections for name, layer in after.items()} == counts
    assert any(layer.pattern != patterns[name] for name, layer in after.items())
    assert not sparse_layers(densify(evolved))


def test_a_session_in_a_loop_of_ones_own_prunes_a_model_that_keeps_all_connections() -> None:
    model, data = sparsify(seeded(convolutional), 1.0), batches()
    optimizer = torch.optim.AdamW(model.parameters(), 1e-2)
    system = ComposableEvolutionSystem([PruningGrowthStrategy({"density": 0.25}, start=1)])
    session = system.attach(
        model, optimizer=optimizer, data_loader=data, validation_loader=data[:1]
    )
    for _ in range(2):
        for images, labels in data:
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(images), labels)
            loss.backward()
            optimizer.step()
            session.after_step(loss)
        session.after_epoch({"train_loss": loss.item()})
    layers = sparse_layers(model).values()
    possible = sum(layer.dense_weight().numel() for layer in layers)
    # Of weights, to half of the largest kernel: nine of them.
    assert sum(layer.connections for layer in layers) <= 0.25 * possible + 4.5


def test_a_sparse_model_runs_as_a_compiled_program() -> None:
    model, x = made()
    expected = sparsify(model, 0.3)(x)
    program: Any = torch.compile(model, backend="eager")
    torch.testing.assert_close(program(x), expected, **EXACT)


def test_a_layer_by_itself_and_a_network_of_ours_turn_too() -> None:
    layer = seeded(lambda: nn.Linear(8, 6))
    kinds = type(sparsify(layer, 0.5)), type(densify(layer))
    assert kinds == (StandardSparseLayer, nn.Linear)
    network = create_standard_network([8, 6, 2], density=0.5, seed=0).double()
    x = torch.ones(2, 8, dtype=torch.float64)
    torch.testing.assert_close(densify(copy.deepcopy(network))(x), network(x), **EXACT)


def narrow() -> nn.Module:
    return nn.Sequential(nn.Conv2d(9, 9, 3), nn.Flatten(), nn.Linear(9, 64))


def test_types_and_memory_formats_are_kept() -> None:
    model = seeded(narrow).bfloat16()
    model.to(memory_format=torch.channels_last)
    x = torch.ones(2, 9, 3, 3, dtype=torch.bfloat16)
    expected = model(x)
    sparsify(model, 1.0)
    assert {p.dtype for p in model.parameters()} == {torch.bfloat16}
    # Sums of 81 products of size 0.1 at 8 bits.
    torch.testing.assert_close(model(x), expected, rtol=0, atol=0.05)


def test_what_cannot_follow_is_refused_before_anything_changes() -> None:
    model, x = made()
    optimizer = torch.optim.LBFGS(model.parameters())

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss: Tensor = model(x).square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    before = [(name, type(module), set(vars(module))) for name, module in model.named_modules()]
    weights = [parameter.detach().clone() for parameter in model.parameters()]
    with pytest.raises(SurgeryError, match="LBFGS remembers"):
        sparsify(model, 0.3, optimizer=optimizer)
    twin = StandardSparseLayer(8, 16, density=0.5, generator=torch.Generator())
    turn = Become(model.first, twin, frozenset({"in_features", "out_features"}))
    turn.apply()
    assert type(model.first) is StandardSparseLayer
    turn.revert()
    after = [(name, type(module), set(vars(module))) for name, module in model.named_modules()]
    assert after == before
    assert all(map(torch.equal, weights, model.parameters()))
    closure()


@pytest.mark.away
@pytest.mark.parametrize("storage", STORAGES)
def test_on_another_device_it_is_what_it_is_on_the_cpu(storage: Storage) -> None:
    here, x = made()
    there = copy.deepcopy(here).to(away())
    optimizer = torch.optim.Adam(there.parameters(), 0.01)
    there(x.to(away())).square().sum().backward()
    optimizer.step()
    here.load_state_dict(there.state_dict())
    with crossover(storage):
        expected = sparsify(here, 0.3)(x)
        sparsify(there, 0.3, optimizer=optimizer)
        assert {tensor.device.type for tensor in there.state_dict().values()} == {away()}
        torch.testing.assert_close(there(x.to(away())).cpu(), expected, **EXACT)
        there(x.to(away())).square().sum().backward()
        densify(there, optimizer=optimizer)
        optimizer.step()
    assert {parameter.device.type for parameter in there.parameters()} == {away()}
    densify(here)
    assert [type(module) for module in here.modules()] == [type(m) for m in there.modules()]
