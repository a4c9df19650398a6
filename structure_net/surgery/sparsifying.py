"""A model of one's own made sparse, and dense again, with all that optimizers remember of it.

Modules and parameters stay the same objects: a layer becomes one of another class in its place, as
`torch.nn.utils.parametrize` and lazy modules do it. So whoever holds a module or a parameter (a
list of the user's, a second name, a hook, an optimizer) holds the new one, too. No edit: journals
do not hear of it, and begin with the model as it is then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from structure_net.core.allocation import Allocation
from structure_net.core.arguments import check_module
from structure_net.core.changes import TensorChange
from structure_net.core.layers import Granularity, SparseConv2d, StandardSparseLayer
from structure_net.core.masking import spread
from structure_net.core.sparsification import (
    Choice,
    SparsityPlan,
    dense_twin,
    plan_sparsity,
    sparse_twin,
)
from structure_net.core.sparsity import SparsePattern
from structure_net.core.statistics import sparse_layers
from structure_net.surgery.bound_weights import refuse_computed, refuse_shared
from structure_net.surgery.committing import Step, commit
from structure_net.surgery.fast_paths import fast_paths, slow_paths
from structure_net.surgery.operating import (
    changing_steps,
    refuse_strangers,
    refuse_uneditable,
)
from structure_net.surgery.optimizers import LOG, optimizers_of

_SPARSE = (StandardSparseLayer, SparseConv2d)


@torch.no_grad()
def sparsify(  # noqa: PLR0913 - independent choices, each with a default
    model: nn.Module,
    density: float,
    *,
    by: Choice = "magnitude",
    allocation: Allocation = "erdos_renyi_kernel",
    layers: Iterable[str] | None = None,
    granularity: Granularity = "kernel",
    seed: int = 0,
    optimizer: Optimizer | Iterable[Optimizer] | None = None,
) -> nn.Module:
    """Makes the linear layers and convolutions of a model sparse, in place.

    Each chosen `torch.nn.Linear` becomes a `StandardSparseLayer`, each `torch.nn.Conv2d` a
    `SparseConv2d`, with the weights of the connections that stay, its bias, hooks, mode, type,
    device and name. `plan_sparsity` tells beforehand, for the same arguments, which layers these
    are and why others are left.

    A layer must be called to be sparse: code that reads ``layer.weight`` itself finds a list of
    live weights, or a matrix, whichever pays. `torch.nn.TransformerEncoderLayer` does so in its
    fast path for inference, which is therefore turned off where its linear layers become sparse,
    and with it the nested tensors of `torch.nn.TransformerEncoder`, which write zeros at padded
    positions.

    Args:
        model: Any module.
        density: The fraction of the weights of the chosen layers that stays, in (0, 1].
        by: Which connections of a layer stay: ``"magnitude"`` or ``"random"``.
        allocation: How connections are shared among the layers (`connection_counts`).
        layers: The names of the layers to make sparse; every one that can be if None.
        granularity: What a connection of a convolution is: ``"kernel"`` or ``"weight"``.
        seed: What random connections are drawn from.
        optimizer: The model's optimizers, whose moments follow the weights that stay; others follow
            at their next step.

    Returns:
        ``model``.

    Raises:
        TypeError: ``model`` is no module, ``density`` no number or ``seed`` not whole.
        ValueError: An argument is out of range or unknown, a layer that is named cannot be sparse,
            or none can; the message says why.
        SurgeryError: The model cannot be edited, optimizer state cannot follow, or an optimizer is
            of another model. Nothing was changed.

    Example:
        >>> model = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
        >>> sparsify(model, 0.2)[0]
        StandardSparseLayer(in_features=64, out_features=32, density=0.1465, bias=True)
    """
    check_module(model)
    refuse_uneditable(model)
    plan = plan_sparsity(
        model,
        density,
        by=by,
        allocation=allocation,
        layers=layers,
        granularity=granularity,
        seed=seed,
    )
    made = [_made_sparse(model, plan, number) for number in range(len(plan.layers))]
    _carry_out(model, made, slow_paths(model, [one.layer for one in made]), optimizer)
    return model


@torch.no_grad()
def densify(
    model: nn.Module,
    *,
    layers: Iterable[str] | None = None,
    optimizer: Optimizer | Iterable[Optimizer] | None = None,
) -> nn.Module:
    """Makes the sparse layers of a model dense, in place: zeros where no connection was.

    `StandardSparseLayer` becomes `torch.nn.Linear`, `SparseConv2d` `torch.nn.Conv2d`, and the fast
    path of a `torch.nn.TransformerEncoderLayer` is as it was before `sparsify`, unless the layer
    was grafted on meanwhile. Outputs are the same up to rounding. Training goes on with all
    weights, the zeros too.

    Args:
        model: Any module.
        layers: The names of the layers to make dense; every sparse one if None.
        optimizer: The model's optimizers; others follow at their next step. What they remember of
            new weights is zero.

    Returns:
        ``model``.

    Raises:
        TypeError: ``model`` is no module.
        ValueError: A layer is of another kind, or there is no sparse one.
        SurgeryError: The model cannot be edited, a weight is computed from others or shared with
            another layer, optimizer state cannot follow, or an optimizer is of another model.
            Nothing was changed.
    """
    check_module(model)
    refuse_uneditable(model)
    chosen = _sparse(model, layers)
    refuse_shared(model, chosen, biases=False)
    made = [_made_dense(name, layer) for name, layer in chosen.items()]
    _carry_out(model, made, fast_paths(model, [one.layer for one in made]), optimizer)
    return model


@dataclass(frozen=True, slots=True)
class _Made:
    """A layer, what its weight becomes, and the module that it becomes like."""

    layer: nn.Module
    twin: nn.Module
    weight: TensorChange


@dataclass(slots=True)
class Become:
    """Makes a module one of the class of ``twin``, whose attributes and buffers it takes over.

    Parameters, hooks, mode and what the user set on the module stay.
    """

    module: nn.Module
    twin: nn.Module
    known: frozenset[str]
    _before: list[Callable[[], None]] = field(default_factory=list, init=False)

    def apply(self) -> None:
        """Changes the class; when that is interrupted, the module is as before."""
        own, module = vars(self.module), self.module
        common = vars(nn.Module())
        kept = {name: value for name, value in own.items() if name not in self.known}
        made = {
            name: value
            for name, value in vars(self.twin).items()
            if name not in common and name not in module._parameters
        }
        with ExitStack() as rollback:
            self._before = [_restorer(module)]
            rollback.callback(self.revert)
            module.__class__ = type(self.twin)
            own.clear()
            own.update(kept, **made)
            _refill(module._buffers, self.twin._buffers)
            module._non_persistent_buffers_set.clear()
            module._non_persistent_buffers_set.update(self.twin._non_persistent_buffers_set)
            rollback.pop_all()

    def revert(self) -> None:
        """Makes it what it was."""
        for restore in self._before:
            restore()


def _restorer(module: nn.Module) -> Callable[[], None]:
    """What makes ``module`` again what it is now."""
    kind, held, buffers = type(module), dict(vars(module)), dict(module._buffers)
    transient = set(module._non_persistent_buffers_set)

    def restore() -> None:
        module.__class__ = kind
        _refill(vars(module), held)
        _refill(module._buffers, buffers)
        module._non_persistent_buffers_set.clear()
        module._non_persistent_buffers_set.update(transient)

    return restore


def _refill(registry: dict[str, Any], content: dict[str, Any]) -> None:
    """The same object, since others may hold it, with other content."""
    registry.clear()
    registry.update(content)


def _carry_out(
    model: nn.Module,
    made: Sequence[_Made],
    settings: Iterable[Step],
    optimizer: Optimizer | Iterable[Optimizer] | None,
) -> None:
    optimizers = optimizers_of(optimizer)
    refuse_strangers(model, optimizers)
    for held in optimizers:
        LOG.catch_up(held)
    steps = changing_steps(model, [one.weight for one in made], (), optimizers)
    turns = [Become(one.layer, one.twin, _class_attributes(one.layer)) for one in made]
    commit([*steps, *turns, *settings])


def _class_attributes(layer: nn.Module) -> frozenset[str]:
    """The attributes that the class of ``layer`` sets, beyond those of every module."""
    plain: nn.Module
    match layer:
        case nn.Linear():
            plain = nn.Linear(1, 1, device="meta")
        case nn.Conv2d():
            plain = nn.Conv2d(1, 1, 1, device="meta")
        case StandardSparseLayer():
            plain = StandardSparseLayer(1, 1, generator=torch.Generator())
        case _:
            plain = SparseConv2d(1, 1, 1, generator=torch.Generator())
    return frozenset(vars(plain)) - frozenset(vars(nn.Module()))


def _made_sparse(model: nn.Module, plan: SparsityPlan, number: int) -> _Made:
    planned = plan.layers[number]
    layer = model.get_submodule(planned.name)
    assert isinstance(layer, nn.Linear | nn.Conv2d)
    twin = sparse_twin(layer, planned.pattern, plan.granularity)
    live = twin.storage == "live"
    entries = twin.weight.shape[1:] if live else twin.weight.shape[2:]
    shape = (*planned.pattern.shape, *entries)
    carry = _picked(planned.pattern, shape) if live else _masked(planned.pattern, shape)
    change = TensorChange("weight", carry(layer.weight.detach()), carry)
    return _Made(layer, twin, change.within(planned.name) if planned.name else change)


def _picked(pattern: SparsePattern, shape: tuple[int, ...]) -> Callable[[Tensor], Tensor]:
    """The entries on the pattern of a state of dense weights, as a list."""

    def carry(state: Tensor) -> Tensor:
        rows, columns = pattern.rows.to(state.device), pattern.columns.to(state.device)
        return state.reshape(shape)[rows, columns]

    return carry


def _masked(pattern: SparsePattern, shape: tuple[int, ...]) -> Callable[[Tensor], Tensor]:
    """The same as a matrix that is zero off the pattern."""
    mask = pattern.mask()

    def carry(state: Tensor) -> Tensor:
        state = state.reshape(shape)
        return state.masked_fill(~spread(mask.to(state.device), state), 0)

    return carry


def _made_dense(name: str, layer: StandardSparseLayer | SparseConv2d) -> _Made:
    twin, masked = dense_twin(layer), None
    for change in layer.stored("masked"):
        masked = change if change.tensor == "weight" else masked
    shape = tuple(twin.weight.shape)
    data = layer.dense_weight().detach() if masked is None else masked.data

    def carry(state: Tensor) -> Tensor:
        whole = state if masked is None else masked.carry(state)
        return whole.reshape(shape).clone()

    change = TensorChange("weight", data.reshape(shape).clone(), carry)
    return _Made(layer, twin, change.within(name) if name else change)


def _sparse(
    model: nn.Module, names: Iterable[str] | None
) -> dict[str, StandardSparseLayer | SparseConv2d]:
    """The layers to make dense."""
    if isinstance(names, str):
        raise TypeError(f"layers must be a list of names; got the one name {names!r}.")
    found = sparse_layers(model)
    chosen = dict(found) if names is None else {name: found[name] for name in _known(names, found)}
    refuse_computed(chosen)
    if found and not chosen:
        raise ValueError("layers is empty; name at least one, or leave it out for all of them.")
    if not chosen:
        raise ValueError("The model has no sparse layer that could be made dense.")
    others = {name: type(layer).__name__ for name, layer in chosen.items()}
    others = {name: kind for name, kind in others.items() if type(chosen[name]) not in _SPARSE}
    if others:
        name, kind = next(iter(others.items()))
        raise ValueError(
            f"densify turns StandardSparseLayer and SparseConv2d; {name!r} is a {kind}. Name the "
            "layers that it is to turn, as layers=[...]."
        )
    return {name: layer for name, layer in chosen.items() if isinstance(layer, _SPARSE)}


def _known(names: Iterable[str], found: Iterable[str]) -> Iterator[str]:
    there = list(found)
    for name in names:
        if name not in there:
            raise ValueError(
                f"The model has no sparse layer {name!r}; it has {', '.join(there) or 'none'}."
            )
        yield name
