"""One look at a network for all analyzers: a pass over a few batches, reduced as it goes.

Analyzers say what they need (`Need`); the pass collects it once. Per unit and layer it keeps
running sums and extrema, never an activation, so that memory does not depend on the number of
batches. The network runs in evaluation mode and is left as it was: parameters, buffers, modes,
gradients and hooks.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Set
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

import torch
from torch import Tensor, nn

from structure_net.core.running import evaluating
from structure_net.errors import StructureNetError
from structure_net.evolution.activations import Activation
from structure_net.evolution.batches import ITERABLE_AGAIN, Batch, Loss, batch_length, forward
from structure_net.evolution.tracking import ActivationTracker


class Need(Enum):
    """What an analyzer wants to be measured."""

    ACTIVATIONS = "activations"
    """Per unit: extrema, moments, firing rate, slope; per input: moments."""

    GRADIENTS = "gradients"
    """Per unit: mean and second moment of the loss's gradient; costs a backward pass a batch."""


@dataclass(frozen=True, slots=True, eq=False)
class LayerObservation:
    r"""What the units of one layer did over the batches seen.

    Values are taken after the activation that follows the layer, at every sample and position
    (pixel, token). With :math:`n` values :math:`y_i` of a unit:

    Args:
        layer: The layer's name.
        units: The number of units ``C``; channels of a convolution.
        activation: The activation's function name, None if none follows.
        count: ``n``.
        minimum: Shape ``(C,)``, float64 like all that follow.
        maximum: Shape ``(C,)``.
        mean: :math:`\sum y_i / n`. Shape ``(C,)``.
        second_moment: :math:`\sum y_i^2 / n`. Shape ``(C,)``.
        firing_rate: The fraction of values above 0. Shape ``(C,)``.
        slope: The mean derivative of a bounded activation, relative to its largest one, so
            between 0 (saturated) and 1 (linear). Behind ReLU6, and any other hardtanh that cuts off
            below at 0, a value of 0 counts as slope 1: it is rest there, as behind ReLU, and not
            the end of the range. Shape ``(C,)``; None for the others.
        input_mean: Mean of each input unit. Shape ``(inputs,)``; None for embeddings.
        input_second_moment: Second moment of each input unit. Shape ``(inputs,)``.
        gradient_mean: Mean over the values of the gradient of the batch's loss, where asked for.
        gradient_second_moment: Its second moment, where asked for.
        readers: Layers whose inputs are this layer's units, one by one.
    """

    layer: str
    units: int
    activation: str | None
    count: int
    minimum: Tensor
    maximum: Tensor
    mean: Tensor
    second_moment: Tensor
    firing_rate: Tensor
    slope: Tensor | None = None
    input_mean: Tensor | None = None
    input_second_moment: Tensor | None = None
    gradient_mean: Tensor | None = None
    gradient_second_moment: Tensor | None = None
    readers: tuple[str, ...] = ()

    @property
    def variance(self) -> Tensor:
        r""":math:`\sum y_i^2 / n - (\sum y_i / n)^2`, at least 0. Shape ``(C,)``."""
        return (self.second_moment - self.mean.square()).clamp_min(0)


@dataclass(frozen=True, slots=True, eq=False)
class Observation:
    """What one pass saw.

    Args:
        layers: By name, in order of first execution.
        batches: Batches seen.
        samples: Samples seen: the length of the targets (or of the first tensor among them).
    """

    layers: Mapping[str, LayerObservation] = field(default_factory=dict)
    batches: int = 0
    samples: int = 0


