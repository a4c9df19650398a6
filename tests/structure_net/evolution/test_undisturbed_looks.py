"""A look sees all that its own pass does, whatever compilers, threads and failures do to it."""

from __future__ import annotations

from collections.abc import Callable
from threading import Thread
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from structure_net.core import chaining
from structure_net.core.crossover import set_crossover
from structure_net.core.network_factory import create_standard_network
from structure_net.evolution import observe
from structure_net.evolution.activations import taken_by
from tests.interrupting import interrupted_everywhere

DATA = [(torch.arange(12.0).reshape(4, 3) - 5, torch.zeros(4, dtype=torch.long))] * 2


class Asking(nn.Module):
    """Has a part of itself called between its layers, and goes on when that fails."""

    def __init__(self, ask: Callable[[nn.Module, Tensor], object]) -> None:
        super().__init__()
        self.first, self.broken, self.second = nn.Linear(3, 3), nn.Linear(9, 9), nn.Linear(3, 2)
        self.ask = ask

    def forward(self, x: Tensor) -> Tensor:
        hidden = torch.relu(self.first(x))
        self.ask(self, hidden)
        return torch.relu(self.second(hidden))


def test_calls_of_other_threads_are_not_seen() -> None:
    left: list[int] = []

    def ask(network: Any, hidden: Tensor) -> None:
        def call() -> None:
            with torch.no_grad():
                network.second(hidden)
            left.append(torch._C._len_torch_function_stack())

        thread = Thread(target=call)
        thread.start()
        thread.join()

    seen = observe(Asking(ask), DATA)
    assert {name: layer.count for name, layer in seen.layers.items()} == {"first": 8, "second": 8}
    assert left == [0, 0]


def test_layers_behind_one_that_failed_are_seen() -> None:
    def ask(network: Any, hidden: Tensor) -> None:
        try:
            network.broken(hidden)
        except RuntimeError as error:
            assert "shapes" in str(error)  # noqa: PT017  # what a network may do about it

    seen = observe(Asking(ask), DATA)
    found = {name: layer.activation for name, layer in seen.layers.items()}
    assert found == {"first": "relu", "second": "relu"}


def test_every_call_counts_of_a_layer_with_and_without_an_activation() -> None:
    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(3, 3)

        def forward(self, x: Tensor) -> Tensor:
            last: Tensor = self.layer(self.layer(torch.relu(self.layer(x))))
            return last.relu()

    assert observe(Shared(), DATA).layers["layer"].count == 3 * 8


def test_a_compiled_network_is_looked_at_as_it_was_written() -> None:
    programs: list[object] = []

    def backend(program: Any, example: Any) -> Any:
        programs.append(program)
        return program.forward

    plain = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    expected = observe(plain, DATA).layers
    compiled: Any = torch.compile(plain, backend=backend)
    found = observe(compiled, DATA).layers
    assert not programs
    assert [layer.activation for layer in found.values()] == ["relu", None]
    for one, other in zip(found.values(), expected.values(), strict=True):
        torch.testing.assert_close(one.second_moment, other.second_moment, rtol=0, atol=0)
    with torch.no_grad():
        compiled(DATA[0][0])
    assert len(programs) == 1


def test_what_an_activation_took_is_kept_from_being_written_into() -> None:
    values = torch.tensor([-1.0, 2.0])
    kept = taken_by(F.silu, (values,), {"inplace": True})
    assert kept is not None
    assert kept.data_ptr() != values.data_ptr()
    same = taken_by(F.silu, (values,), {})
    assert same is not None
    assert same.data_ptr() == values.data_ptr()
    assert taken_by(F.silu, (), {}) is None


def test_a_batch_without_samples_is_refused() -> None:
    empty = torch.zeros(0, 3), torch.zeros(0, dtype=torch.long)
    with pytest.raises(ValueError, match="batches of one sample or more; got an empty one"):
        observe(nn.Linear(3, 2), [DATA[0], empty])


@pytest.mark.parametrize("in_row", [True, False])
def test_an_interrupt_at_any_point_of_a_look_leaves_nothing_behind(in_row: bool) -> None:
    set_crossover("live")
    try:
        body = create_standard_network([3, 4, 2], density=0.5, seed=0)
    finally:
        set_crossover(None)
    network = nn.Sequential(body, nn.ReLU() if in_row else nn.Tanh())
    files = ["tracking.py", "watched_functions.py", "undoing.py", "running.py", "passing.py"]
    files += ["rows.py", "noting.py"]
    count = 0
    for _held in interrupted_everywhere(lambda: observe(network, DATA[:1]), tuple(files), every=5):
        count += 1
        assert all(module.training for module in network.modules())
        assert not any(m._forward_hooks or m._forward_pre_hooks for m in network.modules())
        assert torch.is_grad_enabled()
        assert torch._C._len_torch_function_stack() == 0
        assert torch._C._is_torch_function_enabled()
        assert chaining._ONLOOKER.get() is None
    assert count > 50
