"""The fast path for inference of torch's encoder layers, which reads the weights of their linear
layers without calling them: off where these are sparse, as it was before where they are dense.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from torch import nn

from structure_net.core.sparsity import SparseLayer
from structure_net.surgery.committing import Step
from structure_net.surgery.grafts import Grafted

# What forward asks for first, and nothing else but the constructor of a stack reads.
_LAYER: Final = "activation_relu_or_gelu"
_STACK: Final = "use_nested_tensor"
_NOTE: Final = "_before_sparsity"
_NOTHING: Final = object()


def slow_paths(model: nn.Module, layers: Iterable[nn.Module]) -> list[Step]:
    """What turns the fast path off in the encoder layers that any of ``layers`` is part of."""
    encoders = _encoders(model, layers)
    return [
        *(_off(one, _LAYER, 0) for one in encoders),
        *(_off(one, _STACK, False) for one in _stacks(model, encoders)),
    ]


def fast_paths(model: nn.Module, layers: Sequence[nn.Module]) -> list[Step]:
    """What makes it as it was where, once ``layers`` are dense, nothing is left that it would pass
    by.
    """
    ready = [one for one in _encoders(model, layers) if _plain(one, layers)]
    stacks = [one for one in _stacks(model, ready) if all(_plain(x, layers) for x in one.layers)]
    kept = [(one, _LAYER) for one in ready] + [(one, _STACK) for one in stacks]
    return [
        _SetOwn(one, {name: vars(one)[_NOTE], _NOTE: _NOTHING})
        for one, name in kept
        if _NOTE in vars(one)
    ]


def _off(module: nn.Module, name: str, value: int) -> Step:
    """Sets what is asked for first, and notes once what it was."""
    noted = vars(module).get(_NOTE, getattr(module, name))
    return _SetOwn(module, {name: value, _NOTE: noted})


@dataclass(slots=True)
class _SetOwn:
    """Sets attributes of a module, or takes them away where their value is `_NOTHING`."""

    module: nn.Module
    values: Mapping[str, Any]
    _before: Mapping[str, Any] = field(default_factory=dict, init=False)

    def apply(self) -> None:
        own = vars(self.module)
        self._before = {name: own.get(name, _NOTHING) for name in self.values}
        self._write(self.values)

    def revert(self) -> None:
        self._write(self._before)

    def _write(self, values: Mapping[str, Any]) -> None:
        own = vars(self.module)
        for name, value in values.items():
            if value is _NOTHING:
                own.pop(name, None)
            else:
                own[name] = value


def _encoders(model: nn.Module, layers: Iterable[nn.Module]) -> list[nn.TransformerEncoderLayer]:
    """The encoder layers that one of ``layers`` is part of."""
    wanted = {id(one) for one in layers}
    return [
        module
        for module in model.modules()
        if isinstance(module, nn.TransformerEncoderLayer)
        and wanted & {id(part) for part in module.modules()}
    ]


def _stacks(model: nn.Module, encoders: Iterable[nn.Module]) -> list[nn.TransformerEncoder]:
    """The stacks that any of ``encoders`` is in."""
    wanted = {id(one) for one in encoders}
    return [
        module
        for module in model.modules()
        if isinstance(module, nn.TransformerEncoder)
        and wanted & {id(layer) for layer in module.layers}
    ]


def _plain(encoder: nn.Module, layers: Iterable[nn.Module]) -> bool:
    """Whether no layer but ``layers`` is sparse, and none has a graft."""
    turned = {id(one) for one in layers}
    parts = list(encoder.modules())
    sparse = {id(one) for one in parts if isinstance(one, SparseLayer)}
    return sparse <= turned and not any(isinstance(one, Grafted) for one in parts)
