"""On another device, a network trains, grows, is pruned and rewired as it does on the CPU.

Tolerances as in `test_storage`: float64, other orders of sums.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from structure_net.core import SparseConv2d, StandardSparseLayer, device_ways
from structure_net.core.optimizers import adam_for
from structure_net.core.sparse_compute import like_features_first
from structure_net.runs.benching import FUSED, MASKED, OURS, network_cost
from structure_net.surgery import (
    AddConnections,
    AddNeurons,
    Edit,
    InsertLayer,
    MergeNeurons,
    RemoveConnections,
    RemoveNeurons,
    SplitNeurons,
    edit,
    set_storage,
)
from tests.elsewhere import away
from tests.laws.storages import STORAGES, Storage, crossover, layers, network
from tests.laws.test_storage_optimizers import INPUTS, MAKES, TARGETS

pytestmark = pytest.mark.away


def train(model: nn.Module, optimizer: Optimizer, steps: int) -> None:
    device = next(model.parameters()).device
    inputs, targets = INPUTS.to(device), TARGETS.to(device)
    for _ in range(steps):
        optimizer.zero_grad()
        (model(inputs) - targets).square().mean().backward()
        optimizer.step()


def same(here: nn.Module, there: nn.Module) -> None:
    assert all(one.device.type == away() for one in there.state_dict().values())
    for layer, its in zip(layers(here), layers(there), strict=True):
        assert layer.pattern == its.pattern
        assert layer.storage == its.storage
    for one, other in zip(here.parameters(), there.parameters(), strict=True):
        torch.testing.assert_close(other.cpu(), one, rtol=0, atol=1e-10)


def same_state(here: Optimizer, there: Optimizer) -> None:
    pairs = zip(here.state.values(), there.state.values(), strict=True)
    for one, other in ((a[key], b[key]) for a, b in pairs for key in a):
        if isinstance(one, Tensor) and one.dim():
            assert other.device.type == away()
            torch.testing.assert_close(other.cpu(), one, rtol=0, atol=1e-10)


def stages(model: nn.Module) -> Iterator[Edit]:
    yield AddNeurons("layers.0", 3)
    yield RemoveConnections("layers.1", layers(model)[1].pattern.pairs[::3])
    free = (~layers(model)[0].pattern.mask()).nonzero()[:9].tolist()
    yield AddConnections("layers.0", tuple(map(tuple, free)))
    yield SplitNeurons("layers.1", (1, 4), noise=0.1)
    yield MergeNeurons("layers.0", ((2, 5),))
    yield RemoveNeurons("layers.1", (0, 7))
    yield InsertLayer("layers.0")


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("name", ["adam_own", "adam_fused"])
def test_steps_and_edits_are_those_of_the_cpu(storage: Storage, name: str) -> None:
    models = [network(storage), network(storage).to(away())]
    optimizers = [MAKES[name](model.parameters()) for model in models]
    for number, changes in enumerate(zip(*map(stages, models), strict=True)):
        for model, optimizer, change in zip(models, optimizers, changes, strict=True):
            train(model, optimizer, 3)
            example = INPUTS[:2].to(next(model.parameters()).device)
            with crossover(storage):
                edit(model, change, example, optimizer=optimizer, seed=number)
        same(*models)
    for model, optimizer in zip(models, optimizers, strict=True):
        train(model, optimizer, 3)
    same(*models)
    same_state(*optimizers)


@pytest.mark.parametrize("name", ["adam_own", "adam_fused", "adam_foreach", "amsgrad", "rmsprop"])
def test_a_storage_may_change_on_the_device(name: str) -> None:
    models = [network("live"), network("live").to(away())]
    optimizers = [MAKES[name](model.parameters()) for model in models]
    for storage in ("masked", "live"):
        for model, optimizer in zip(models, optimizers, strict=True):
            train(model, optimizer, 2)
            set_storage(model, storage, optimizer=optimizer)
        same(*models)
        same_state(*optimizers)


@pytest.mark.parametrize("storage", STORAGES)
def test_a_network_and_its_adam_move_between_devices(storage: Storage) -> None:
    """Trained here, saved, loaded there, trained there, saved, and loaded here again."""
    model, follower = network(storage), network(storage, seed=1).to(away())
    optimizer = adam_for(model.parameters(), 0.01)
    train(model, optimizer, 4)
    buffer = io.BytesIO()
    torch.save((model.state_dict(), optimizer.state_dict()), buffer)
    buffer.seek(0)
    saved, state = torch.load(buffer, map_location=away(), weights_only=True)
    follower.load_state_dict(saved)
    other = adam_for(follower.parameters(), 0.01)
    other.load_state_dict(state)
    same(model, follower)
    for one, its in ((model, optimizer), (follower, other)):
        train(one, its, 4)
    same(model, follower)
    back = network(storage, seed=2)
    back.load_state_dict(follower.state_dict())
    again = adam_for(back.parameters(), 0.01)
    again.load_state_dict(deepcopy(other.state_dict()))  # whose counts are shared otherwise
    for one, its in ((follower, other), (back, again)):
        train(one, its, 4)
    same(back, follower)


@pytest.mark.parametrize("storage", STORAGES)
def test_adam_goes_on_here_where_the_fused_one_of_the_device_stopped(storage: Storage) -> None:
    models = [network(storage), network(storage).to(away())]
    optimizers = [
        MAKES["adam_own"](models[0].parameters()),
        MAKES["adam_fused"](models[1].parameters()),
    ]
    for model, optimizer in zip(models, optimizers, strict=True):
        train(model, optimizer, 3)
    back = network(storage, seed=2)
    back.load_state_dict(models[1].state_dict())
    optimizer = MAKES["adam_own"](back.parameters())
    optimizer.load_state_dict(optimizers[1].state_dict())
    for model, its in zip((models[0], back), (optimizers[0], optimizer), strict=True):
        train(model, its, 3)
    for one, other in zip(models[0].parameters(), back.parameters(), strict=True):
        torch.testing.assert_close(other, one, rtol=0, atol=1e-10)


def convolutional(storage: Storage) -> nn.Sequential:
    """Whole kernels, single weights of kernels, and a linear layer."""
    draw = torch.Generator().manual_seed(1)
    with crossover(storage):
        return nn.Sequential(
            SparseConv2d(2, 8, 3, padding=1, density=0.5, generator=draw),
            nn.Tanh(),
            SparseConv2d(8, 8, 3, stride=2, density=0.2, granularity="weight", generator=draw),
            nn.Flatten(),
            StandardSparseLayer(32, 3, density=0.4, generator=draw),
        ).double()


@pytest.mark.parametrize("storage", STORAGES)
def test_convolutions_are_those_of_the_cpu(storage: Storage) -> None:
    here = convolutional(storage)
    there = deepcopy(here).to(away())
    draw = torch.Generator().manual_seed(0)
    images = torch.randn(5, 2, 6, 6, generator=draw, dtype=torch.float64)
    for model in (here, there):
        inputs = images.to(next(model.parameters()).device)
        optimizer = adam_for(model.parameters(), 0.01)
        for number in range(3):
            optimizer.zero_grad()
            model(inputs).square().mean().backward()
            optimizer.step()
            with crossover(storage):
                edit(model, AddNeurons("0", 1), inputs[:2], optimizer=optimizer, seed=number)
    same(here, there)


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_under_autocast_results_have_its_type_and_gradients_that_of_the_weights(
    storage: Storage, dtype: torch.dtype
) -> None:
    here = network(storage).float()
    there = deepcopy(here).to(away())
    inputs = INPUTS.float()
    with torch.autocast(away(), dtype=dtype):
        outputs = there(inputs.to(away()))
        loss = outputs.float().square().mean()
    loss.backward()
    assert outputs.dtype == dtype
    here(inputs).square().mean().backward()
    for one, other in zip(here.parameters(), there.parameters(), strict=True):
        assert other.grad is not None
        assert other.grad.dtype == torch.float32
        # Products of numbers with 8 bits (11 in float16), in three layers.
        torch.testing.assert_close(other.grad.cpu(), one.grad, rtol=0.1, atol=0.02)


@pytest.mark.parametrize("own", [True, False])
def test_a_scaler_skips_steps_whose_gradients_are_not_finite(own: bool) -> None:
    model = network("live").float().to(away())
    optimizer = MAKES["adam_own" if own else "adam_fused"](model.parameters())
    scaler = torch.amp.GradScaler(away(), init_scale=8.0)
    inputs = INPUTS.float().to(away())
    for factor, moves in ((1.0, True), (float("inf"), False), (1.0, True)):
        before = [parameter.detach().clone() for parameter in model.parameters()]
        optimizer.zero_grad()
        scaler.scale((factor * model(inputs)).square().mean()).backward()
        scaler.step(optimizer)
        scaler.update()
        pairs = zip(before, model.parameters(), strict=True)
        assert any(not torch.equal(one, other) for one, other in pairs) == moves
        assert all(bool(parameter.isfinite().all()) for parameter in model.parameters())


@pytest.mark.parametrize("batch", [(7,), (2, 3), (1,)], ids=str)
def test_operators_lay_out_what_they_give_as_compiled_programs_expect(
    batch: tuple[int, ...],
) -> None:
    with crossover("live"):
        layer = StandardSparseLayer(12, 9, density=0.3).double().to(away())
    inputs = torch.ones(*batch, 12, dtype=torch.float64, device=away())
    tensors = layer.index.tensors
    values, gradient = layer.weight.detach(), inputs.new_ones(*batch, 9)
    found = torch.ops.structure_net.sparse_linear(inputs, values, layer.bias, *tensors)
    of_inputs, _ = torch.ops.structure_net.sparse_linear_backward(
        gradient, inputs, values, *tensors, True, True
    )
    for one, like in ((found, inputs), (of_inputs, gradient)):
        expected = like_features_first(like, one.shape[-1])
        assert one.shape == expected.shape
        assert one.stride() == expected.stride()
    here = deepcopy(layer).cpu()
    torch.testing.assert_close(found.cpu(), here(inputs.cpu()), rtol=0, atol=1e-10)


def test_a_training_step_is_timed_on_the_device_in_all_ways_that_are_there() -> None:
    cost = network_cost((12, 40, 3), 0.2, seconds=0.0, batch=8, device=away())
    assert cost.device == away()
    assert set(cost.seconds) == {MASKED, FUSED, OURS}
    assert all(one > 0 for one in cost.seconds.values())


def test_a_way_that_has_no_kernels_on_the_device_is_not_taken(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As compressed rows on the pretended one."""
    monkeypatch.setenv("STRUCTURE_NET_CACHE", str(tmp_path))
    monkeypatch.setattr(device_ways, "_known", {})
    with crossover("live"):
        layer = StandardSparseLayer(300, 400, density=0.01)
    there, inputs = deepcopy(layer).to(away()), torch.randn(16, 300)
    # Sums of some float32 numbers in another order.
    torch.testing.assert_close(there(inputs.to(away())).cpu(), layer(inputs), rtol=0, atol=1e-5)
    way = device_ways.device_way(inputs.to(away()), there.index, torch.float32)
    assert way == "dense" or away() == "cuda"
