"""What a training loop hands over: activations, gradients and targets, sorted by layer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from structure_net.core.running import evaluate, preserve
from structure_net.core.sparsity import SparseLayer
from structure_net.core.undoing import Undoing, hooked, set_gradients
from structure_net.core.weights import laid_out
from structure_net.dnm.configuration import nearest
from structure_net.evolution.batches import Loss, forward
from structure_net.surgery.grafts import current_name

_UNITS_FIRST = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)


@dataclass(frozen=True, slots=True, eq=False)
class LayerCaches:
    """Activations and gradients of the layers of one network, from one batch.

    Args:
        activations: By layer, shape ``(N, C, ...)``: units behind the samples, wherever the layer
            keeps them.
        gradients: Of the mean loss with respect to these, of their shape.
        weight_gradients: With respect to a layer's weight, shape ``(C, weights of a unit)``.
        targets: Class indices, shape ``(N,)``, or None.
        inputs: What the network read, shape ``(N, C, ...)``, or None.
    """

    activations: Mapping[str, Tensor] = field(default_factory=dict)
    gradients: Mapping[str, Tensor] = field(default_factory=dict)
    weight_gradients: Mapping[str, Tensor] = field(default_factory=dict)
    targets: Tensor | None = None
    inputs: Tensor | None = None


def layer_caches(
    model: nn.Module,
    activations: Mapping[str, Tensor | None],
    gradients: Mapping[str, Tensor | None],
    targets: Tensor | None = None,
    *,
    inputs: Tensor | None = None,
) -> LayerCaches:
    """Sorts what was cached by layer.

    Modules that are no layers (activations, pooling, normalisation, containers) and parameters that
    are no weight matrices or kernels are passed over, and so are entries that are None.

    Args:
        model: The network; its names are those before or after its edits.
        activations: Outputs by module name, of one batch.
        gradients: Of the mean loss, by module name (with respect to the output, or to the weight)
            or by parameter name.
        targets: Class indices of the same batch.
        inputs: What the network read.

    Raises:
        ValueError: A name is unknown, or a tensor is of another width than its layer.
        TypeError: A value is no tensor.
    """
    layers = dict(_layers(model))
    seen = {
        name: _sorted(layers[name], name, tensor)
        for name, tensor in _named(model, activations, "activations")
        if name in layers
    }
    by_units: dict[str, Tensor] = {}
    by_weight: dict[str, Tensor] = {}
    for name, tensor in _named(model, gradients, "gradients"):
        owner, _, last = name.rpartition(".")
        if owner in layers and last == "weight":
            _keep_weight(by_weight, owner, layers[owner], tensor)
        elif name in layers and tensor.shape == getattr(layers[name], "weight", tensor).shape:
            _keep_weight(by_weight, name, layers[name], tensor)
        elif name in layers:
            by_units[name] = _sorted(layers[name], name, tensor)
    targets = None if targets is None else targets.detach()
    return LayerCaches(seen, by_units, by_weight, targets, inputs)


def collect_caches(
    model: nn.Module, inputs: Any, targets: Any, criterion: Loss = F.cross_entropy
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Activations and gradients of every layer on one batch, as `DNMFramework.update_caches` takes.

    The model runs in evaluation mode and is left as it was, gradients included.

    Args:
        model: Any module.
        inputs: One batch: a tensor, a tuple of positional or a mapping of keyword arguments.
        targets: Its targets.
        criterion: The mean loss of output and targets.

    Returns:
        The outputs by module name in order of execution, and the gradients with respect to them.
    """
    outputs: dict[str, Tensor] = {}
    undo = Undoing()
    with undo, undo:
        preserve(model, undo)
        evaluate(model, undo)
        set_gradients(undo, on=True)
        for name, layer in _layers(model):
            hooked(undo, layer, _keeper(outputs, name))
        loss = criterion(forward(model, inputs), targets)
        wanted = [tensor for tensor in outputs.values() if tensor.requires_grad]
        found = torch.autograd.grad(loss, wanted, allow_unused=True)
    of = {id(tensor): gradient for tensor, gradient in zip(wanted, found, strict=True)}
    gradients = {name: of.get(id(tensor)) for name, tensor in outputs.items()}
    return (
        {name: tensor.detach() for name, tensor in outputs.items()},
        {name: gradient for name, gradient in gradients.items() if gradient is not None},
    )


