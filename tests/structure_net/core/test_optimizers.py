"""The compiled Adam is PyTorch's in everything but time."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR

from structure_net.core.optimizers import Adam, AdamW, adam_for
from structure_net.surgery import AddNeurons, edit, load_checkpoint, save_checkpoint

Make = Callable[..., Optimizer]
STEPS = 200
KINDS = {"Adam": (Adam, torch.optim.Adam), "AdamW": (AdamW, torch.optim.AdamW)}
OPTIONS: dict[str, dict[str, Any]] = {
    "defaults": {},
    "decay": {"weight_decay": 0.1},
    # A shorter memory than this makes steps that swing, and rounding with them.
    "betas": {"betas": (0.4, 0.99), "eps": 1e-3},
    "maximize": {"maximize": True, "weight_decay": 0.01},
    "tensor_rate": {"lr": torch.tensor(0.01, dtype=torch.float64)},
    "fused": {"fused": True},
    "amsgrad": {"amsgrad": True},
    "foreach": {"foreach": True},
}


def parameters(dtype: torch.dtype = torch.float64, seed: int = 0) -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(seed)
    shapes = [(), (1,), (17,), (9, 5), (3, 2, 3, 3)]
    return [nn.Parameter(torch.randn(s, generator=generator, dtype=dtype)) for s in shapes]


def loss_of(held: Sequence[Tensor]) -> Tensor:
    """Smooth, with curvatures between 1/2 and 3."""
    return torch.stack([(p**2 + (p - 1).sin()).sum() / 2 for p in held]).sum()


def moved(make: Make, steps: int = STEPS, dtype: torch.dtype = torch.float64) -> list[Tensor]:
    held = parameters(dtype)
    optimizer = make(held)
    for _ in range(steps):
        one_step(optimizer, held)
    return [p.detach() for p in held]


def one_step(optimizer: Optimizer, held: Sequence[Tensor]) -> None:
    optimizer.zero_grad()
    loss_of(held).backward()
    optimizer.step()


def assert_near(found: Sequence[Tensor], wanted: Sequence[Tensor], bound: float = 1e-12) -> None:
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=bound)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("options", OPTIONS)
def test_the_trajectory_is_that_of_torch(kind: str, options: str) -> None:
    ours, theirs = KINDS[kind]
    chosen = {"lr": 0.01, **OPTIONS[options]}
    found = moved(lambda held: ours(held, **chosen))
    assert_near(found, moved(lambda held: theirs(held, **chosen)))


@pytest.mark.parametrize("kind", KINDS)
def test_in_float32_weights_differ_by_the_rounding_of_single_operations(kind: str) -> None:
    ours, theirs = KINDS[kind]
    generator = torch.Generator().manual_seed(1)
    rate, pairs = 0.01, [parameters(torch.float32) for _ in range(2)]
    optimizers = [
        made(held, lr=rate, weight_decay=0.1)
        for made, held in zip((ours, theirs), pairs, strict=True)
    ]
    for _ in range(STEPS):
        for one, other in zip(*pairs, strict=True):
            # Gradients that do not depend on the weights: only the steps' own rounding remains, but
            # for the decay of the weights, which does not add to it.
            one.grad = torch.randn(one.shape, generator=generator)
            other.grad = one.grad.clone()
        for optimizer in optimizers:
            optimizer.step()
    # Each of a step's some ten operations rounds a number below 2 rates (the step) or below the
    # largest weight by half a unit in the last place.
    largest = max(float(p.detach().abs().max()) for p in pairs[1])
    bound = STEPS * torch.finfo(torch.float32).eps * (10 * 2 * rate + largest)
    assert_near([p.detach() for p in pairs[0]], [p.detach() for p in pairs[1]], bound)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("first", ["ours", "theirs"])
@pytest.mark.parametrize("fused", [None, True], ids=["plain", "fused"])
def test_a_state_dict_goes_from_one_to_the_other(kind: str, first: str, fused: bool | None) -> None:
    ours, theirs = KINDS[kind]
    order = (ours, theirs) if first == "ours" else (theirs, ours)
    held = parameters()
    before = order[0](held, lr=0.01, fused=fused)
    for _ in range(STEPS // 2):
        one_step(before, held)
    after = order[1](held, lr=0.5)
    after.load_state_dict(before.state_dict())
    for _ in range(STEPS // 2):
        one_step(after, held)
    assert_near([p.detach() for p in held], moved(lambda p: theirs(p, lr=0.01)))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_the_state_has_the_layout_of_torch(kind: str, dtype: torch.dtype) -> None:
    held, states = parameters(dtype), []
    for made in KINDS[kind]:
        optimizer = made(held, lr=0.01)
        one_step(optimizer, held)
        states.append(optimizer.state_dict())
    ours, theirs = states
    assert ours["param_groups"] == theirs["param_groups"]
    for one, other in zip(ours["state"].values(), theirs["state"].values(), strict=True):
        described = [
            {name: (value.dtype, value.shape) for name, value in state.items()}
            for state in (one, other)
        ]
        assert described[0] == described[1]
        assert one["step"].item() == 1


def test_the_class_has_the_name_by_which_checkpoints_know_it() -> None:
    assert [Adam.__name__, AdamW.__name__] == ["Adam", "AdamW"]
    assert issubclass(AdamW, torch.optim.AdamW)


def test_groups_and_schedules_are_minded() -> None:
    def made(kind: type[torch.optim.Adam]) -> list[Tensor]:
        held = parameters()
        groups = [
            {"params": held[:2], "lr": 0.1, "betas": (0.5, 0.9)},
            {"params": held[2:], "weight_decay": 0.3, "amsgrad": True},
        ]
        optimizer = kind(groups, lr=0.01)
        schedule = CosineAnnealingLR(optimizer, STEPS)
        for _ in range(STEPS):
            one_step(optimizer, held)
            schedule.step()
        return [p.detach() for p in held]

    assert_near(made(Adam), made(torch.optim.Adam))


def test_hooks_run_once_a_step() -> None:
    held, told = parameters(), []
    optimizer = Adam([{"params": held[:1]}, {"params": held[1:], "foreach": True}])
    optimizer.register_step_pre_hook(lambda *_: told.append("before"))
    optimizer.register_step_post_hook(lambda *_: told.append("after"))
    one_step(optimizer, held)
    assert told == ["before", "after"]


def test_a_closure_computes_the_loss() -> None:
    held = parameters()
    optimizer = Adam(held, lr=0.01)

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = loss_of(held)
        loss.backward()
        return loss

    before = loss_of(held).item()
    assert optimizer.step(closure).item() == before  # type: ignore[arg-type, attr-defined]  # torch types it so
    assert loss_of(held).item() < before


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.complex64], ids=str)
def test_other_numbers_go_through_torch(dtype: torch.dtype) -> None:
    ends = []
    for made in (Adam, torch.optim.Adam):
        held = parameters(torch.float32)
        odd = nn.Parameter(held[2].detach().to(dtype))
        optimizer = made([*held, odd], lr=0.01)
        for _ in range(3):
            optimizer.zero_grad()
            (loss_of(held) + odd.abs().float().square().sum()).backward()
            optimizer.step()
        ends.append([p.detach() for p in (*held, odd)])
    # bfloat16 keeps 8 bits, and PyTorch's fused step rounds once where its loop rounds often.
    for one, other in zip(*ends, strict=True):
        bound = 2e-2 if one.dtype == torch.bfloat16 else 1e-6
        torch.testing.assert_close(one, other, rtol=bound, atol=bound)


@pytest.mark.parametrize("what", ["weight", "gradient", "expanded"])
def test_tensors_that_are_not_contiguous_are_right(what: str) -> None:
    ends = []
    for made in (Adam, torch.optim.Adam):
        values = torch.arange(12.0, dtype=torch.float64).reshape(3, 4)
        weight = nn.Parameter(values.t() if what == "weight" else values.t().contiguous())
        optimizer = made([weight], lr=0.01)
        for _ in range(5):
            gradient = (weight.detach() - 3).t().contiguous().t()
            weight.grad = weight.new_ones(1).expand(4, 3) if what == "expanded" else gradient
            optimizer.step()
        ends.append(weight.detach())
    assert_near(ends[:1], ends[1:])


def test_parameters_without_a_gradient_stay_and_have_no_state() -> None:
    held = parameters()
    before = held[1].detach().clone()
    optimizer = Adam(held)
    loss_of([held[0]]).backward()
    optimizer.step()
    assert torch.equal(held[1], before)
    assert held[1] not in optimizer.state


def test_empty_parameters_pass() -> None:
    empty = nn.Parameter(torch.zeros(0))
    empty.grad = torch.zeros(0)
    optimizer = Adam([empty])
    optimizer.step()
    assert optimizer.state[empty]["step"].item() == 1


def test_a_sparse_gradient_is_refused() -> None:
    weight = nn.Parameter(torch.ones(3))
    weight.grad = torch.ones(3).to_sparse()
    with pytest.raises(RuntimeError, match="SparseAdam"):
        Adam([weight]).step()


def test_a_graph_of_before_the_step_is_spent() -> None:
    weight = nn.Parameter(torch.ones(3))
    optimizer = Adam([weight])
    loss = (weight**2).sum()
    loss.backward(retain_graph=True)
    optimizer.step()
    with pytest.raises(RuntimeError, match="inplace operation"):
        loss.backward()


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda o: pickle.loads(pickle.dumps(o))])
def test_a_copy_goes_on(copied: Callable[[Any], Any]) -> None:
    held = parameters()
    optimizer = Adam(held, lr=0.01)
    for _ in range(STEPS // 2):
        one_step(optimizer, held)
    again, kept = copied((optimizer, held))
    for _ in range(STEPS // 2):
        one_step(again, kept)
        one_step(optimizer, held)
    assert_near([p.detach() for p in kept], [p.detach() for p in held], 0)


def test_state_that_is_moved_to_other_memory_is_followed() -> None:
    held = parameters()
    optimizer = Adam(held, lr=0.01)
    for _ in range(STEPS):
        one_step(optimizer, held)
        for p in held:
            p.data = p.data.clone()
            for name in ("exp_avg", "exp_avg_sq", "step"):
                optimizer.state[p][name].data = optimizer.state[p][name].data.clone()
    assert_near([p.detach() for p in held], moved(lambda p: torch.optim.Adam(p, lr=0.01)))


def test_the_steps_of_a_gradient_scaler_are_those_of_torch() -> None:
    ends = []
    for made in (Adam, torch.optim.Adam):
        held = parameters(torch.float32)
        optimizer, scaler = made(held, lr=0.01, fused=True), torch.amp.GradScaler("cpu")
        for loss in (1.0, float("inf"), 1.0):
            optimizer.zero_grad()
            scaler.scale(loss * loss_of(held)).backward()
            scaler.step(optimizer)
            scaler.update()
        ends.append([p.detach() for p in held])
    assert_near(*ends, bound=0)


def test_the_fastest_adam_is_ours_on_the_cpu_and_fused_elsewhere() -> None:
    held = parameters()
    assert type(adam_for(held, 0.01)) is Adam
    assert type(adam_for(iter(held), 0.01, decoupled=True)) is AdamW
    elsewhere = [nn.Parameter(torch.zeros(3, device="meta"))]
    assert type(adam_for(elsewhere, 0.01)) is torch.optim.Adam
    assert adam_for(held, 0.3).param_groups[0]["lr"] == 0.3


@pytest.mark.parametrize("first", ["ours", "theirs"])
def test_a_checkpoint_of_one_restores_the_other(first: str, tmp_path: Path) -> None:
    kinds = (Adam, torch.optim.Adam) if first == "ours" else (torch.optim.Adam, Adam)
    model = nn.Linear(4, 3)
    optimizer = kinds[0](model.parameters(), lr=0.02)
    one_step(optimizer, list(model.parameters()))
    save_checkpoint(tmp_path / "net.safetensors", model, optimizer=optimizer)
    again = nn.Linear(4, 3)
    restored = kinds[1](again.parameters(), lr=0.5)
    checkpoint = load_checkpoint(tmp_path / "net.safetensors", again)
    assert checkpoint.header.optimizer is not None
    assert checkpoint.header.optimizer["class"] == "Adam"
    checkpoint.restore_optimizer(restored)
    one_step(optimizer, list(model.parameters()))
    one_step(restored, list(again.parameters()))
    # One step of rate .02, computed in another order of float32 operations.
    assert_near(list(again.parameters()), list(model.parameters()), 1e-7)


@pytest.mark.parametrize("handed", [True, False], ids=["handed over", "not handed over"])
def test_an_edit_carries_the_state_along(handed: bool) -> None:
    ends = []
    for made in (Adam, torch.optim.Adam):
        model = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3)).double()
        for seed, p in enumerate(model.parameters()):
            nn.init.normal_(p, generator=torch.Generator().manual_seed(seed))
        optimizer, inputs = made(model.parameters(), lr=0.01), torch.eye(4, dtype=torch.float64)
        for step in range(20):
            if step == 10:
                known = optimizer if handed else None
                edit(model, AddNeurons("0", 2), inputs, optimizer=known, seed=0)
            optimizer.zero_grad()
            model(inputs).square().sum().backward()
            optimizer.step()
        ends.append([p.detach() for p in model.parameters()])
    assert ends[0][0].shape == (8, 4)
    assert_near(*ends)
