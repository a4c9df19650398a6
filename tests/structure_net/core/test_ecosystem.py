"""What PyTorch does with modules works on sparse layers in either storage."""

from __future__ import annotations

import copy
import io
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Optimizer
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from structure_net.core import SparseConv2d, StandardSparseLayer, assign
from structure_net.core.crossover import Storage
from structure_net.core.storage import StoredLayer

STORAGES: tuple[Storage, ...] = ("live", "masked")
# SparseAdam takes sparse gradients alone, Muon matrices alone.
OPTIMIZERS = sorted(
    name
    for name, kind in vars(torch.optim).items()
    if isinstance(kind, type) and issubclass(kind, Optimizer)
    if name not in {"Optimizer", "SparseAdam", "Muon"}
)


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def network(storage: Storage, seed: int = 0) -> nn.Sequential:
    generator = torch.Generator().manual_seed(seed)
    model = nn.Sequential(
        SparseConv2d(2, 6, 3, density=0.4, generator=generator),
        nn.ReLU(),
        nn.Flatten(),
        StandardSparseLayer(54, 5, density=0.3, generator=generator),
    ).double()
    for layer in layers(model):
        assign(layer, layer.stored(storage))
    return model


def layers(model: nn.Module) -> list[StoredLayer]:
    return [module for module in model.modules() if isinstance(module, StoredLayer)]


INPUTS, TARGETS = drawn(8, 2, 5, 5), torch.arange(8) % 5


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_moves_the_same_weights_in_both_storages(name: str) -> None:
    found = []
    for storage in STORAGES:
        model = network(storage)
        before = [layer.pattern for layer in layers(model)]
        kind: Any = getattr(torch.optim, name)
        optimizer = kind(model.parameters(), lr=0.01)

        def loss(model: nn.Module = model, optimizer: Any = optimizer) -> Tensor:
            optimizer.zero_grad()
            value = F.cross_entropy(model(INPUTS), TARGETS)
            value.backward()
            return value

        for _ in range(3):
            optimizer.step(loss)
        assert [layer.pattern for layer in layers(model)] == before
        assert all(layer.off_pattern() == 0 for layer in layers(model))
        found.append(model(INPUTS))
    # Adafactor's step depends on the shape: it factors the second moments of matrices alone.
    if name != "Adafactor":
        torch.testing.assert_close(*found, rtol=0, atol=1e-8)


def test_a_matrix_optimizer_refuses_a_list() -> None:
    with pytest.raises(ValueError, match="2D"):
        torch.optim.Muon([layers(network("live"))[1].weight])


@pytest.mark.parametrize("storage", STORAGES)
def test_gradients_are_clipped_and_gathered_alike(storage: Storage) -> None:
    model, other = network(storage), network("masked")
    for one in (model, other):
        for part in (slice(0, 3), slice(3, 8)):
            F.cross_entropy(one(INPUTS[part]), TARGETS[part], reduction="sum").backward()
    norms = [nn.utils.clip_grad_norm_(one.parameters(), 0.5) for one in (model, other)]
    torch.testing.assert_close(*norms, rtol=0, atol=1e-10)
    whole = network("masked")
    F.cross_entropy(whole(INPUTS), TARGETS, reduction="sum").backward()
    norm = nn.utils.get_total_norm([p.grad for p in whole.parameters() if p.grad is not None])
    torch.testing.assert_close(norms[0], norm, rtol=0, atol=1e-10)


@pytest.mark.parametrize("storage", STORAGES)
def test_averages_of_weights_keep_the_pattern_and_come_back(storage: Storage) -> None:
    for average in (None, get_ema_multi_avg_fn(0.5)):
        model = network(storage)
        mean = AveragedModel(model, multi_avg_fn=average)
        seen = []
        for _ in range(3):
            with torch.no_grad():
                for layer in layers(model):
                    layer.fill(layer.live_weights + 1)
            mean.update_parameters(model)
            seen.append(layers(model)[1].live_weights.detach().clone())
        assert layers(mean)[1].pattern == layers(model)[1].pattern
        wanted = sum(seen) / 3 if average is None else (seen[0] + seen[1]) / 4 + seen[2] / 2
        assert isinstance(wanted, Tensor)
        torch.testing.assert_close(layers(mean)[1].live_weights.detach(), wanted)
        other = AveragedModel(network(storage, seed=1))
        other.load_state_dict(mean.state_dict())
        assert torch.equal(other(INPUTS), mean(INPUTS))


