"""Dead and saturated units: those that never act, and those that always act."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, TypedDict

from torch import Tensor

from structure_net.core.extrema import (
    DEAD_THRESHOLD,
    OVERACTIVE_MULTIPLIER,
    dead_units,
    largest_activation,
    overactive_units,
    saturated_units,
)
from structure_net.errors import StructureNetError
from structure_net.evolution.context import NetworkContext
from structure_net.evolution.interfaces import Analyzer
from structure_net.evolution.observation import LayerObservation, Need


class ExtremaAnalysis(TypedDict):
    """What `StandardExtremaAnalyzer` reports, by layer; layers without an activation are left out.

    ``extrema_dead`` and ``extrema_saturated``: unit indices. ``extrema_dead_ratio``,
    ``extrema_saturated_ratio`` and ``extrema_ratio`` (both together): fractions of the layer's
    units. ``extrema_total_ratio``: the fraction over all these layers. ``extrema_readers``: the
    layers that read a layer's units one by one. ``extrema_input_activity``: the root mean square of
    each of a layer's inputs, shape ``(inputs,)``.
    """

    extrema_dead: Mapping[str, tuple[int, ...]]
    extrema_saturated: Mapping[str, tuple[int, ...]]
    extrema_dead_ratio: Mapping[str, float]
    extrema_saturated_ratio: Mapping[str, float]
    extrema_ratio: Mapping[str, float]
    extrema_total_ratio: float
    extrema_readers: Mapping[str, tuple[str, ...]]
    extrema_input_activity: Mapping[str, Tensor]


class StandardExtremaAnalyzer(Analyzer):
    """Finds dead and saturated units from their activations over a few batches.

    A unit is **dead** if its largest activation is below ``dead_threshold``. Behind tanh, softsign
    and hardtanh the largest absolute activation counts instead: they are centred at 0, so that a
    unit that is always -1 passes on as much as one that is always 1, and is saturated, not dead
    (`largest_activation`).

    A unit behind a bounded activation (tanh, sigmoid, softsign and their hard forms, ReLU6) is
    **saturated** if the mean slope is below a tenth of the largest possible. Behind any other
    activation it is saturated if its mean activation is more than ``saturated_multiplier`` standard
    deviations above the mean of the layer's units (`overactive_units`; a layer of up to 7 units has
    none at the default). A dead unit is never saturated.

    Args:
        max_batches: How many batches are looked at.
        dead_threshold: In units of the activation.
        saturated_multiplier: In standard deviations.

    Raises:
        ValueError: An argument is out of range.
    """

    needs: ClassVar[frozenset[Need]] = frozenset({Need.ACTIVATIONS})

    def __init__(
        self,
        max_batches: int = 10,
        dead_threshold: float = DEAD_THRESHOLD,
        *,
        saturated_multiplier: float = OVERACTIVE_MULTIPLIER,
    ) -> None:
        if max_batches < 1:
            raise ValueError(f"max_batches must be 1 or more; got {max_batches}.")
        if not dead_threshold >= 0:
            raise ValueError(f"dead_threshold must be 0 or more; got {dead_threshold}.")
        if not saturated_multiplier > 0:
            raise ValueError(f"saturated_multiplier must be positive; got {saturated_multiplier}.")
        self.max_batches = max_batches
        self.dead_threshold = dead_threshold
        self.saturated_multiplier = saturated_multiplier

    def analyze(self, context: NetworkContext) -> ExtremaAnalysis:
        """See `ExtremaAnalysis`.

        Raises:
            StructureNetError: The context carries no observation.
        """
        if context.observation is None:
            raise StructureNetError(
                f"{type(self).__name__} reads context.observation, which is None. Let a"
                " ComposableEvolutionSystem call it, or put there what `observe` returns."
            )
        layers = {
            name: seen for name, seen in context.observation.layers.items() if seen.activation
        }
        dead = {name: self.dead(seen) for name, seen in layers.items()}
        saturated = {name: self.saturated(seen) & ~dead[name] for name, seen in layers.items()}
        extreme = {name: dead[name] | saturated[name] for name in layers}
        units = sum(seen.units for seen in layers.values())
        return {
            "extrema_dead": {name: _indices(mask) for name, mask in dead.items()},
            "extrema_saturated": {name: _indices(mask) for name, mask in saturated.items()},
            "extrema_dead_ratio": {name: _ratio(mask) for name, mask in dead.items()},
            "extrema_saturated_ratio": {name: _ratio(mask) for name, mask in saturated.items()},
            "extrema_ratio": {name: _ratio(mask) for name, mask in extreme.items()},
            "extrema_total_ratio": sum(int(m.sum()) for m in extreme.values()) / max(units, 1),
            "extrema_readers": {name: seen.readers for name, seen in layers.items()},
            "extrema_input_activity": {
                name: seen.input_second_moment.sqrt()
                for name, seen in layers.items()
                if seen.input_second_moment is not None
            },
        }

    def dead(self, seen: LayerObservation) -> Tensor:
        """Which units are dead. Shape ``(C,)``, bool."""
        largest = largest_activation(seen.minimum, seen.maximum, seen.activation)
        return dead_units(largest, self.dead_threshold)

    def saturated(self, seen: LayerObservation) -> Tensor:
        """Which units are saturated. Shape ``(C,)``, bool."""
        if seen.slope is not None:
            return saturated_units(seen.slope)
        return overactive_units(seen.mean, self.saturated_multiplier)


def _indices(mask: Tensor) -> tuple[int, ...]:
    return tuple(mask.nonzero().flatten().tolist())


def _ratio(mask: Tensor) -> float:
    return float(mask.double().mean())