def observe(
    network: nn.Module,
    data: Iterable[Batch],
    *,
    needs: Set[Need] = frozenset({Need.ACTIVATIONS}),
    loss: Loss | None = None,
) -> Observation:
    """Runs ``network`` over ``data`` and reduces what its units do.

    Args:
        network: Any module; it is left as it was.
        data: Pairs ``(inputs, targets)`` on the network's device.
        needs: What to measure; nothing is run when empty.
        loss: Takes output and targets to a scalar; needed for `Need.GRADIENTS`.

    Raises:
        ValueError: Gradients are asked for without a loss, or there is no batch.
        StructureNetError: A unit's activation is not finite, of which nothing can be said.
    """
    if not needs:
        return Observation()
    gradients = Need.GRADIENTS in needs
    if gradients and loss is None:
        raise ValueError("Need.GRADIENTS takes the gradient of a loss; got loss=None. Pass one.")
    collector = _Collector(gradients)
    seen = samples = 0
    with (
        evaluating(network),
        torch.set_grad_enabled(gradients),
        ActivationTracker(network, collector.output, collector.input) as tracker,
    ):
        for inputs, targets in data:
            output = forward(network, inputs)
            tracker.finish_pass()
            if loss is not None and gradients:
                collector.backward(loss(output, targets))
            seen += 1
            samples += batch_length(targets)
    if not seen:
        raise ValueError(f"The data_loader gave no batch to observe. {ITERABLE_AGAIN}")
    layers = {name: collector.result(name, tuple(tracker.readers[name])) for name in tracker.order}
    _check_finite(layers)
    return Observation(layers, seen, samples)


@dataclass(frozen=True, slots=True, eq=False)
class _Part:
    """Sums over one batch: number of values, sum and sum of squares per unit."""

    count: int
    total: Tensor
    square: Tensor


class _Sums:
    """Running sums and extrema of one layer's values, in float64 where the device has it."""

    def __init__(self, size: int, device: torch.device) -> None:
        precise = torch.float32 if device.type == "mps" else torch.float64
        self.count = 0
        self.activation: Activation | None = None
        zeros = torch.zeros(4, size, dtype=precise, device=device)
        self.total, self.square, self.fired, self.slope = zeros.unbind()
        self.least = torch.full_like(self.total, torch.inf)
        self.most = torch.full_like(self.total, -torch.inf)

    def add(self, values: Tensor, axis: int, activation: Activation | None) -> _Part:
        """Takes a batch in whole; returns the part of it that `add_part` takes."""
        block, over = _by_unit(values, axis)
        self.activation = activation
        # amin and amax are vectorised on the CPU where aminmax is not, and sign where > is not.
        self.least = torch.minimum(self.least, block.amin(over))
        self.most = torch.maximum(self.most, block.amax(over))
        self.fired += block.sign().clamp_min_(0).sum(over)
        if (slope := _slope(block, activation, values.dtype)) is not None:
            self.slope += slope.sum(over)
        part = _part(block, over)
        self.add_part(part)
        return part

    def add_part(self, part: _Part) -> None:
        self.count += part.count
        self.total += part.total
        self.square += part.square


def _part(block: Tensor, over: tuple[int, ...]) -> _Part:
    count = block.numel() // block.size(1)
    return _Part(count, block.sum(over), (block * block).sum(over))