@pytest.mark.parametrize("storage", STORAGES)
def test_ensembles_and_gradients_of_each_sample(storage: Storage) -> None:
    models = [network(storage) for _ in range(2)]
    for layer in layers(models[1]):
        layer.fill(0.1)
    parameters, _ = torch.func.stack_module_state(models)
    base = copy.deepcopy(models[0])
    buffers = dict(base.named_buffers())

    def run(own: dict[str, Tensor], inputs: Tensor) -> Tensor:
        result: Tensor = torch.func.functional_call(base, (own, buffers), (inputs,))
        return result

    each = torch.func.vmap(run, (0, None))(parameters, INPUTS)
    for one, model in zip(each, models, strict=True):
        torch.testing.assert_close(one, model(INPUTS), rtol=0, atol=1e-10)
    own = {name: value.detach() for name, value in base.named_parameters()}
    gradient = torch.func.grad(lambda p, x: run(p, x[None]).square().sum())
    of_each = torch.func.vmap(gradient, (None, 0))(own, INPUTS)
    base(INPUTS).square().sum().backward()
    for name, value in base.named_parameters():
        torch.testing.assert_close(of_each[name].sum(0), value.grad, rtol=0, atol=1e-10)


@pytest.mark.parametrize("storage", STORAGES)
def test_a_saved_network_is_read_back_without_running_code(storage: Storage) -> None:
    model, memory = network(storage), io.BytesIO()
    torch.save(model.state_dict(), memory)
    memory.seek(0)
    other = network("masked" if storage == "live" else "live", seed=1)
    other.load_state_dict(torch.load(memory, weights_only=True))
    assert [layer.storage for layer in layers(other)] == [storage] * 2
    assert torch.equal(other(INPUTS), model(INPUTS))


@pytest.mark.skipif(not torch.distributed.is_available(), reason="torch without torch.distributed")
@pytest.mark.parametrize("storage", STORAGES)
def test_a_data_parallel_wrapper_trains_as_the_network_alone(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "lo")
    model, alone = network(storage), network(storage)
    store = torch.distributed.HashStore()  # type: ignore[attr-defined]
    torch.distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    try:
        for one in (nn.parallel.DistributedDataParallel(model), alone):
            optimizer = torch.optim.Adam(one.parameters(), lr=0.01)
            for _ in range(3):
                optimizer.zero_grad()
                F.cross_entropy(one(INPUTS), TARGETS).backward()
                optimizer.step()
    finally:
        torch.distributed.destroy_process_group()
    for first, second in zip(layers(model), layers(alone), strict=True):
        torch.testing.assert_close(first.dense_weight(), second.dense_weight(), rtol=0, atol=1e-12)


@pytest.mark.parametrize("copied", ["copy", "file", "state"])
@pytest.mark.parametrize("storage", STORAGES)
def test_network_and_optimizer_go_on_from_a_copy(storage: Storage, copied: str) -> None:
    def train(model: nn.Module, optimizer: Optimizer) -> None:
        for _ in range(3):
            optimizer.zero_grad()
            F.cross_entropy(model(INPUTS), TARGETS).backward()
            optimizer.step()

    model = network(storage)
    optimizer: Optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    train(model, optimizer)
    if copied == "copy":
        other, again = copy.deepcopy((model, optimizer))
    elif copied == "file":
        memory = io.BytesIO()
        torch.save((model, optimizer), memory)
        memory.seek(0)
        other, again = torch.load(memory, weights_only=False)
    else:
        # Of another pattern, in the other storage, with moments of its own: all of it is replaced.
        other = network("masked" if storage == "live" else "live", seed=1)
        again = torch.optim.Adam(other.parameters(), lr=0.01)
        train(other, again)
        other.load_state_dict(model.state_dict())
        again.load_state_dict(optimizer.state_dict())
        other, again = copy.deepcopy((other, again))
    train(model, optimizer)
    train(other, again)
    for one, two in zip(layers(model), layers(other), strict=True):
        assert one.pattern == two.pattern
        assert torch.equal(one.dense_weight(), two.dense_weight())