def _keeper(outputs: dict[str, Tensor], name: str) -> Callable[[nn.Module, Any, Any], None]:
    def keep(_module: nn.Module, _inputs: Any, output: Any) -> None:
        if isinstance(output, Tensor):
            outputs[name] = output

    return keep


def _layers(model: nn.Module) -> list[tuple[str, nn.Module]]:
    """The modules with a weight matrix or kernel of their own."""
    return [
        (name, module)
        for name, module in model.named_modules()
        if isinstance(module, SparseLayer)
        or any(parameter.dim() > 1 for parameter in module.parameters(recurse=False))
    ]


def _named(
    model: nn.Module, given: Mapping[str, Tensor | None], what: str
) -> list[tuple[str, Tensor]]:
    """The tensors by the names that their modules and parameters have now."""
    if not isinstance(given, Mapping):
        raise TypeError(f"{what} must be a mapping of names to tensors; got {given!r:.80}.")
    known = {name for name, _ in model.named_modules()} | {n for n, _ in model.named_parameters()}
    found: list[tuple[str, Tensor]] = []
    for name, tensor in given.items():
        now = name if name in known else current_name(model, name)
        if now not in known:
            raise ValueError(
                f"{what} hold {name!r}, which is no module and no parameter of the model."
                f"{nearest(name, known)}"
            )
        if tensor is None:
            continue
        if not isinstance(tensor, Tensor):
            raise TypeError(f"{what}[{name!r}] must be a tensor; got {type(tensor).__name__}.")
        inner = current_name(model, now)  # of a layer with something grafted to it
        found.append((inner if inner in known and inner not in given else now, tensor.detach()))
    return found


def _sorted(layer: nn.Module, name: str, tensor: Tensor) -> Tensor:
    """The tensor with its units on axis 1."""
    axis = _axis(layer)
    if tensor.dim() < 2:
        raise ValueError(
            f"What is cached of {name!r} must have the samples first; got shape"
            f" {tuple(tensor.shape)}."
        )
    units = _units(layer)
    moved = tensor.movedim(axis, 1)
    if units is not None and moved.shape[1] != units:
        raise ValueError(
            f"{name!r} has {units} units, and what is cached of it has shape"
            f" {tuple(tensor.shape)}. Cache anew after a change."
        )
    return moved


def _keep_weight(found: dict[str, Tensor], name: str, layer: nn.Module, tensor: Tensor) -> None:
    weight = getattr(layer, "weight", None)
    if not isinstance(weight, Tensor) or (weight.dim() < 2 and not isinstance(layer, SparseLayer)):
        return
    if weight.shape != tensor.shape:
        raise ValueError(
            f"The weight of {name!r} has shape {tuple(weight.shape)}, and the cached gradient"
            f" {tuple(tensor.shape)}. Cache anew after a change."
        )
    whole = laid_out(layer, tensor)
    units = whole.movedim(1, 0) if isinstance(layer, _TRANSPOSED) else whole
    found[name] = units.flatten(1)


def _axis(layer: nn.Module) -> int:
    if isinstance(layer, SparseLayer):
        return layer.channel_dim
    return 1 if isinstance(layer, (*_UNITS_FIRST, *_TRANSPOSED)) else -1


def _units(layer: nn.Module) -> int | None:
    for name in ("out_channels", "out_features"):
        if isinstance(units := getattr(layer, name, None), int):
            return units
    return None
