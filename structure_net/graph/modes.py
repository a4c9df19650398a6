"""What the program of training mode adds to that of evaluation mode.

Auxiliary heads, sampling and noise run in training only. Their tensors have to fit, so that both
programs share the axes of all parameters; what new channels hold is decided by evaluation alone.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Collection, Iterable
from dataclasses import replace
from typing import Final

from torch import nn

from structure_net.graph.ledger import LayerRecord, Ledger, Norm, Use
from structure_net.graph.sizes import freeze, size_of

NOWHERE: Final = -1
"""The step of what happens in training only: no step of the ledger."""

_BRANCH: Final = re.compile(r"\b(if|while|and|or|not)\b.*\.training\b|\.training\s+(and|or|else)\b")


def beside(ledger: Ledger) -> Ledger:
    """An empty ledger of another program of the same model: the axes of tensors are shared."""
    return Ledger(
        tensors=ledger.tensors,
        aliases=ledger.aliases,
        trainable=ledger.trainable,
        integers=ledger.integers,
        leaves=ledger.leaves,
        weight_norms=ledger.weight_norms,
        spectral_norms=ledger.spectral_norms,
        training=True,
    )


def add_training(ledger: Ledger, other: Ledger) -> None:
    """Adds what ``other``, the ledger of training, knows beyond ``ledger``."""
    for origin, uses in other.uses.items():
        known = ledger.uses.setdefault(origin, [])
        roles = {use.role for use in known}
        known += [Use(role, NOWHERE) for role in {u.role: None for u in uses} if role not in roles]
    weights = {layer.weight for layer in ledger.layers}
    ledger.layers += [_nowhere(layer) for layer in other.layers if layer.weight not in weights]
    seen = {(norm.module, norm.gain) for norm in ledger.norms}
    for index, norm in enumerate(other.norms):
        if (norm.module, norm.gain) not in seen:
            if index in other.bare_norms:
                ledger.bare_norms.add(len(ledger.norms))
            ledger.norms.append(_elsewhere(norm))
    ledger.heads += other.heads


def _nowhere(layer: LayerRecord) -> LayerRecord:
    return replace(layer, step=NOWHERE)


def _elsewhere(norm: Norm) -> Norm:
    return replace(norm, step=NOWHERE, source=NOWHERE)


def idle_tensors(model: nn.Module, ledger: Ledger, live: Collection[str]) -> list[str]:
    """The parameters that the result does not depend on, by their first names."""
    found: dict[int, str] = {}
    used = set()
    for name, parameter in model.named_parameters(remove_duplicate=False):
        found.setdefault(id(parameter), name)
        if name in live or any(name.startswith(f"{leaf}.") for leaf in _used_leaves(ledger)):
            used.add(id(parameter))
    return [name for key, name in found.items() if key not in used]


def _used_leaves(ledger: Ledger) -> Iterable[str]:
    return (name for name in ledger.leaves if ledger.uses.get((name, 0)))


def branches(model: nn.Module) -> bool:
    """Whether the model's own code asks for the mode, other than to pass it on."""
    kinds = {type(m) for m in model.modules() if not type(m).__module__.startswith("torch.")}
    return any(_branches(kind) for kind in kinds)


def _branches(kind: type[nn.Module]) -> bool:
    try:
        lines = inspect.getsource(kind).splitlines()
    except (OSError, TypeError):
        return False
    return any(_BRANCH.search(line) and "gradient_checkpointing" not in line for line in lines)


def distrust(model: nn.Module, ledger: Ledger, idle: Iterable[str]) -> None:
    """Fixes every axis of the size of one that a parameter has whose program cannot be traced."""
    parameters = dict(model.named_parameters())
    stored = [expr for exprs in ledger.tensors.values() for expr in exprs]
    for name in idle:
        reason = f"'{name}', which only runs in training mode, in which the model cannot be traced"
        for expr in stored:
            if size_of(expr) in parameters[name].shape:
                freeze(expr, reason)
