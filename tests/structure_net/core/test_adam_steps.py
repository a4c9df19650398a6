"""A step that goes by the one before sees whatever has changed in between."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from structure_net.core import adam_kernels, adam_steps, teams
from structure_net.core.adam_steps import StepBefore, Together, is_plain, settings_of
from structure_net.core.optimizers import Adam, AdamW

Change = Callable[[Optimizer, list[nn.Parameter]], object]


def parameters() -> list[nn.Parameter]:
    draw = torch.Generator().manual_seed(0)
    shapes = [(17,), (9, 5), (5,)]
    return [nn.Parameter(torch.randn(s, generator=draw, dtype=torch.float64)) for s in shapes]


def one_step(optimizer: Optimizer, held: list[nn.Parameter]) -> None:
    optimizer.zero_grad()
    torch.stack([(p**2 + (p - 1).sin()).sum() / 2 for p in held]).sum().backward()
    optimizer.step()


def training(kind: type[torch.optim.Adam]) -> tuple[Optimizer, list[nn.Parameter]]:
    held = parameters()
    groups: list[dict[str, Any]] = [{"params": held[:2]}, {"params": held[2:], "lr": 0.02}]
    optimizer = kind(groups, lr=0.01, weight_decay=0.1)
    for _ in range(3):
        one_step(optimizer, held)
    return optimizer, held


def new_rate(optimizer: Optimizer, held: list[nn.Parameter]) -> None:
    optimizer.param_groups[1]["lr"] = 0.1


def new_memory(optimizer: Optimizer, held: list[nn.Parameter]) -> None:
    held[0].data = held[0].data.clone()


def other_strides(optimizer: Optimizer, held: list[nn.Parameter]) -> None:
    held[1].data = held[1].data.t().contiguous().t()


def turned_in_place(optimizer: Optimizer, held: list[nn.Parameter]) -> None:
    held[1].data = held[1].data.as_strided((9, 5), (1, 9))


def other_moments(optimizer: Optimizer, held: list[nn.Parameter]) -> None:
    optimizer.state[held[0]]["exp_avg"] = torch.ones(17).double()


def moments_of_another(optimizer: Optimizer, held: list[nn.Parameter]) -> None:
    optimizer.state[held[2]] = {k: v.clone() for k, v in optimizer.state[held[2]].items()}


def nothing_known(optimizer: Optimizer, held: list[nn.Parameter]) -> None:
    optimizer.state.clear()


def loaded(optimizer: Optimizer, held: list[nn.Parameter]) -> None:
    optimizer.load_state_dict(optimizer.state_dict())


def frozen(optimizer: Optimizer, held: list[nn.Parameter]) -> None:
    held[1].requires_grad_(False)


def another_parameter(optimizer: Optimizer, held: list[nn.Parameter]) -> None:
    held.append(nn.Parameter(torch.ones(4).double()))
    optimizer.add_param_group({"params": held[-1:]})


def another_group(optimizer: Optimizer, held: list[nn.Parameter]) -> None:
    first, second = optimizer.param_groups
    second["params"].insert(0, first["params"].pop())


def through_torch(optimizer: Optimizer, held: list[nn.Parameter]) -> None:
    optimizer.param_groups[0]["foreach"] = True


CHANGES: list[Change] = [
    new_rate,
    new_memory,
    other_strides,
    turned_in_place,
    other_moments,
    moments_of_another,
    nothing_known,
    loaded,
    frozen,
    another_parameter,
    another_group,
    through_torch,
]


@pytest.mark.parametrize("change", CHANGES)
def test_what_changes_between_steps_is_followed(change: Change) -> None:
    ends = []
    for kind in (Adam, torch.optim.Adam):
        optimizer, held = training(kind)
        change(optimizer, held)
        for _ in range(3):
            one_step(optimizer, held)
        ends.append([p.detach() for p in held])
    for one, other in zip(*ends, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-12)


def transposed(gradient: Tensor) -> Tensor:
    return gradient.t().contiguous().t()


@pytest.mark.parametrize("given", [transposed, torch._neg_view])
def test_gradients_are_read_as_they_are(given: Callable[[Tensor], Tensor]) -> None:
    ends = []
    for kind in (Adam, torch.optim.Adam):
        optimizer, held = training(kind)
        for _ in range(2):
            held[1].grad = given(torch.arange(45).double().view(9, 5))
            optimizer.step()
        ends.append(held[1].detach())
    torch.testing.assert_close(ends[0], ends[1], rtol=0, atol=1e-12)


def test_gradients_of_other_strides_than_their_parameter_are_read_as_they_are() -> None:
    ends = []
    for kind in (Adam, torch.optim.Adam):
        optimizer, held = training(kind)
        turned_in_place(optimizer, held)
        for _ in range(2):
            held[1].grad = torch.arange(45).double().view(9, 5)
            optimizer.step()
        ends.append(held[1].detach())
    torch.testing.assert_close(ends[0], ends[1], rtol=0, atol=1e-12)


def test_a_step_leaves_the_table_alone_that_threads_may_still_be_at(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    optimizer, held = training(Adam)
    tables: list[Any] = []
    run = adam_kernels.step

    def noted(table: Any, settings: Any) -> None:
        tables.append(table)
        run(table, settings)

    monkeypatch.setattr(adam_kernels, "step", noted)
    kept = [torch.ones_like(p) for p in held]
    for gradients in (kept, [one.clone() for one in kept]):
        for parameter, gradient in zip(held, gradients, strict=True):
            parameter.grad = gradient
        optimizer.step()
    assert tables[0][:, 1].tolist() == [one.data_ptr() for one in kept]


def test_steps_in_a_row_look_at_their_tensors_once(monkeypatch: pytest.MonkeyPatch) -> None:
    optimizer, held = training(Adam)
    seen: list[Any] = []
    monkeypatch.setattr(Together, "takes", lambda *given: seen.append(given))
    one_step(optimizer, held)
    assert not seen


@pytest.mark.parametrize("whose", ["one thread", "torch's", "ours"])
def test_threads_move_large_parameters_as_one_does(
    whose: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []
    ends, threads = [], torch.get_num_threads()
    monkeypatch.setattr(teams, "_AGAIN", 1)
    if whose == "ours":
        monkeypatch.setattr(adam_steps, "in_team", lambda *given, **_: asked.append(given))
    for used in (1, 3):
        torch.set_num_threads(1 if whose == "one thread" else used)
        try:
            held = parameters()
            held += [nn.Parameter(torch.linspace(-1, 1, 600_000 + i)) for i in range(2)]
            held += [nn.Parameter(torch.linspace(-1, 1, 70_001, dtype=torch.float64))]
            optimizer = AdamW(held, lr=0.01)
            for _ in range(3):
                for p in held:
                    p.grad = p.detach().sin()
                optimizer.step()
        finally:
            torch.set_num_threads(threads)
        ends.append([p.detach() for p in held])
    assert len(asked) == (3 if whose == "ours" else 0)
    assert all(map(torch.equal, *ends))
    wanted = [*parameters(), nn.Parameter(torch.linspace(-1, 1, 600_000))]
    theirs = torch.optim.AdamW(wanted, lr=0.01)
    for _ in range(3):
        for p in wanted:
            p.grad = p.detach().sin()
        theirs.step()
    for one, other in zip(ends[1], wanted, strict=False):
        torch.testing.assert_close(one, other.detach(), rtol=0, atol=1e-6)


def test_threads_share_the_parts_of_a_table() -> None:
    """Whoever comes to a call finds what is left of it: at last nothing."""
    size = adam_kernels.PART + 5
    held = torch.linspace(0, 1, size, dtype=torch.float64).repeat(4, 1)
    count, before = torch.zeros((), dtype=torch.float64), held.clone()
    places = [row.data_ptr() for row in held]
    table = torch.tensor([[*places, count.data_ptr(), size, 1, 1, 0]]).numpy()
    settings = torch.tensor([[0.01, 0.9, 0.999, 1e-8, 0.0, 0.0, 0.0]]).double().numpy()
    rates = torch.zeros(1, adam_kernels.RATES, dtype=torch.float64).numpy()
    adam_kernels.count_steps(table, settings, rates)
    assert adam_kernels.COLUMNS == 9
    assert settings.shape[1] == adam_kernels.SETTINGS
    call = torch.tensor([table.ctypes.data, rates.ctypes.data, 1, 1])
    assert len(call) == adam_kernels.CALL
    adam_kernels.move(call.data_ptr())  # somebody has claimed the first part
    assert torch.equal(held[:, :-5], before[:, :-5])
    assert not torch.equal(held[2:, -5:], before[2:, -5:])
    assert call[3] == 3
    moved = held.clone()
    adam_kernels.move(call.data_ptr())
    assert torch.equal(held, moved)
    call[3] = 0
    held[:, -5:] = before[:, -5:]
    adam_kernels.move(call.data_ptr())
    count.zero_()
    table[0, :4] = [row.data_ptr() for row in before]
    adam_kernels.step(table, settings)
    assert torch.equal(held, before)
    assert count == 1


def test_no_step_before_serves_where_nothing_moved() -> None:
    assert Together().step([]) is None
    optimizer, held = training(Adam)
    table, groups = torch.zeros(0, 9).numpy(), optimizer.param_groups
    assert not StepBefore(table, [0, 0], []).step(groups, optimizer.state)
    optimizer.zero_grad()
    before = [p.detach().clone() for p in held]
    optimizer.step()
    assert all(map(torch.equal, before, held))


def test_a_group_gives_its_numbers_in_order() -> None:
    group = Adam(parameters(), lr=0.1, betas=(0.2, 0.3), eps=0.4, weight_decay=0.5).param_groups[0]
    assert settings_of(group) == (0.1, 0.2, 0.3, 0.4, 0.5, False, False)


def test_plain_numbers_are_those_that_memory_shows() -> None:
    plain = torch.ones(3)
    assert is_plain(plain)
    assert is_plain(nn.Parameter(plain))
    others = plain.half(), torch._neg_view(plain), plain.to_sparse(), nn.Buffer(plain).int()
    assert not any(map(is_plain, others))
