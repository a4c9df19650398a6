"""What the laws are checked on: models of the zoo with an optimizer that has state, and images."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import torch
from hypothesis import HealthCheck, settings
from torch import Tensor, nn

from structure_net.errors import PreservationError, SurgeryError
from structure_net.graph import ChannelGroup, adopt, graph_of
from tests.zoo import ZOO

LAWFUL = [name for name, case in ZOO.items() if case.laws]


@cache
def prepared(name: str) -> nn.Module:
    """A model of the zoo with its graph known."""
    model = ZOO[name].build(0)
    graph_of(model, ZOO[name].inputs(2, 0))
    return model


def subject(name: str) -> nn.Module:
    """A copy of a prepared model, which need not be traced again."""
    model = copy.deepcopy(prepared(name))
    adopt(model, prepared(name))
    return model


def example(name: str, batch: int = 2, seed: int = 0) -> Any:
    return ZOO[name].inputs(batch, seed)


def run(model: nn.Module, inputs: Any) -> tuple[Tensor, ...]:
    """The model's output tensors, as its user would compute them."""
    if isinstance(inputs, dict):
        output = model(**inputs)
    elif isinstance(inputs, tuple):
        output = model(*inputs)
    else:
        output = model(inputs)
    return tuple(_flat(output))


def _flat(output: Any) -> Iterator[Tensor]:
    if isinstance(output, Tensor):
        yield output
    elif isinstance(output, dict):
        for value in output.values():
            yield from _flat(value)
    elif isinstance(output, tuple | list):
        for value in output:
            yield from _flat(value)


def train(model: nn.Module, optimizer: torch.optim.Optimizer, inputs: Any, steps: int = 1) -> None:
    for _ in range(steps):
        optimizer.zero_grad()
        loss = sum((out.square().sum() for out in run(model, inputs)), torch.zeros(()))
        loss.backward()
        optimizer.step()


def trained(name: str) -> tuple[nn.Module, torch.optim.Optimizer]:
    """A subject and an optimizer with moments."""
    model = subject(name)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    train(model, optimizer, example(name))
    return model, optimizer


def examples(count: int) -> settings:
    """How many examples a law is checked on for each model; the rest is the profile's."""
    calm = [HealthCheck.too_slow, HealthCheck.data_too_large]
    return settings(max_examples=count, suppress_health_check=calm)


def editable(name: str) -> list[str]:
    """The layers of a model whose width can change, in order of execution."""
    graph = graph_of(prepared(name), example(name))
    return [layer for layer in graph.layers if layer not in graph.frozen]


def group_of(model: nn.Module, name: str, layer: str) -> ChannelGroup:
    return graph_of(model, example(name)).group(layer)


def image(model: nn.Module, optimizer: torch.optim.Optimizer | None = None) -> dict[str, Any]:
    """Everything that an edit may touch, by name, as values that compare by content."""
    content: dict[str, Any] = {"modules": repr(model)}
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        content[name] = (id(tensor), _bytes(tensor))
        content[f"{name}.grad"] = None if tensor.grad is None else _bytes(tensor.grad)
    for name, module in model.named_modules():
        content[f"{name}:"] = numbers(module)
    if optimizer is not None:
        for number, settings in enumerate(optimizer.param_groups):
            content[f"group {number}"] = [id(p) for p in settings["params"]]
        for parameter, state in optimizer.state.items():
            content[f"state {id(parameter)}"] = {
                k: _bytes(v) if isinstance(v, Tensor) else v for k, v in state.items()
            }
    return content


def numbers(module: nn.Module) -> dict[str, Any]:
    """The attributes of a module that are numbers, words, or tuples of these."""
    return {name: value for name, value in vars(module).items() if _is_plain(value)}


def _is_plain(value: Any) -> bool:
    if isinstance(value, tuple):
        return all(_is_plain(part) for part in value)
    return isinstance(value, int | float | str)


def _bytes(tensor: Tensor) -> tuple[Any, ...]:
    return tensor.dtype, tuple(tensor.shape), tensor.detach().numpy().tobytes()


def refusal(action: Callable[[], object]) -> str | None:
    """What an action is refused with, or None; a broken promise is no refusal."""
    try:
        action()
    except PreservationError:
        raise
    except SurgeryError as error:
        return str(error)
    return None
