"""What a forward pass does to a model is taken back."""

from typing import Any, Self

import pytest
import torch
from torch import nn

from structure_net.core.running import (
    call,
    evaluate,
    preserve,
    same_random_states,
    uncompile,
)
from structure_net.core.undoing import Undoing


class Writing(nn.Module):
    """Writes wherever a forward pass can write."""

    count: torch.Tensor
    mean: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(5, 3, max_norm=0.1)
        self.norm = nn.BatchNorm1d(3)
        self.register_buffer("count", torch.zeros(()))
        self.register_buffer("mean", torch.zeros(3))
        self.calls = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        self.last = self.norm(torch.rand_like(self.embedding(x)))
        self.count = self.count + 1
        self.mean.add_(self.last.detach().mean(0))
        return self.last


def test_a_model_that_writes_in_its_forward_is_as_before() -> None:
    torch.manual_seed(0)
    model = Writing()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    objects = {name: id(value) for name, value in model.state_dict(keep_vars=True).items()}
    state = torch.get_rng_state()
    with (undo := Undoing()):
        preserve(model, undo)
        model(torch.tensor([0, 1, 2]))
        model.eval()
        assert (model.calls, model.count) == (1, 1)
    after = model.state_dict(keep_vars=True)
    assert all(torch.equal(after[name], value) for name, value in before.items())
    assert {name: id(value) for name, value in after.items()} == objects
    assert (model.calls, hasattr(model, "last"), model.norm.training) == (0, False, True)
    assert torch.equal(torch.get_rng_state(), state)


def test_a_model_is_as_before_when_its_forward_fails() -> None:
    model = Writing()
    undo = Undoing()
    preserve(model.eval(), undo)
    with pytest.raises(IndexError), undo:
        model.train()(torch.tensor([9]))
    assert (model.training, model.calls) == (False, 0)


def test_evaluation_gives_each_module_its_own_mode_back() -> None:
    model = nn.Sequential(nn.Dropout(), nn.Dropout().eval())
    with (undo := Undoing()):
        evaluate(model, undo)
        assert [module.training for module in model.modules()] == [False] * 3
    assert [module.training for module in model.modules()] == [True, True, False]


class Told(nn.Module):
    """Notes what it is told of its mode."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[bool] = []
        self.inner = nn.Dropout()

    def train(self, mode: bool = True) -> Self:
        self.told.append(mode)
        return super().train(mode)


class Frozen(nn.Module):
    """Is in evaluation mode whatever it is told."""

    @property
    def training(self) -> bool:
        return False

    @training.setter
    def training(self, mode: bool) -> None:
        self.told = mode


def test_a_module_with_an_own_way_to_its_mode_is_asked() -> None:
    model = nn.Sequential(Told(), nn.Dropout(), nn.LSTM(2, 2))
    with (undo := Undoing()):
        evaluate(model, undo)
        assert not any(module.training for module in model.modules())
    assert all(module.training for module in model.modules())
    assert model[0].told == [False]


def test_a_module_whose_mode_is_no_attribute_is_told() -> None:
    frozen, dropout = Frozen(), nn.Dropout()
    model = nn.Sequential(frozen, dropout)
    with (undo := Undoing()):
        evaluate(model, undo)
        assert (frozen.told, dropout.training) == (False, False)
    assert [module.training for module in model.modules()] == [True, False, True]


def test_a_mode_of_the_instance_s_own_is_asked_for() -> None:
    model = nn.Sequential(nn.Dropout(), nn.Dropout())
    model[1].train = lambda mode=True: model[1]  # type: ignore[method-assign]
    with (undo := Undoing()):
        evaluate(model, undo)
        assert [module.training for module in model.modules()] == [False, False, True]
    assert [module.training for module in model.modules()] == [True, True, True]


@pytest.mark.parametrize(
    "example",
    [torch.ones(2, 3), (torch.ones(2, 3),), [torch.ones(2, 3)], {"input": torch.ones(2, 3)}],
)
def test_an_example_is_a_tensor_positional_or_named_arguments(example: object) -> None:
    assert call(nn.Identity(), example).shape == (2, 3)


def test_compiled_programs_run_as_they_were_written_until_the_last_who_asked_for_it_is_done() -> (
    None
):
    programs: list[object] = []

    def backend(program: torch.fx.GraphModule, example: object) -> object:
        programs.append(program)
        return program.forward

    compiled = torch.compile(lambda x: x + 1, backend=backend)
    one, other = Undoing(), Undoing()
    uncompile(one)
    uncompile(other)
    compiled(torch.zeros(2))
    one.now()
    compiled(torch.zeros(2))
    assert not programs
    other.now()
    compiled(torch.zeros(2))
    assert len(programs) == 1


def test_random_states_modes_and_statistics_come_back() -> None:
    model: Any = nn.Sequential(nn.BatchNorm1d(2), nn.Dropout())
    mean, state = model[0].running_mean.clone(), torch.get_rng_state()
    with (undo := Undoing()):
        preserve(model, undo)
        same_random_states(undo)
        model(torch.ones(3, 2))
        model.eval()
    assert model[1].training
    assert torch.equal(model[0].running_mean, mean)
    assert torch.equal(torch.get_rng_state(), state)
