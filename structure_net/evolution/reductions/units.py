"""What each unit did: extrema, moments, firing rate and slope."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Final, TypedDict

import torch
from torch import Tensor

from structure_net.core.unit_sums import TotalSums, merged
from structure_net.errors import StructureNetError
from structure_net.evolution.activations import Activation
from structure_net.evolution.calls import Call
from structure_net.evolution.reductions.means import Means, Summed
from structure_net.evolution.reductions.reduction import Noted, Reduction
from structure_net.evolution.reductions.slopes import has_slope, total_slope
from structure_net.evolution.reductions.values import Moments, Values

_NEVER_NEGATIVE: Final = frozenset({"relu", "relu6", "sigmoid", "expit", "softplus", "hardsigmoid"})


class UnitStatistics(TypedDict):
    """What the units of one layer did; see `LayerObservation`, which has these fields."""

    activation: str | None
    count: int
    minimum: Tensor
    maximum: Tensor
    mean: Tensor
    mean_absolute: Tensor
    second_moment: Tensor
    firing_rate: Tensor
    slope: Tensor | None
    input_mean: Tensor | None
    input_second_moment: Tensor | None


class UnitSums(Reduction):
    """Running sums and extrema of what each layer's units end up with and of its inputs."""

    notes: ClassVar[bool] = True

    def __init__(self) -> None:
        self._outputs: dict[str, _Sums] = {}
        self._inputs: dict[str, RunningSums] = {}
        self._noted: dict[str, Noted] = {}

    def units(self, values: Values) -> None:
        """See `Reduction.units`."""
        layer = values.call.layer
        if layer not in self._outputs:
            self._outputs[layer] = _Sums()
        self._outputs[layer].add(values)

    def input(self, values: Values) -> None:
        """See `Reduction.input`."""
        layer = values.call.layer
        if layer not in self._inputs:
            self._inputs[layer] = RunningSums()
        self._inputs[layer].add(values.moments())

    def noted(self, call: Call, found: Noted) -> None:
        """See `Reduction.noted`."""
        layer = call.layer
        if layer not in self._noted and layer not in self._outputs:
            self._noted[layer] = found
            return
        for one in (found, self._noted.pop(layer, None)):
            if one is not None:
                self._inputs.setdefault(layer, RunningSums()).take(one.read)
                self._outputs.setdefault(layer, _Sums()).take(one)

    def result(self, readers: Mapping[str, tuple[str, ...]]) -> dict[str, UnitStatistics]:
        """By layer, in order of first execution.

        Raises:
            StructureNetError: A unit's activation is not finite, of which nothing can be said.
        """
        means = Means()
        found = {
            layer: _statistics(self._noted[layer], means)
            if layer in self._noted
            else self._outputs[layer].statistics(self._inputs.get(layer), means)
            for layer in readers
        }
        if means.take():
            raise StructureNetError(_not_finite(found))
        return found


class RunningSums:
    """Running sums of one layer's values, in float64 where the device has it.

    The first stay apart, as in `TotalSums`.
    """

    def __init__(self) -> None:
        self.count = 0
        self._first: Tensor | None = None
        self._total: Tensor | None = None

    def add(self, moments: Moments) -> None:
        """Takes one tensor in."""
        self.count += moments.count
        if self._first is None:
            self._first = precise(moments.sums).clone()
        elif self._total is None:
            self._total = precise(moments.sums).clone()
        else:
            self._total += moments.sums

    def take(self, summed: Summed) -> None:
        """Takes in sums of several tensors."""
        self.count += summed.values
        for part in (summed.one, summed.other):
            if part is None:
                continue
            sums = precise(part[:2])
            if self._first is None:
                self._first = sums.clone()
            else:
                self._total = sums.clone() if self._total is None else self._total + sums

    def summed(self) -> Summed:
        """The sums, of at least one tensor."""
        assert self._first is not None
        return Summed(self._first, self._total, self.count)

    def means(self) -> tuple[Tensor, Tensor]:
        """The mean and the second moment. Shape ``(C,)`` each."""
        assert self._first is not None
        total = self._first if self._total is None else self._first + self._total
        mean, second = final(total / self.count)
        return mean, second


