"""Carries moves out: everything new is computed first, then committed, all or nothing.

This is the one module that writes to a model on behalf of an edit.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from structure_net.core.changes import TensorChange
from structure_net.core.moments import carried_state, held
from structure_net.core.sparsity import SparseLayer
from structure_net.core.wrapping import wrapped
from structure_net.errors import SurgeryError
from structure_net.surgery.committing import (
    Claim,
    KeepBuffer,
    Settle,
    SetValue,
    Step,
    SwapTensor,
    Undo,
    commit,
    value_in,
)
from structure_net.surgery.graft_steps import built_grafts, gate_steps, graft_steps
from structure_net.surgery.grafts import resolved
from structure_net.surgery.leaf_moves import LeafMove, leaf_changes, sparse_layer
from structure_net.surgery.moments import Follow, ReplaceState
from structure_net.surgery.moves import (
    AddGraft,
    KeepSpectrum,
    Move,
    MoveAxis,
    Regain,
    RemoveGraft,
    ScaleAttribute,
    SetAttribute,
    SetGate,
)
from structure_net.surgery.optimizers import LOG, Record, Remember, optimizers_of, refuse_flat
from structure_net.surgery.passing_on import with_means
from structure_net.surgery.recycling import recycle
from structure_net.surgery.spectral_norms import respected
from structure_net.surgery.tensors import changed
from structure_net.surgery.weight_norms import regained
from structure_net.surgery.wording import UserNames


def operate(
    model: nn.Module,
    moves: Sequence[Move],
    optimizer: Optimizer | Iterable[Optimizer] | None = None,
    *,
    seed: int = 0,
) -> Undo:
    """Carries out ``moves`` in place, on tensors, gradients, attributes and optimizer state.

    Args:
        model: The model that the moves were planned for.
        moves: What `plan` returned.
        optimizer: The optimizers of the model; others follow at their next step.
        seed: Decides what fresh weights hold; the same seed, the same weights.

    Returns:
        What takes all of it back, bit for bit.

    Raises:
        SurgeryError: A move does not fit the model, or optimizer state cannot follow; nothing was
            changed.
    """
    refuse_uneditable(model)
    return perform(model, moves, optimizers_of(optimizer), seed=seed)


@torch.no_grad()
def perform(
    model: nn.Module, moves: Sequence[Move], optimizers: Sequence[Optimizer], *, seed: int = 0
) -> Undo:
    """`operate`, on a model that `refuse_uneditable` let through before."""
    refuse_strangers(model, optimizers)
    for one in optimizers:
        LOG.catch_up(one)
    return commit(_steps(model, moves, optimizers, seed))


def refuse_strangers(model: nn.Module, optimizers: Sequence[Optimizer]) -> None:
    """Refuses optimizers of other models.

    Raises:
        SurgeryError: One holds parameters, but none of the model.
    """
    own = {id(parameter) for parameter in model.parameters()}
    for one in optimizers:
        if held(one) and own and own.isdisjoint(held(one)):
            raise SurgeryError(
                f"The {type(one).__name__} holds no parameter of the model; hand over the "
                "model's own optimizer, or leave it out."
            )


def refuse_uneditable(model: nn.Module) -> None:
    """Refuses models and modes in which tensors cannot be exchanged.

    Raises:
        SurgeryError: The model is wrapped, has parameters without values, or inference mode is on.
    """
    if reason := wrapped(model):
        raise SurgeryError(reason)
    if torch.is_inference_mode_enabled():
        raise SurgeryError(
            "Tensors made under torch.inference_mode() cannot be trained; edit the model outside "
            "of it, or use torch.no_grad()."
        )
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        if tensor.is_meta:
            raise SurgeryError(
                f"{name!r} is on the meta device, which holds no values; move the model to a "
                "device (`model.to_empty`) and load or initialise it first."
            )
        if nn.parameter.is_lazy(tensor):
            raise SurgeryError(f"{name!r} has no shape yet; run the model on a batch first.")


def _steps(
    model: nn.Module, moves: Sequence[Move], optimizers: Sequence[Optimizer], seed: int
) -> list[Step]:
    recycle(model.parameters())
    leaves = dict(leaf_changes(model, moves, seed))
    changes = [*_axis_changes(model, moves, seed), *(c for cs in leaves.values() for c in cs)]
    changes = with_means(model, moves, changes)
    record, names = Record(), UserNames(model)
    steps = _changed_tensors(model, changes, optimizers, record)
    for name in leaves:
        layer = sparse_layer(model, name)
        steps.append(Settle(layer, layer.settle))
    steps += _attribute_steps(model, moves)
    grafts = built_grafts(model, moves, seed)
    steps += graft_steps(model, moves, grafts, optimizers, record)
    steps += gate_steps(model, moves)
    for one in optimizers:
        refuse_flat(one, record)
    touched: dict[str, object] = {c.tensor: tensor_of(model, c.tensor) for c in changes}
    touched |= {**_touched_modules(model, moves), **_around(model, moves, grafts)}
    claim = Claim([(names.shown(name), thing) for name, thing in touched.items()])
    return [*steps, claim, Remember(record, optimizers)]


def changing_steps(
    model: nn.Module,
    changes: Sequence[TensorChange],
    layers: Iterable[SparseLayer],
    optimizers: Sequence[Optimizer],
) -> list[Step]:
    """The steps of ``changes`` that belong to no edit: ``layers`` settle behind them.

    Raises:
        SurgeryError: Optimizer state cannot follow.
    """
    record, names = Record(), UserNames(model)
    steps = _changed_tensors(model, changes, optimizers, record)
    steps += [Settle(layer, layer.settle) for layer in layers]
    for one in optimizers:
        refuse_flat(one, record)
    touched = [(names.shown(c.tensor), tensor_of(model, c.tensor)) for c in changes]
    return [*steps, Claim(touched), Remember(record, optimizers)]


def _changed_tensors(
    model: nn.Module,
    changes: Iterable[TensorChange],
    optimizers: Sequence[Optimizer],
    record: Record,
) -> list[Step]:
    """What writes ``changes``; how parameters' state follows is added to ``record``."""
    steps: list[Step] = []
    names = UserNames(model)
    for change in changes:
        tensor = tensor_of(model, change.tensor)
        steps += _tensor_steps(tensor, change, optimizers, names.shown(change.tensor))
        if isinstance(tensor, nn.Parameter):
            record.follows.append((tensor, Follow(tensor.shape, change.carry)))
        else:
            steps.append(KeepBuffer(model, tensor))
    return steps


