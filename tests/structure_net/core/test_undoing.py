"""What is undone is undone, wherever an interrupt strikes."""

from __future__ import annotations

from threading import Event, Thread
from typing import Any

import pytest
import torch
import torch._dynamo
from torch import nn
from torch.overrides import TorchFunctionMode
from torch.utils import _python_dispatch as dispatch
from torch.utils._python_dispatch import TorchDispatchMode

from structure_net.core import running
from structure_net.core.running import evaluate
from structure_net.core.undoing import (
    Undoing,
    hooked,
    moded,
    replaced,
    set_gradients,
    unhook,
)
from tests.interrupting import interrupted_everywhere

HOOKS = (
    "_forward_hooks",
    "_forward_pre_hooks",
    "_forward_hooks_with_kwargs",
    "_forward_pre_hooks_with_kwargs",
    "_forward_hooks_always_called",
)


def test_an_interrupt_at_any_point_leaves_no_hook_mode_or_stance() -> None:
    model = nn.Sequential(nn.Dropout(), nn.Dropout().eval())
    modes = [module.training for module in model.modules()]

    def task() -> None:
        undo = Undoing()
        with undo, undo:
            running.evaluate(model, undo)
            running.uncompile(undo)
            hooked(undo, model[0], lambda *_: None, before=True, with_kwargs=True)
            hooked(undo, model[1], lambda *_: None, always_call=True, with_kwargs=True)
            model(torch.zeros(1))

    files = ("core/undoing.py", "core/running.py", "nn/modules/module.py", "utils/hooks.py")
    count = 0
    for _held in interrupted_everywhere(task, files):
        count += 1
        assert [module.training for module in model.modules()] == modes
        assert not any(getattr(module, name) for module in model for name in HOOKS)
        assert torch._dynamo.eval_frame._stance.stance == "default"
    assert count > 100


def test_steps_are_undone_once_the_last_first() -> None:
    undone: list[int] = []
    with (undo := Undoing()), undo:
        undo.later(lambda: undone.append(0))
        undo.later(lambda: undone.append(1))
    assert undone == [1, 0]


def test_a_step_that_cannot_be_undone_does_not_keep_the_others_from_it() -> None:
    undone: list[int] = []
    undo = Undoing()
    undo.later(lambda: undone.append(0))
    undo.later(lambda: undone.append(1 // 0))
    undo.later(lambda: undone.append(2))
    with pytest.raises(ZeroDivisionError):
        undo.now()
    assert undone == [2, 0]


def test_what_is_replaced_comes_back_and_what_was_not_there_goes() -> None:
    held = {"there": 1}
    with (undo := Undoing()):
        replaced(undo, held, "there", 2)
        replaced(undo, held, "new", 3)
        assert held == {"there": 2, "new": 3}
    assert held == {"there": 1}


def test_a_hook_is_taken_away_by_what_it_is_and_others_stay() -> None:
    model, seen = nn.Linear(1, 1), list[int]()
    model.register_forward_hook(lambda *_: seen.append(0))
    with (undo := Undoing()):
        handle = hooked(undo, model, lambda *_: seen.append(1))
        hook = model._forward_hooks[handle.id]
        unhook(model, hook)
        model(torch.zeros(1, 1))
    assert seen == [0]


@pytest.mark.parametrize("mode", [TorchFunctionMode, TorchDispatchMode])
def test_modes_and_gradients_are_as_before(mode: type[Any]) -> None:
    lengths = torch._C._len_torch_function_stack, torch._C._len_torch_dispatch_stack
    flag = dispatch.is_in_torch_dispatch_mode()
    with (undo := Undoing()):
        set_gradients(undo, on=False)
        moded(undo, mode())
        assert not torch.is_grad_enabled()
        assert sum(length() for length in lengths) == 1
    assert torch.is_grad_enabled()
    assert [length() for length in lengths] == [0, 0]
    assert dispatch.is_in_torch_dispatch_mode() == flag


def test_a_step_that_was_interrupted_is_undone_again() -> None:
    undone: list[int] = []

    def once() -> None:
        undone.append(0)
        if len(undone) == 1:
            raise KeyboardInterrupt

    undo = Undoing()
    try:
        with undo, undo:
            undo.later(once)
    except KeyboardInterrupt:
        undone.append(1)
    assert undone == [0, 0, 1]


def test_evaluations_that_overlap_on_threads_give_the_modes_back() -> None:
    model: Any = nn.Sequential(nn.Dropout(), nn.Dropout().eval())
    entered, leave = Event(), Event()

    def look() -> None:
        with (undo := Undoing()):
            evaluate(model, undo)
            entered.set()
            leave.wait(10)

    other = Thread(target=look)
    with (undo := Undoing()):
        evaluate(model, undo)
        other.start()
        assert entered.wait(10)
    assert not model.training  # the other one looks still
    leave.set()
    other.join()
    assert [module.training for module in model.modules()] == [True, True, False]


def test_an_evaluation_within_another_leaves_what_it_found() -> None:
    model, modes = nn.Dropout(), []
    with (undo := Undoing()):
        evaluate(model, undo)
        model.train()
        with (within := Undoing()):
            evaluate(model, within)
            modes.append(model.training)
        modes.append(model.training)
    assert [*modes, model.training] == [False, True, True]
