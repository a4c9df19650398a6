"""How the loss depends on each unit: the gradient that reaches it, and Taylor's estimate of what
the unit is worth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from structure_net.evolution.reductions.reduction import Reduction, With
from structure_net.evolution.reductions.units import RunningSums, final, zeros
from structure_net.evolution.reductions.values import BatchSeen, Gradients, Values


@dataclass(frozen=True, slots=True, eq=False)
class UnitEffects:
    """How the loss depends on the units of one layer; see `LayerObservation`."""

    gradient_mean: Tensor
    gradient_second_moment: Tensor
    taylor: Tensor | None
    fisher: Tensor | None


class UnitGradients(Reduction):
    """Moments of the gradient at each unit, and of what removing the unit does to first order."""

    differentiates: ClassVar[frozenset[With]] = frozenset({With.UNITS})

    def __init__(self) -> None:
        self._sums: dict[str, RunningSums] = {}
        self._worth: dict[str, _Worth] = {}
        self._held: dict[int, _Held] = {}
        self._rewritten: set[str] = set()
        self._first = True

    def units(self, values: Values) -> None:
        """See `Reduction.units`."""
        # A network may write into what a layer gave. Behind an activation the first batch shows
        # where; without one, a copy is all that the first batch shows.
        unknown = self._first or values.activation is None
        copied = unknown or values.layer in self._rewritten
        kept = values.tensor.clone() if copied else values.tensor
        self._held[values.call.number] = _Held(values, kept, values.tensor, values.tensor._version)

    def gradients(self, found: Gradients) -> None:
        """See `Reduction.gradients`."""
        effects: dict[str, list[Tensor | None]] = {}
        for number, gradient in found.units.items():
            held = self._held[number]
            call, samples = held.values.call, held.values.samples
            at = Values(call, gradient, samples)
            if call.layer not in self._sums:
                self._sums[call.layer] = RunningSums()
                self._worth[call.layer] = _Worth(at.units, gradient.device)
            self._sums[call.layer].add(at.moments())
            effects.setdefault(call.layer, []).append(self._effect(held, gradient))
        for layer, parts in effects.items():
            # The loss is a mean over the samples, each of which has a loss of its own.
            known = [samples.number * part for part in parts if part is not None]
            whole = torch.stack(known).sum(0) if len(known) == len(parts) else None
            self._worth[layer].add(whole)

    def _effect(self, held: _Held, gradient: Tensor) -> Tensor | None:
        """The gradient times the value, summed over positions. Shape ``(N, C)``."""
        if held.version != held.source._version:
            self._rewritten.add(held.values.layer)
            if held.kept is held.source:
                return None
        return Values(held.values.call, gradient * held.kept, held.values.samples).total_by_sample()

    def batch(self, seen: BatchSeen) -> None:
        """See `Reduction.batch`."""
        self._held.clear()
        self._first = False

    def result(self, readers: Mapping[str, tuple[str, ...]]) -> dict[str, UnitEffects]:
        """By layer; layers that no gradient reached are not there."""
        found = {}
        for layer, sums in self._sums.items():
            worth, means = self._worth[layer], sums.means()
            found[layer] = UnitEffects(
                gradient_mean=means[0],
                gradient_second_moment=means[1],
                taylor=worth.mean(worth.absolute),
                fisher=worth.mean(worth.square),
            )
        return found


@dataclass(frozen=True, slots=True, eq=False)
class _Held:
    """The values of one call until their gradient is there."""

    values: Values
    kept: Tensor
    source: Tensor
    version: int


class _Worth:
    """Running sums of what a layer's units are worth; nothing once a batch had no answer."""

    def __init__(self, units: int, device: torch.device) -> None:
        self.samples = 0
        self.known = True
        self.absolute, self.square = zeros(2, units, device=device).unbind()

    def add(self, effect: Tensor | None) -> None:
        if effect is None:
            self.known = False
            return
        self.samples += len(effect)
        self.absolute += effect.abs().sum(0)
        self.square += effect.square().sum(0)

    def mean(self, sums: Tensor) -> Tensor | None:
        return final(sums / self.samples) if self.known else None
