"""What a model was made of before its first edit, so that it can be led back there in place.

Modules, parameters and buffers are remembered by reference: they outlive every edit, since an edit
swaps what stands behind them. Of parameters only the shape is kept, so that the memory costs next
to nothing; buffers, which hold the patterns of sparse layers, are copied.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, MutableMapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from structure_net.core.moments import LeaveGroup
from structure_net.core.sparsity import SparseLayer
from structure_net.graph.tags import holdings
from structure_net.surgery.committing import Settle, Step, SwapTensor, Undo, commit

_REGISTRIES = ("_modules", "_parameters", "_buffers")


class Birth:
    """The architecture of a model as it is now: tree, shapes, buffers, and the numbers it keeps.

    Args:
        model: Is only read.
    """

    def __init__(self, model: nn.Module) -> None:
        self._modules = list(model.named_modules())
        self._registries = [
            {name: dict(vars(module)[name]) for name in _REGISTRIES} for _, module in self._modules
        ]
        self._parameters = [(n, p, p.shape) for n, p in model.named_parameters()]
        self._buffers = [(n, b, b.detach().clone()) for n, b in model.named_buffers()]
        self._numbers = [
            (held, {key: value for key, value in held.items() if _is_number(value)})
            for _, _, held in holdings(model)
        ]

    def restore(self, model: nn.Module, optimizers: Iterable[Optimizer] = ()) -> Undo:
        """Leads ``model`` back, in place; modules and parameters are the same objects.

        Parameters that were edited are zero afterwards, buffers as they were at birth: whoever
        restores loads tensors next. Numbers that modules and their configurations keep (sizes,
        epsilons) are as they were at birth.

        Args:
            model: The model that was remembered.
            optimizers: Let go of parameters that were born later.

        Returns:
            Takes everything back.
        """
        return commit(self._steps(model, tuple(optimizers)))

    def _steps(self, model: nn.Module, optimizers: tuple[Optimizer, ...]) -> Iterator[Step]:
        own = {id(parameter) for _, parameter, _ in self._parameters}
        born = [parameter for parameter in model.parameters() if id(parameter) not in own]
        for (_, module), registries in zip(self._modules, self._registries, strict=True):
            for name, content in registries.items():
                yield _Refill(vars(module)[name], content)
        for held, numbers in self._numbers:
            yield _Update(held, numbers)
        for name, parameter, shape in self._parameters:
            if parameter.shape != shape:
                empty = torch.zeros(shape, dtype=parameter.dtype, device=parameter.device)
                again = nn.Parameter(empty, requires_grad=parameter.requires_grad)
                yield SwapTensor(name, parameter, again)
        for name, buffer, kept in self._buffers:
            again_buffer = kept.to(device=buffer.device, dtype=buffer.dtype, copy=True)
            yield SwapTensor(name, buffer, again_buffer)
        for parameter in born:
            yield from (LeaveGroup(optimizer, parameter) for optimizer in optimizers)
        for _, module in self._modules:
            if isinstance(module, SparseLayer):
                yield Settle(module, module.settle)


def _is_number(value: object) -> bool:
    """Whether ``value`` is a number, or several, that surgery may have changed."""
    if isinstance(value, tuple | list):
        return bool(value) and all(type(item) is int for item in value)
    return type(value) in (int, float)


@dataclass(slots=True)
class _Refill:
    """Puts other content into a registry; the registry itself stays, as handles refer to it."""

    registry: dict[str, Any]
    content: dict[str, Any]
    _before: dict[str, Any] = field(default_factory=dict, init=False)

    def apply(self) -> None:
        self._before = dict(self.registry)
        self._put(self.content)

    def revert(self) -> None:
        self._put(self._before)

    def _put(self, content: dict[str, Any]) -> None:
        self.registry.clear()
        self.registry.update(content)


@dataclass(slots=True)
class _Update:
    """Sets the attributes whose values differ."""

    held: MutableMapping[str, Any]
    values: dict[str, Any]
    _before: dict[str, Any] = field(default_factory=dict, init=False)

    def apply(self) -> None:
        changed = {k: v for k, v in self.values.items() if k in self.held and self.held[k] != v}
        self._before = {key: self.held[key] for key in changed}
        self.held.update(changed)

    def revert(self) -> None:
        self.held.update(self._before)
