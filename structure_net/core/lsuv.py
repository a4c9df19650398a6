"""Layer-sequential unit variance: scales each layer until its output has variance 1 on a batch."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor, nn

from structure_net.core.running import call, evaluate
from structure_net.core.sparsity import SparseLayer
from structure_net.core.statistics import outermost_modules
from structure_net.core.undoing import Undoing, hooked, set_gradients
from structure_net.errors import InitialisationError

_DENSE: Final = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
_TRANSPOSED: Final = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)


@dataclass(frozen=True, slots=True)
class LayerScaling:
    """What was done to one layer.

    Args:
        layer: Its name in the model.
        before: The variance of its output before.
        after: The variance after.
        factor: What its weights were multiplied with.
        steps: How many times they were multiplied.
        converged: Whether ``after`` is within the tolerance of 1.
    """

    layer: str
    before: float
    after: float
    factor: float
    steps: int
    converged: bool


@dataclass(frozen=True, slots=True)
class _Site:
    """One layer at the point where it runs: its weights, and how to run it again."""

    layer: str
    weights: list[nn.Parameter]
    again: Callable[[], Tensor]


def lsuv_(
    model: nn.Module,
    inputs: Any,
    *,
    tolerance: float = 0.05,
    max_steps: int = 10,
    orthogonal: bool = False,
    generator: torch.Generator | None = None,
) -> tuple[LayerScaling, ...]:
    """Scales the weights of each linear, convolutional and sparse layer, in order of execution.

    One forward pass in evaluation mode: each layer's weights are divided by the standard deviation
    of its output over all entries, until the variance is within ``tolerance`` of 1; what follows
    sees the scaled output. A layer that runs more than once is scaled at its first run. Biases
    stay: where their own variance is not small, ``max_steps`` may not suffice, and the report says
    so.

    Args:
        model: The model, changed in place.
        inputs: A batch: a tensor, a tuple of arguments, or a mapping of named ones.
        tolerance: How far the variance may be from 1.
        max_steps: The number of scalings to try for one layer.
        orthogonal: Whether the weights of dense layers start as orthonormal matrices first, as
            in the paper. Sparse layers, where that is not defined, keep their weights.
        generator: What the orthonormal matrices are drawn with; torch's default if None.

    Returns:
        A report per layer, in order of execution.

    Raises:
        InitialisationError: A layer's output is constant or not finite; layers before it are
            scaled already.
        ValueError: ``tolerance`` or ``max_steps`` is not positive.

    References:
        Mishkin and Matas, "All you need is a good init", ICLR 2016.
    """
    if tolerance <= 0 or max_steps < 1:
        raise ValueError(
            f"tolerance and max_steps must be positive; got {tolerance} and {max_steps}."
        )
    report: dict[str, LayerScaling] = {}

    def scale(name: str) -> Callable[..., Tensor | None]:
        def hook(
            layer: nn.Module, arguments: tuple[Any, ...], named: dict[str, Any], output: Tensor
        ) -> Tensor | None:
            if name in report:
                return None

            def again() -> Tensor:
                result: Tensor = layer.forward(*arguments, **named)
                return result

            if orthogonal and isinstance(layer, (*_DENSE, *_TRANSPOSED)):
                nn.init.orthogonal_(layer.weight, generator=generator)
                output = again()
            weights = [p for p in layer.parameters() if p is not layer.bias]
            report[name], output = _scaled(
                _Site(name, weights, again), output, tolerance=tolerance, max_steps=max_steps
            )
            return output

        return hook

    _run_with_hooks(model, inputs, scale)
    return tuple(report.values())


def _run_with_hooks(
    model: nn.Module, inputs: Any, hook: Callable[[str], Callable[..., Tensor | None]]
) -> None:
    undo = Undoing()
    with undo, undo:
        for name, module in outermost_modules(model):
            if isinstance(module, (SparseLayer, *_DENSE, *_TRANSPOSED)):
                hooked(undo, module, hook(name), with_kwargs=True)
        evaluate(model, undo)
        set_gradients(undo, on=False)
        call(model, inputs)


def _scaled(
    site: _Site, output: Tensor, *, tolerance: float, max_steps: int
) -> tuple[LayerScaling, Tensor]:
    before = variance = _variance(site.layer, output)
    factor, steps = 1.0, 0
    while abs(variance - 1) > tolerance and steps < max_steps:
        step = 1 / math.sqrt(variance)
        for weight in site.weights:
            weight.mul_(step)
        factor, steps = factor * step, steps + 1
        output = site.again()
        variance = _variance(site.layer, output)
    converged = abs(variance - 1) <= tolerance
    return LayerScaling(site.layer, before, variance, factor, steps, converged), output


def _variance(name: str, output: Tensor) -> float:
    variance = float(output.double().var())
    if not math.isfinite(variance):
        raise InitialisationError(
            f"The output of layer {name!r} has variance {variance}; it needs finite inputs and "
            "weights, and more than one entry. Check the batch, and the layers before it."
        )
    if variance < torch.finfo(output.dtype).tiny:
        raise InitialisationError(
            f"The output of layer {name!r} is constant on this batch; scaling cannot give it "
            "variance 1. Check that it has live connections to units that are not dead."
        )
    return variance