class _Collector:
    """Gathers what the tracker reports."""

    def __init__(self, gradients: bool) -> None:
        self._gradients = gradients
        self._outputs: dict[str, _Sums] = {}
        self._inputs: dict[str, _Sums] = {}
        self._gradient_sums: dict[str, _Sums] = {}
        self._held: list[tuple[str, Tensor, int]] = []

    def output(self, layer: str, values: Tensor, axis: int, activation: Activation | None) -> _Part:
        if self._gradients and values.requires_grad:
            self._held.append((layer, values, axis))
        with torch.no_grad():
            return self._of(self._outputs, layer, values, axis).add(values, axis, activation)

    def input(self, layer: str, values: Tensor, axis: int, part: _Part | None) -> None:
        with torch.no_grad():
            part = part or _part(*_by_unit(values, axis))
            self._of(self._inputs, layer, values, axis).add_part(part)

    def backward(self, loss: Tensor) -> None:
        """Reduces the gradients of one batch; parameters' own gradients are not touched."""
        held, self._held = self._held, []
        if not held:
            return
        found = torch.autograd.grad(loss, [values for _, values, _ in held], allow_unused=True)
        for (layer, values, axis), gradient in zip(held, found, strict=True):
            full = torch.zeros_like(values) if gradient is None else gradient
            self._of(self._gradient_sums, layer, values, axis).add(full.detach(), axis, None)

    @staticmethod
    def _of(table: dict[str, _Sums], layer: str, values: Tensor, axis: int) -> _Sums:
        if layer not in table:
            table[layer] = _Sums(values.size(axis), values.device)
        return table[layer]

    def result(self, layer: str, readers: tuple[str, ...]) -> LayerObservation:
        sums = self._outputs[layer]
        inputs, gradients = self._inputs.get(layer), self._gradient_sums.get(layer)
        return LayerObservation(
            layer=layer,
            units=len(sums.total),
            activation=sums.activation.name if sums.activation else None,
            count=sums.count,
            minimum=_final(sums.least),
            maximum=_final(sums.most),
            mean=_final(sums.total / sums.count),
            second_moment=_final(sums.square / sums.count),
            firing_rate=_final(sums.fired / sums.count),
            slope=_final(sums.slope / sums.count) if _is_bounded(sums.activation) else None,
            input_mean=_final(inputs.total / inputs.count) if inputs else None,
            input_second_moment=_final(inputs.square / inputs.count) if inputs else None,
            gradient_mean=_final(gradients.total / gradients.count) if gradients else None,
            gradient_second_moment=_final(gradients.square / gradients.count)
            if gradients
            else None,
            readers=readers,
        )


def _check_finite(layers: Mapping[str, LayerObservation]) -> None:
    for name, layer in layers.items():
        if broken := int((~torch.isfinite(layer.mean)).sum()):
            raise StructureNetError(
                f"{broken} of {layer.units} units of {name!r} had activations that are NaN or"
                " infinite, so that nothing can be said of them. Look for bad values in the data,"
                " or in the weights of a training that diverged."
            )


def _final(values: Tensor) -> Tensor:
    return values.to("cpu", torch.float64)


def _by_unit(values: Tensor, axis: int) -> tuple[Tensor, tuple[int, ...]]:
    """``values`` as (before, unit, after) without a copy, and the axes to reduce.

    At least in float32. Where nothing comes after the units, as (before, unit).
    """
    axis %= values.dim()
    whole = values.detach()
    if whole.dtype in {torch.float16, torch.bfloat16}:
        whole = whole.float()
    units, after = values.size(axis), math.prod(values.shape[axis + 1 :])
    if after == 1:
        return whole.reshape(-1, units), (0,)
    return whole.reshape(-1, units, after), (0, 2)


_SLOPES: Final[Mapping[str, Callable[[Tensor], Tensor]]] = {
    "tanh": lambda y: 1 - y.square(),
    "sigmoid": lambda y: 4 * y * (1 - y),
    "expit": lambda y: 4 * y * (1 - y),
    "softsign": lambda y: (1 - y.abs()).square(),
    "hardsigmoid": lambda y: ((y > 0) & (y < 1)).to(y),
}
"""The derivative from the output, relative to the largest."""


def _is_bounded(activation: Activation | None) -> bool:
    return activation is not None and (activation.bounds is not None or activation.name in _SLOPES)


def _slope(block: Tensor, activation: Activation | None, dtype: torch.dtype) -> Tensor | None:
    """The slope at outputs that were computed in ``dtype``, which rounds the bounds."""
    if activation is None:
        return None
    if activation.bounds is None:
        rule = _SLOPES.get(activation.name)
        return rule(block) if rule else None
    bounds = torch.tensor(activation.bounds, dtype=dtype, device=block.device)
    low, high = bounds.to(block.dtype).unbind()
    within = block < high
    if activation.bounds[0] != 0:
        within &= block > low
    return within.to(block)
