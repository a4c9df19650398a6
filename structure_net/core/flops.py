"""How many floating-point operations a forward pass takes, counted while it runs.

Products count as in `torch.utils.flop_counter`: a multiplication and an addition each, for matrix
products, convolutions and attention; what works entry by entry (activations, normalisation, biases)
does not count. A sparse layer counts its live connections only, whatever its storage computes.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from structure_net.core.running import call, evaluating, untouched
from structure_net.core.sparsity import SparseLayer
from structure_net.core.statistics import outermost_modules, sparse_layers


@dataclass(frozen=True, slots=True)
class Flops:
    """Floating-point operations of one forward pass, per sample.

    Args:
        total: Of the whole model, with sparse layers at their live connections.
        dense: The same if all connections of sparse layers were there.
        layers: ``total`` by module without children, and by sparse layer; those without any are
            left out. What a module with children computes itself stands under its name.
    """

    total: float
    dense: float
    layers: Mapping[str, float]


def count_flops(model: nn.Module, example: Any) -> Flops:
    """Counts the operations of a forward pass.

    Args:
        model: Any module; it runs once, in evaluation mode, and is left as it was.
        example: Inputs: a tensor, a tuple of arguments, or a mapping of named ones, with samples on
            the first axis of the first tensor.

    Raises:
        ValueError: The example has no tensor with samples.
    """
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    samples = _samples(example)
    positions: dict[str, int] = {}
    counter = FlopCounterMode(display=False)
    with ExitStack() as stack:
        stack.enter_context(untouched(model))
        stack.enter_context(evaluating(model))
        # Fused kernels of attention are not counted on every device; their products are.
        stack.enter_context(torch.enable_grad())
        stack.enter_context(sdpa_kernel(SDPBackend.MATH))
        for name, layer in sparse_layers(model).items():
            stack.callback(layer.register_forward_hook(_counting(positions, name)).remove)
        stack.enter_context(counter)
        call(model, example)
    by_module = {
        name.removeprefix(type(model).__name__).removeprefix("."): float(sum(found.values()))
        for name, found in counter.get_flop_counts().items()
        if name != "Global"
    }
    return _flops(model, by_module, float(counter.get_total_flops()), positions, samples)


def _flops(
    model: nn.Module,
    by_module: Mapping[str, float],
    total: float,
    positions: Mapping[str, int],
    samples: int,
) -> Flops:
    own = _own(model, by_module, total)
    dense = live = total
    for name, layer in sparse_layers(model).items():
        wanted = 2.0 * layer.connections * positions.get(name, 0)
        dense += 2.0 * _possible(layer) * positions.get(name, 0) - own.get(name, 0.0)
        live += wanted - own.get(name, 0.0)
        own[name] = wanted
    layers = {name: count / samples for name, count in own.items() if count}
    return Flops(live / samples, dense / samples, layers)


def _own(model: nn.Module, by_module: Mapping[str, float], total: float) -> dict[str, float]:
    """What each module computes itself, without its children; sparse layers with theirs.

    A container whose children are called one by one is never called, and counts as these do.
    """
    own: dict[str, float] = {}
    whole: dict[str, float] = {}
    for name, module in reversed(list(outermost_modules(model))):
        children = (
            [] if isinstance(module, SparseLayer) else [n for n, _ in module.named_children()]
        )
        below = sum(whole.get(f"{name}.{child}" if name else child, 0.0) for child in children)
        whole[name] = total if name == "" else by_module.get(name, below)
        own[name] = whole[name] - below
    return dict(reversed(own.items()))


def _possible(layer: SparseLayer) -> int:
    pattern = layer.pattern
    kernel = layer.connections // max(len(pattern), 1) or 1
    return pattern.shape[0] * pattern.shape[1] * kernel


def _counting(positions: dict[str, int], name: str) -> Any:
    def after(layer: SparseLayer, inputs: Any, output: Tensor) -> None:
        count = output.numel() // layer.out_channels
        positions[name] = positions.get(name, 0) + count

    return after


def _samples(example: Any) -> int:
    values = example.values() if isinstance(example, Mapping) else example
    tensors = [values] if isinstance(values, Tensor) else [v for v in values if torch.is_tensor(v)]
    sizes = [tensor.shape[0] for tensor in tensors if tensor.dim()]
    if not sizes or not sizes[0]:
        raise ValueError("The example has no tensor with samples on its first axis; give one.")
    return int(sizes[0])
