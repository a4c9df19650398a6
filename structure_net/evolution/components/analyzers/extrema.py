"""Units that never act, always act, hardly act, or act like another one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Final, TypedDict

from torch import Tensor

from structure_net.core.extrema import (
    DEAD_THRESHOLD,
    OVERACTIVE_MULTIPLIER,
    dead_units,
    largest_activation,
    overactive_units,
    resting_units,
    saturated_units,
)
from structure_net.errors import StructureNetError
from structure_net.evolution.activations import SMOOTH
from structure_net.evolution.context import NetworkContext
from structure_net.evolution.interfaces import Analyzer
from structure_net.evolution.metrics.units import (
    CLONE_CORRELATION,
    DORMANT_SCORE,
    RARE_RATE,
    cloned_units,
    dead_confidence,
    detectable_rate,
    dormancy_scores,
    rarely_active_units,
)
from structure_net.evolution.metrics.validity import Unavailable
from structure_net.evolution.observation import LayerObservation, Need, Observation

Units = tuple[int, ...]

_RECTIFIERS: Final = frozenset(
    ("relu", "relu6", "leaky_relu", "prelu", "rrelu", "clamp_min", "threshold")
)


class ExtremaAnalysis(TypedDict):
    """What `StandardExtremaAnalyzer` reports, by layer; layers without an activation are left out.

    ``extrema_dead`` and ``extrema_saturated``: unit indices. ``extrema_dead_ratio``,
    ``extrema_saturated_ratio`` and ``extrema_ratio`` (both together): fractions of the layer's
    units. ``extrema_total_ratio``: the fraction over all these layers. ``extrema_readers``: the
    layers that read a layer's units one by one. ``extrema_input_activity``: the root mean square of
    each of a layer's inputs, shape ``(inputs,)``.

    ``extrema_dormancy``: each unit's mean activity relative to its layer's (Sokar), shape ``(C,)``.
    ``extrema_dormant``: the indices of units at which that is small. ``extrema_rarely_active``: the
    indices of units that fire at few samples (Dohare); not available behind an activation without a
    point at which it fires. ``extrema_clones``: pairs (original, clone) of units that correlate,
    computed when it is read; not available on few samples.

    ``extrema_samples``: samples seen. ``extrema_confidence``: at least how sure it is that no unit
    which fires at ``least_rate`` of the samples or more was taken for dead (in [0, 1]).
    ``extrema_detectable_rate``: the firing rate above which that is 95 % sure; to call units dead
    that fire less than that takes more samples (`samples_to_call_dead`).

    ``extrema_ranking``: the fraction of dead and saturated units, the layer with the largest first.
    To act there is to revive, reset or relieve these units, or to widen the layer beside them.
    """

    extrema_dead: Mapping[str, Units]
    extrema_saturated: Mapping[str, Units]
    extrema_dead_ratio: Mapping[str, float]
    extrema_saturated_ratio: Mapping[str, float]
    extrema_ratio: Mapping[str, float]
    extrema_total_ratio: float
    extrema_readers: Mapping[str, tuple[str, ...]]
    extrema_input_activity: Mapping[str, Tensor]
    extrema_dormancy: Mapping[str, Tensor]
    extrema_dormant: Mapping[str, Units]
    extrema_rarely_active: Mapping[str, Units | Unavailable]
    extrema_clones: Mapping[str, tuple[tuple[int, int], ...] | Unavailable]
    extrema_samples: int
    extrema_confidence: Mapping[str, float]
    extrema_detectable_rate: Mapping[str, float]
    extrema_ranking: Mapping[str, float]


class StandardExtremaAnalyzer(Analyzer):
    """Finds dead, saturated, dormant and cloned units from their activations over a few batches.

    A unit is **dead** if its largest activation is below ``dead_threshold``. Behind tanh, softsign
    and hardtanh the largest absolute activation counts instead: they are centred at 0, so that a
    unit that is always -1 passes on as much as one that is always 1, and is saturated, not dead
    (`largest_activation`). Behind a smooth rectifier (GELU, SiLU, ELU, softplus, ...), which is
    never quite 0, a unit is dead if the mean absolute slope at what it takes is below .01
    (`resting_units`).

    A unit behind a bounded activation (tanh, sigmoid, softsign and their hard forms, ReLU6) is
    **saturated** if the mean slope is below a tenth of the largest possible. Behind any other
    activation it is saturated if its mean activation is more than ``saturated_multiplier`` standard
    deviations above the mean of the layer's units (`overactive_units`; a layer of up to 7 units has
    none at the default). A dead unit is never saturated.

    A unit is **dormant** if its mean activity is at most ``dormant_score`` of its layer's
    (`dormant_units`), **rarely active** if it fires at less than ``least_rate`` of the samples
    (`rarely_active_units`), and a **clone** if it correlates with another one beyond
    ``clone_correlation`` (`cloned_units`, on a sample of 256).

    Args:
        max_batches: How many batches are looked at.
        dead_threshold: In units of the activation.
        saturated_multiplier: In standard deviations.
        dormant_score: A fraction of the layer's mean activity.
        least_rate: A fraction of the samples.
        clone_correlation: Between 0 and 1.

    Raises:
        ValueError: An argument is out of range.
    """

    needs: ClassVar[frozenset[Need]] = frozenset({Need.ACTIVATIONS, Need.PROBE_VALUES})
    provides: ClassVar[frozenset[str]] = frozenset(ExtremaAnalysis.__annotations__)
    probe_size = 256

    def __init__(
        self,
        max_batches: int = 10,
        dead_threshold: float = DEAD_THRESHOLD,
        *,
        saturated_multiplier: float = OVERACTIVE_MULTIPLIER,
        dormant_score: float = DORMANT_SCORE,
        least_rate: float = RARE_RATE,
        clone_correlation: float = CLONE_CORRELATION,
    ) -> None:
        if max_batches < 1:
            raise ValueError(f"max_batches must be 1 or more; got {max_batches}.")
        if not saturated_multiplier > 0:
            raise ValueError(f"saturated_multiplier must be positive; got {saturated_multiplier}.")
        for name, value in (("dead_threshold", dead_threshold), ("dormant_score", dormant_score)):
            if not value >= 0:
                raise ValueError(f"{name} must be 0 or more; got {value}.")
        for name, value in (("least_rate", least_rate), ("clone_correlation", clone_correlation)):
            if not 0 < value < 1:
                raise ValueError(f"{name} must be in (0, 1); got {value}.")
        self.max_batches = max_batches
        self.dead_threshold = dead_threshold
        self.saturated_multiplier = saturated_multiplier
        self.dormant_score = dormant_score
        self.least_rate = least_rate
        self.clone_correlation = clone_correlation

    def analyze(self, context: NetworkContext) -> ExtremaAnalysis:
        """See `ExtremaAnalysis`.

        Raises:
            StructureNetError: The context carries no observation.
        """
        seen = context.observation
        if seen is None:
            raise StructureNetError(
                f"{type(self).__name__} reads context.observation, which is None. Let a"
                " ComposableEvolutionSystem call it, or put there what `observe` returns."
            )
        layers = {name: layer for name, layer in seen.layers.items() if layer.activation}
        dead = {name: _indices(self.dead(layer)) for name, layer in layers.items()}
        saturated = {
            name: _without(_indices(self.saturated(layer)), dead[name])
            for name, layer in layers.items()
        }
        extreme = {name: len(dead[name]) + len(saturated[name]) for name in layers}
        scores = {name: dormancy_scores(layer.mean_absolute) for name, layer in layers.items()}
        ratio = _ratios(extreme, layers)
        return {
            "extrema_dead": dead,
            "extrema_saturated": saturated,
            "extrema_dead_ratio": _ratios({n: len(found) for n, found in dead.items()}, layers),
            "extrema_saturated_ratio": _ratios(
                {name: len(found) for name, found in saturated.items()}, layers
            ),
            "extrema_ratio": ratio,
            "extrema_total_ratio": sum(extreme.values())
            / max(sum(layer.units for layer in layers.values()), 1),
            "extrema_readers": {name: layer.readers for name, layer in layers.items()},
            "extrema_input_activity": {
                name: layer.input_second_moment.sqrt()
                for name, layer in layers.items()
                if layer.input_second_moment is not None
            },
            "extrema_dormancy": scores,
            "extrema_dormant": {
                name: _indices(found <= self.dormant_score) for name, found in scores.items()
            },
            "extrema_rarely_active": {n: self.rarely_active(s) for n, s in layers.items()},
            # A reader of the analysis gets the mapping: `Analysis` computes lazy values when read.
            "extrema_clones": context.lazy(lambda: self.clones(seen)),  # type: ignore[typeddict-item]  # read as its value
            "extrema_samples": seen.samples,
            "extrema_confidence": {
                name: dead_confidence(self.least_rate, seen.samples, layer.units)
                for name, layer in layers.items()
            },
            "extrema_detectable_rate": {
                name: detectable_rate(seen.samples, layer.units) for name, layer in layers.items()
            },
            "extrema_ranking": dict(sorted(ratio.items(), key=lambda item: -item[1])),
        }

    def dead(self, seen: LayerObservation) -> Tensor:
        """Which units are dead. Shape ``(C,)``, bool."""
        if seen.slope is not None and seen.activation in SMOOTH:
            return resting_units(seen.slope)
        largest = largest_activation(seen.minimum, seen.maximum, seen.activation)
        return dead_units(largest, self.dead_threshold)

    def saturated(self, seen: LayerObservation) -> Tensor:
        """Which units are saturated. Shape ``(C,)``, bool."""
        if seen.slope is not None and seen.activation not in SMOOTH:
            return saturated_units(seen.slope)
        return overactive_units(seen.mean, self.saturated_multiplier)

    def rarely_active(self, seen: LayerObservation) -> Units | Unavailable:
        """The units that fire rarely."""
        if seen.activation not in _RECTIFIERS:
            return Unavailable(f"{seen.activation} has no point below which a unit is silent")
        return _indices(rarely_active_units(seen.firing_rate, self.least_rate))

    def clones(self, seen: Observation) -> dict[str, tuple[tuple[int, int], ...] | Unavailable]:
        """The clones of each layer with an activation."""
        if seen.probe is None:
            missing = Unavailable("the observation has no probe (Need.PROBE_VALUES)")
            return {name: missing for name, layer in seen.layers.items() if layer.activation}
        probe = seen.probe.first(self.probe_size)
        return {
            name: cloned_units(probe.values[name], self.clone_correlation)
            if name in probe.values
            else Unavailable(probe.absent.get(name, "the probe has no such layer"))
            for name, layer in seen.layers.items()
            if layer.activation
        }


def _indices(mask: Tensor) -> Units:
    # numpy takes a third of torch's time.
    return tuple(mask.numpy(force=True).nonzero()[0].tolist())


def _without(found: Units, others: Units) -> Units:
    return tuple(sorted({*found} - {*others})) if found and others else found


def _ratios(counts: Mapping[str, int], layers: Mapping[str, LayerObservation]) -> dict[str, float]:
    """The fractions of layers' units."""
    return {name: count / layers[name].units for name, count in counts.items()}