def _touched_modules(model: nn.Module, moves: Sequence[Move]) -> dict[str, nn.Module]:
    """Modules whose attributes change."""
    names = [move.layer for move in moves if isinstance(move, LeafMove)]
    names += [m.module for m in moves if isinstance(m, SetAttribute | ScaleAttribute)]
    return {name: model.get_submodule(resolved(model, name)) for name in names}


def _around(
    model: nn.Module, moves: Sequence[Move], grafts: Mapping[str, nn.Module]
) -> dict[str, object]:
    """Everything, where modules come or go: what fits around them is not to change meanwhile."""
    if not any(isinstance(move, AddGraft | RemoveGraft | SetGate) for move in moves):
        return {}
    parts = {"": model, **grafts}
    return {
        f"{path}.{name}".strip("."): thing
        for path, part in parts.items()
        for things in (part.named_modules(), part.named_parameters(), part.named_buffers())
        for name, thing in things
    }


def tensor_of(model: nn.Module, name: str) -> Tensor:
    """The parameter or buffer of a dotted name.

    Raises:
        SurgeryError: There is none.
    """
    owner, _, last = name.rpartition(".")
    try:
        tensor = getattr(model.get_submodule(owner), last)
    except AttributeError:
        tensor = None
    if not isinstance(tensor, Tensor):
        raise SurgeryError(f"The model has no parameter or buffer {name!r}; trace it again.")
    return tensor


def _axis_changes(model: nn.Module, moves: Sequence[Move], seed: int) -> Iterable[TensorChange]:
    by_tensor: defaultdict[str, list[MoveAxis]] = defaultdict(list)
    for move in moves:
        if isinstance(move, MoveAxis):
            by_tensor[move.tensor].append(move)
    changes: dict[str, TensorChange] = {}
    for name, several in by_tensor.items():
        gains = {m.weights: tensor_of(model, m.weights) for m in several if m.weights is not None}
        changes[name] = changed(name, tensor_of(model, name), several, seed, gains)
    for move in moves:
        if isinstance(move, Regain | KeepSpectrum):
            changes.update({c.tensor: c for c in _normalised(model, move, changes, by_tensor)})
    return changes.values()


def _normalised(
    model: nn.Module,
    move: Regain | KeepSpectrum,
    changes: Mapping[str, TensorChange],
    moves: Mapping[str, Sequence[MoveAxis]],
) -> tuple[TensorChange, ...]:
    """What becomes of the tensors behind a normalised weight."""
    if isinstance(move, Regain):
        gained = move.site
        old = {name: tensor_of(model, name) for name in (gained.gain, gained.direction)}
        return regained(gained, old, changes, moves.get(gained.gain, ()))
    site = move.site
    names = (site.weight, site.u, site.v)
    own = [m for name in names for m in moves.get(name, ())]
    return respected(site, {name: tensor_of(model, name) for name in names}, changes, own)


def _tensor_steps(
    tensor: Tensor, change: TensorChange, optimizers: Sequence[Optimizer], name: str
) -> Iterator[Step]:
    replacement: Tensor = change.data
    if isinstance(tensor, nn.Parameter):
        replacement = nn.Parameter(change.data, requires_grad=tensor.requires_grad)
        if tensor.grad is not None:
            replacement.grad = change.carry(tensor.grad)
    yield SwapTensor(name, tensor, replacement)
    for optimizer in optimizers:
        state: dict[str, Any] | None = optimizer.state.get(tensor)
        if state:
            after = carried_state(optimizer, state, tensor.shape, change.carry)
            yield ReplaceState(optimizer, tensor, after)


def _attribute_steps(model: nn.Module, moves: Sequence[Move]) -> Iterator[Step]:
    tuples: dict[tuple[str, str], list[int]] = {}
    for move in moves:
        match move:
            case SetAttribute(position=None):
                yield SetValue(model.get_submodule(move.module), move.name, move.value)
            case SetAttribute(position=int() as position):
                module = model.get_submodule(move.module)
                key = (move.module, move.name)
                values = tuples.setdefault(key, list(value_in(module, move.name)))
                values[position] = move.value
            case ScaleAttribute():
                module = model.get_submodule(move.module)
                epsilon = getattr(module, move.name)
                if epsilon is None:
                    epsilon = torch.finfo(tensor_of(model, move.gain).dtype).eps
                yield SetValue(module, move.name, epsilon * move.factor)
            case _:
                pass
    for (path, name), values in tuples.items():
        module = model.get_submodule(path)
        kind = type(value_in(module, name))
        yield SetValue(module, name, torch.Size(values) if kind is torch.Size else kind(values))
