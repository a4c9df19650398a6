"""Which optimizers there are: those from before, and those that are made, copied or unpickled."""

from __future__ import annotations

import copy
import gc
import pickle
import subprocess
import sys
import weakref
from threading import Barrier, Thread
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import SGD, Optimizer

from structure_net.core.holders import HOLDERS, Holders


def holding(weight: nn.Parameter) -> Optimizer:
    return SGD([weight], lr=0.1)


class Wrapper(Optimizer):
    """Hands on what is asked of it."""

    def __init__(self, optimizer: Optimizer) -> None:
        self.optimizer = optimizer

    @property
    def param_groups(self) -> Any:  # type: ignore[override]  # as accelerate has it
        return self.optimizer.param_groups


def test_the_holders_of_a_weight_are_found_whenever_and_however_they_were_made() -> None:
    weight = nn.Parameter(torch.zeros(2))
    early = holding(weight)
    Wrapper(early)
    assert HOLDERS.of([weight]) == (early,)
    late = holding(weight)
    assert set(HOLDERS.of([weight])) == {early, late}
    for twin in (copy.deepcopy(late), pickle.loads(pickle.dumps(late))):
        (its,) = twin.param_groups[0]["params"]
        assert HOLDERS.of([its]) == (twin,)
    assert set(HOLDERS.of([weight])) == {early, late}
    assert HOLDERS.of([nn.Parameter(torch.zeros(2))]) == ()


def test_optimizers_that_the_garbage_collector_leaves_alone_are_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("__init__", "__getstate__", "__setstate__"):
        monkeypatch.setattr(Optimizer, name, getattr(Optimizer, name))  # put back at the end
    weight = nn.Parameter(torch.zeros(2))
    optimizer = holding(weight)
    gc.freeze()
    try:
        assert Holders().of([weight]) == (optimizer,)
        assert gc.get_freeze_count()
    finally:
        gc.unfreeze()


def test_no_optimizer_is_kept_alive() -> None:
    weight = nn.Parameter(torch.zeros(2))
    optimizer = holding(weight)
    assert HOLDERS.of([weight]) == (optimizer,)
    gone = weakref.ref(optimizer)
    del optimizer
    gc.collect()
    assert gone() is None
    assert HOLDERS.of([weight]) == ()


def test_those_who_asked_are_told_once_of_each_and_called_before_any_is_given_out() -> None:
    weight = nn.Parameter(torch.zeros(2))
    first = holding(weight)
    made: list[Optimizer] = []
    copied: list[Optimizer] = []
    found: list[Optimizer] = []
    HOLDERS.tell(made.append, copied=copied.append)
    HOLDERS.ask_before(found.append)
    second = holding(weight)
    twin = copy.deepcopy(second)
    second.load_state_dict(first.state_dict())
    assert [one for one in made if one in (first, second, twin)] == [first, second]
    assert copied == [twin]
    assert found == [second]  # before it was copied
    assert set(HOLDERS.of([weight])) == set(found[1:]) == {first, second}


PROGRAM = """
import sys
from threading import Barrier, Thread
from torch import nn, optim, zeros
from structure_net.core.averaging import guard_averages
from structure_net.core.holders import HOLDERS
from structure_net.surgery.optimizers import LOG
from structure_net.surgery.wrappers import WRAPPERS
from torch.nn.parallel import DistributedDataParallel
from torch.optim.optimizer import _global_optimizer_pre_hooks
from torch.optim.swa_utils import AveragedModel

def depth(function):
    count = 0
    while hasattr(function, "__wrapped__"):
        function, count = function.__wrapped__, count + 1
    return count

def come():
    begun.wait()
    guard_averages()
    LOG.holders([])
    WRAPPERS.note(1, ())
    HOLDERS.of([])

def depths():
    return [depth(one) for one in (
        optim.Optimizer.__init__, optim.Optimizer.__setstate__, optim.Optimizer.__getstate__,
        AveragedModel.update_parameters,
        DistributedDataParallel.__init__, DistributedDataParallel.forward)]

before = depths()
sys.setswitchinterval(1e-6)
begun = Barrier(8)
threads = [Thread(target=come) for _ in range(8)]
[one.start() for one in threads]
[one.join() for one in threads]
after = depths()
assert [b - a for a, b in zip(before, after)] == [1] * 6, (before, after)
assert len(_global_optimizer_pre_hooks) == 1
"""


def test_threads_that_are_first_at_once_wrap_what_torch_does_once() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_optimizers_may_be_made_while_others_ask() -> None:
    weight, begun = nn.Parameter(torch.zeros(2)), Barrier(4)
    made: list[Optimizer] = []
    failed: list[RuntimeError] = []

    def make() -> None:
        begun.wait()
        made.extend(holding(weight) for _ in range(50))

    def ask() -> None:
        begun.wait()
        try:
            for _ in range(200):
                HOLDERS.of([weight])
        except RuntimeError as error:
            failed.append(error)

    threads = [Thread(target=one) for one in (make, make, ask, ask)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    assert len(HOLDERS.of([weight])) == 100
    assert isinstance(HOLDERS, Holders)
