"""What a network consists of, counted from its modules: connections, parameters, density."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypedDict

from torch import Tensor, nn

from structure_net.core.sparsity import SparseLayer


class Spread(TypedDict):
    """The smallest, mean and largest of a count over units."""

    min: int
    mean: float
    max: int


class LayerStats(TypedDict):
    """One layer with weights.

    ``inputs`` and ``outputs`` count units (features, channels), ``connections`` live weights,
    ``parameters`` live weights and biases. ``fan_in`` is per output unit, ``fan_out`` per input
    unit, both in live weights.
    """

    name: str
    kind: str
    inputs: int
    outputs: int
    connections: int
    parameters: int
    density: float
    fan_in: Spread
    fan_out: Spread


class NetworkStats(TypedDict):
    """A whole network.

    ``total_connections``: live weights of all layers. ``total_parameters``: these and every bias,
        gain and other
    parameter. ``stored_parameters``: all entries that parameters hold, dead ones included.
    ``density``: connections over all that the layers' shapes allow. ``layers``: in the order of the
        modules.
    """

    total_connections: int
    total_parameters: int
    stored_parameters: int
    density: float
    layers: list[LayerStats]


def network_stats(model: nn.Module) -> NetworkStats:
    """Counts what ``model`` consists of; a tensor that two modules share counts once.

    A sparse layer counts its live weights. In any other module every parameter of two or more
    dimensions is a layer of connections from its second axis to its first, all of them live.
    """
    layers = list(_layers(model))
    connections = sum(layer["connections"] for layer in layers)
    possible = sum(_possible(layer) for layer in layers)
    stored = sum(parameter.numel() for parameter in model.parameters())
    return {
        "total_connections": connections,
        "total_parameters": live_parameters(model),
        "stored_parameters": stored,
        "density": connections / possible if possible else 1.0,
        "layers": layers,
    }


def live_parameters(model: nn.Module) -> int:
    """``total_parameters`` of `network_stats` alone, for a small part of its cost."""
    found = sum(parameter.numel() for parameter in model.parameters())
    for layer in sparse_layers(model).values():
        found += _live(layer) - sum(parameter.numel() for parameter in layer.parameters())
    return found


def sparse_layers(model: nn.Module) -> dict[str, SparseLayer]:
    """The sparse layers of ``model`` by name, without the parts of other sparse layers."""
    return {
        name: module for name, module in outermost_modules(model) if isinstance(module, SparseLayer)
    }


def outermost_modules(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """The modules of ``model`` by name, each once, without the parts of sparse layers."""
    seen: set[nn.Module] = set()

    def walk(name: str, module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
        if module in seen:
            return
        seen.add(module)
        yield name, module
        if not isinstance(module, SparseLayer):
            for child_name, child in module.named_children():
                yield from walk(f"{name}.{child_name}" if name else child_name, child)

    yield from walk("", model)


def _layers(model: nn.Module) -> Iterator[LayerStats]:
    seen: set[Tensor] = set()
    for name, module in outermost_modules(model):
        if isinstance(module, SparseLayer):
            yield _sparse(name, module)
            continue
        own = dict(module.named_parameters(recurse=False))
        matrices = {key: p for key, p in own.items() if p.dim() >= 2 and p not in seen}
        seen.update(matrices.values())
        for key, weight in matrices.items():
            label = name if len(matrices) == 1 else f"{name}.{key}" if name else key
            yield _dense(label, module, weight, own if len(matrices) == 1 else {key: weight})


def _sparse(name: str, layer: SparseLayer) -> LayerStats:
    connections, fan_in = layer.connections, layer.fan_in()
    kernel = connections // max(int(fan_in.sum()), 1)
    return {
        "name": name,
        "kind": type(layer).__name__,
        "inputs": layer.in_channels,
        "outputs": layer.out_channels,
        "connections": connections,
        "parameters": _live(layer),
        "density": layer.density,
        "fan_in": _spread(fan_in * kernel),
        "fan_out": _spread(layer.fan_out() * kernel),
    }


def _live(layer: SparseLayer) -> int:
    return layer.connections + (0 if layer.bias is None else layer.bias.numel())


def _dense(
    name: str, module: nn.Module, weight: Tensor, own: dict[str, nn.Parameter]
) -> LayerStats:
    transposed = isinstance(module, nn.modules.conv._ConvTransposeNd)
    groups = getattr(module, "groups", 1) if isinstance(module, nn.modules.conv._ConvNd) else 1
    first, second = weight.shape[0], weight.shape[1] * groups
    outputs, inputs = (weight.shape[1] * groups, first) if transposed else (first, second)
    fan_in, fan_out = weight.numel() // outputs, weight.numel() // inputs
    return {
        "name": name,
        "kind": type(module).__name__,
        "inputs": inputs,
        "outputs": outputs,
        "connections": weight.numel(),
        "parameters": sum(parameter.numel() for parameter in own.values()),
        "density": 1.0,
        "fan_in": {"min": fan_in, "mean": float(fan_in), "max": fan_in},
        "fan_out": {"min": fan_out, "mean": float(fan_out), "max": fan_out},
    }


def _possible(row: LayerStats) -> float:
    """The connections that the layer's shape allows."""
    if row["connections"] == 0:
        return row["inputs"] * row["outputs"]
    return row["connections"] / row["density"]


def _spread(counts: Tensor) -> Spread:
    least, most = counts.aminmax()
    return {"min": int(least), "mean": float(counts.double().mean()), "max": int(most)}
