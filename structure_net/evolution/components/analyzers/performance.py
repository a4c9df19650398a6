"""How each layer performs by the four measures of dynamic neural morphogenesis."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, TypedDict

from torch import Tensor

from structure_net.evolution.components.analyzers.flowing import around, floored
from structure_net.evolution.components.analyzers.looking import hidden, labelled, observed, probed
from structure_net.evolution.context import NetworkContext
from structure_net.evolution.interfaces import Analyzer
from structure_net.evolution.metrics.bottlenecks import pressures
from structure_net.evolution.metrics.information import LabelInformation
from structure_net.evolution.metrics.performance import (
    ACTIVATION_DIVERSITY,
    GRADIENT_VARIANCE,
    INFORMATION_FLOW,
    PERFORMANCE_MEASURES,
    PERFORMANCE_SENSITIVITY,
    bottleneck_scores,
    check_measures,
    counted_measures,
)
from structure_net.evolution.metrics.ranks import effective_rank, spectrum
from structure_net.evolution.metrics.validity import Unavailable
from structure_net.evolution.observation import LayerObservation, Need
from structure_net.evolution.reductions.probing import Probe

Measure = float | Unavailable


class PerformanceAnalysis(TypedDict):
    """What `LayerPerformanceAnalyzer` reports, by layer in order of execution.

    ``performance_gradient_variance``: the variance of a unit's gradient over all values seen,
    averaged over the units. ``performance_activation_diversity``: of hidden layers, the effective
    rank over that at which they would pass on evenly from what they get to what is asked of them.
    ``performance_information_flow``: bits on the label that a linear
    probe reads. ``performance_sensitivity``: to first order, the standard deviation of a sample's
    loss when each unit is scaled by an independent 1 + d, per standard deviation of d.

    ``performance_bottleneck``: the hybrid score of the hidden layers, between 0 and 1: the mean of
    the measures, each scaled over these layers (`bottleneck_scores`); ``performance_measures``:
    those that it is the mean of. ``performance_ranking``: where to add units first, by the same
    score; empty where no measure is there for all of them.
    """

    performance_gradient_variance: Mapping[str, Measure]
    performance_activation_diversity: Mapping[str, Measure]
    performance_information_flow: Mapping[str, Measure]
    performance_sensitivity: Mapping[str, Measure]
    performance_bottleneck: Mapping[str, float] | Unavailable
    performance_measures: tuple[str, ...]
    performance_ranking: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class _Look:
    context: NetworkContext
    layers: Mapping[str, LayerObservation]
    probe: Probe


class LayerPerformanceAnalyzer(Analyzer):
    """Scores layers by gradient variance, activation diversity, information flow and sensitivity.

    For caches of activations and gradients from a loop of one's own, `measure_layers` and
    `bottleneck_scores` do the same without a context.

    Args:
        max_batches: How many batches are looked at.
        probe_size: Samples for diversity and information.
        measures: What the hybrid score is made of, names from `PERFORMANCE_MEASURES`.

    Raises:
        ValueError: An argument is out of range, or a measure is unknown.
    """

    needs: ClassVar[frozenset[Need]] = frozenset({Need.ACTIVATIONS, Need.GRADIENTS, Need.PROBE})
    provides: ClassVar[frozenset[str]] = frozenset(PerformanceAnalysis.__annotations__)

    def __init__(
        self,
        max_batches: int = 10,
        probe_size: int = 512,
        *,
        measures: Sequence[str] = PERFORMANCE_MEASURES,
    ) -> None:
        if max_batches < 1:
            raise ValueError(f"max_batches must be 1 or more; got {max_batches}.")
        if probe_size < 2:
            raise ValueError(f"probe_size must be 2 or more; got {probe_size}.")
        check_measures(measures)
        self.max_batches = max_batches
        self.probe_size = probe_size
        self.measures = tuple(measures)

    def analyze(self, context: NetworkContext) -> dict[str, Any]:
        """See `PerformanceAnalysis`; what takes a probe is computed when first read.

        Raises:
            StructureNetError: The context carries no observation with a probe.
        """
        layers, probe = observed(context, self).layers, probed(context, self)
        look, told = _Look(context, layers, probe), partial(_bits, probe.targets)
        found = {
            GRADIENT_VARIANCE: context.lazy(lambda: _each(layers, _variance)),
            ACTIVATION_DIVERSITY: context.lazy(lambda: self._diversity(look)),
            INFORMATION_FLOW: context.lazy(lambda: self._of_probe(look, INFORMATION_FLOW, told)),
            PERFORMANCE_SENSITIVITY: context.lazy(lambda: _each(layers, _sensitivity)),
        }
        inner = hidden(layers)

        def measured() -> dict[str, dict[str, Measure]]:
            chosen = {name: found[name].get() for name in self.measures}
            return {name: {layer: by[layer] for layer in inner} for name, by in chosen.items()}

        scores = context.lazy(lambda: bottleneck_scores(measured()))
        return {
            "performance_gradient_variance": found[GRADIENT_VARIANCE],
            "performance_activation_diversity": found[ACTIVATION_DIVERSITY],
            "performance_information_flow": found[INFORMATION_FLOW],
            "performance_sensitivity": found[PERFORMANCE_SENSITIVITY],
            "performance_bottleneck": scores,
            "performance_measures": context.lazy(lambda: counted_measures(measured())),
            "performance_ranking": context.lazy(lambda: scores.get() or {}),
        }

    def _diversity(self, look: _Look) -> dict[str, Measure]:
        ranks = self._of_probe(look, ACTIVATION_DIVERSITY, _rank)
        known = {name: rank for name, rank in ranks.items() if name in look.probe.values}
        found = pressures(floored(known), around(look.layers, known, look.probe))
        absent = Unavailable("the layer gives the outputs, or the probe has no values of it")
        return {name: 1 / found[name] if name in found else absent for name in look.layers}

    def _of_probe(
        self, look: _Look, measure: str, compute: Callable[[Tensor], Measure]
    ) -> dict[str, Measure]:
        def of(layer: str) -> Measure:
            if layer not in look.probe.values:
                reason = look.probe.absent.get(layer, "it was not called")
                return Unavailable(f"the probe has no values of this layer: {reason}")
            once = partial(compute, look.probe.values[layer])
            return look.context.recall(self, layer, once, name=measure, reads="activations")

        return {layer: of(layer) for layer in look.layers}


def _rank(values: Tensor) -> Measure:
    return effective_rank(spectrum(values))


def _bits(targets: Any, values: Tensor) -> Measure:
    found = labelled(values, targets)
    return found.bits if isinstance(found, LabelInformation) else found


def _each(
    layers: Mapping[str, LayerObservation], compute: Callable[[LayerObservation], Measure]
) -> dict[str, Measure]:
    return {name: compute(seen) for name, seen in layers.items()}


def _variance(seen: LayerObservation) -> Measure:
    if seen.gradient_mean is None or seen.gradient_second_moment is None:
        return Unavailable("no gradient of the loss reaches this layer")
    variance = seen.gradient_second_moment - seen.gradient_mean.square()
    return float(variance.clamp_min(0).mean())


def _sensitivity(seen: LayerObservation) -> Measure:
    if seen.fisher is None:
        return Unavailable("no gradient of single samples is known for this layer")
    return float(seen.fisher.sum().sqrt())