class _Sums:
    """Running sums and extrema of what one layer's units end up with."""

    def __init__(self) -> None:
        self._activation: Activation | None = None
        self._count = self._sloped = 0
        self._slope: Tensor | None = None
        self._total = TotalSums()

    def take(self, found: Noted) -> None:
        """Takes in what was noted of several tensors."""
        self._activation = found.activation
        self._count += found.sums.values
        for part in (found.sums.one, found.sums.other):
            if part is not None:
                self._total.add(part)

    def add(self, values: Values) -> None:
        """Takes one tensor in."""
        sums = values.sums()
        if sums is None:
            sums = _by_torch(values)
            values.know(sums)
        count = values.moments().count
        self._activation = values.activation
        self._total.add(sums)
        self._count += count
        sloped = has_slope(values.activation)
        if sloped and (slope := total_slope(values)) is not None:
            self._slope = precise(slope) if self._slope is None else self._slope + slope
            self._sloped += count

    def statistics(self, inputs: RunningSums | None, means: Means) -> UnitStatistics:
        """All tensors' statistics, and those of the layer's inputs, once ``means`` are taken."""
        parts = Summed(*self._total.parts(), self._count)
        slope = None
        if has_slope(self._activation) and self._slope is not None and self._sloped == self._count:
            slope = final(self._slope / self._count)
        read = None if inputs is None else inputs.summed()
        return _named(self._activation, parts, read, means, slope)


def _statistics(noted: Noted, means: Means) -> UnitStatistics:
    """The statistics of a layer that was noted only."""
    return _named(noted.activation, noted.sums, noted.read, means, None)


def _named(
    activation: Activation | None,
    parts: Summed,
    inputs: Summed | None,
    means: Means,
    slope: Tensor | None,
) -> UnitStatistics:
    """Statistics under their names, once ``means`` are taken."""
    found = means.add(parts, inputs)
    mean, squares, above, sizes, least, most = found[:6]
    read = (None, None) if inputs is None else found[6:]
    return {
        "activation": activation.name if activation else None,
        "count": parts.values,
        "minimum": least,
        "maximum": most,
        "mean": mean,
        "mean_absolute": sizes,
        "second_moment": squares,
        "firing_rate": above,
        "slope": slope,
        "input_mean": read[0],
        "input_second_moment": read[1],
    }


def _not_finite(layers: Mapping[str, UnitStatistics]) -> str:
    """What is wrong with the first layer that has a unit whose mean is not finite."""
    counts = {name: int((~torch.isfinite(one["mean"])).sum()) for name, one in layers.items()}
    name, broken = next((name, count) for name, count in counts.items() if count)
    units = len(layers[name]["mean"])
    return (
        f"{broken} of {units} units of {name!r} had activations that are NaN or infinite, so that"
        " nothing can be said of them. Look for bad values in the data, or in the weights of a"
        " training that diverged."
    )


def _by_torch(values: Values) -> Tensor:
    """`Values.sums` of values that no kernel reads."""
    activation, over = values.activation, values.block()[1]
    negative = activation is None or activation.name not in _NEVER_NEGATIVE
    found = []
    for part in values.parts():
        # amin and amax are vectorised on the CPU where aminmax is not.
        extrema = part.amin(over, keepdim=True), part.amax(over, keepdim=True)
        sums = _sums(part, over, negative)
        found.append(precise(torch.cat((sums, *(one.reshape(1, -1) for one in extrema)))))
    return merged(found)


def _sums(part: Tensor, over: tuple[int, ...], negative: bool) -> Tensor:
    """What is summed over one piece of the values; see `_by_torch`. Shape ``(4, C)``."""
    # sign is vectorised on the CPU where > is not.
    above, total = part.sign(), part.sum(over)
    fired = above.clamp_min_(0).sum(over) if negative else above.sum(over)
    absolute = part.abs().sum(over) if negative else total
    return torch.stack((total, (part * part).sum(over), fired, absolute))


def zeros(*shape: int, device: torch.device) -> Tensor:
    """Sums to begin with: float64 where the device has it."""
    return torch.zeros(shape, dtype=_precise(device), device=device)


def precise(values: Tensor) -> Tensor:
    """Numbers that are added up: float64 where the device has it."""
    return values.to(_precise(values.device))


def _precise(device: torch.device) -> torch.dtype:
    return torch.float32 if device.type == "mps" else torch.float64


def final(values: Tensor) -> Tensor:
    """A result as it is handed out: float64 on the CPU."""
    return values.to("cpu", torch.float64)
