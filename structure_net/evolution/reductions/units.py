"""What each unit did: extrema, moments, firing rate and slope."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from structure_net.core.unit_sums import take_in, unit_sums
from structure_net.evolution.activations import Activation
from structure_net.evolution.reductions.reduction import Reduction
from structure_net.evolution.reductions.slopes import has_slope, total_slope
from structure_net.evolution.reductions.values import Moments, Values

_NEVER_NEGATIVE: Final = frozenset({"relu", "relu6", "sigmoid", "expit", "softplus", "hardsigmoid"})


@dataclass(frozen=True, slots=True, eq=False)
class UnitStatistics:
    """What the units of one layer did; see `LayerObservation`, which takes these fields over."""

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

    def __init__(self) -> None:
        self._outputs: dict[str, _Sums] = {}
        self._inputs: dict[str, RunningSums] = {}

    def units(self, values: Values) -> None:
        """See `Reduction.units`."""
        if values.layer not in self._outputs:
            self._outputs[values.layer] = _Sums(values.units, values.tensor.device)
        self._outputs[values.layer].add_values(values)

    def input(self, values: Values) -> None:
        """See `Reduction.input`."""
        if values.layer not in self._inputs:
            self._inputs[values.layer] = RunningSums(values.units, values.tensor.device)
        self._inputs[values.layer].add(values.moments())

    def result(self, readers: Mapping[str, tuple[str, ...]]) -> dict[str, UnitStatistics]:
        """By layer, in order of first execution."""
        return {
            layer: self._outputs[layer].statistics(self._inputs.get(layer)) for layer in readers
        }


class RunningSums:
    """Running sums of one layer's values, in float64 where the device has it."""

    def __init__(self, size: int, device: torch.device) -> None:
        self.count = 0
        self.sums = zeros(2, size, device=device)

    def add(self, moments: Moments) -> None:
        """Takes one tensor in."""
        self.count += moments.count
        self.sums += moments.sums

    def mean(self) -> Tensor:
        """Shape ``(C,)``."""
        return final(self.sums[0] / self.count)

    def second_moment(self) -> Tensor:
        """Shape ``(C,)``."""
        return final(self.sums[1] / self.count)


class _Sums(RunningSums):
    """Running sums and extrema of what one layer's units end up with."""

    def __init__(self, size: int, device: torch.device) -> None:
        super().__init__(size, device)
        self.activation: Activation | None = None
        self.slope = zeros(size, device=device)
        self.found = unit_sums(size).to(self.slope)
        self.sums, self.all = self.found[:2], self.found[:4]
        self.least, self.most = self.found[4:]
        self.sloped = 0

    def add_values(self, values: Values) -> None:
        self.activation = values.activation
        own = take_in(values.block()[0], self.found)
        values.know(self._by_torch(values) if own is None else own)
        self.count += values.moments().count
        if (slope := total_slope(values)) is not None:
            self.slope += slope
            self.sloped += values.moments().count

    def _by_torch(self, values: Values) -> Tensor:
        """Takes values in that no kernel reads. Their sum and sum of squares: shape ``(2, C)``."""
        activation, over = values.activation, values.block()[1]
        negative = activation is None or activation.name not in _NEVER_NEGATIVE
        found = []
        for part in values.parts():
            found.append(_sums(part, over, negative))
            # amin and amax are vectorised on the CPU where aminmax is not.
            torch.minimum(self.least, part.amin(over).to(self.least), out=self.least)
            torch.maximum(self.most, part.amax(over).to(self.most), out=self.most)
        sums = found[0] if len(found) == 1 else torch.stack(found).to(self.all.dtype).sum(0)
        self.all += sums
        return sums[:2]

    def statistics(self, inputs: RunningSums | None) -> UnitStatistics:
        sloped = has_slope(self.activation) and self.sloped == self.count
        return UnitStatistics(
            activation=self.activation.name if self.activation else None,
            count=self.count,
            minimum=final(self.least),
            maximum=final(self.most),
            mean=self.mean(),
            mean_absolute=final(self.all[3] / self.count),
            second_moment=self.second_moment(),
            firing_rate=final(self.all[2] / self.count),
            slope=final(self.slope / self.count) if sloped else None,
            input_mean=inputs.mean() if inputs else None,
            input_second_moment=inputs.second_moment() if inputs else None,
        )


def _sums(part: Tensor, over: tuple[int, ...], negative: bool) -> Tensor:
    """What is summed over one piece of the values; see `_Sums`. Shape ``(4, C)``."""
    # sign is vectorised on the CPU where > is not.
    above, total = part.sign(), part.sum(over)
    fired = above.clamp_min_(0).sum(over) if negative else above.sum(over)
    absolute = part.abs().sum(over) if negative else total
    return torch.stack((total, (part * part).sum(over), fired, absolute))


def zeros(*shape: int, device: torch.device) -> Tensor:
    """Sums to begin with: float64 where the device has it."""
    precise = torch.float32 if device.type == "mps" else torch.float64
    return torch.zeros(shape, dtype=precise, device=device)


def final(values: Tensor) -> Tensor:
    """A result as it is handed out: float64 on the CPU."""
    return values.to("cpu", torch.float64)
