"""Which units fire together, which could stand for each other, and how active each layer is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Final, TypedDict

import torch
from torch import Tensor, nn

from structure_net.core.sparsity import SparseLayer
from structure_net.core.weights import input_sums, output_sums, unit_weights, weight_blocks
from structure_net.evolution.components.analyzers.looking import hidden, observed, probed
from structure_net.evolution.context import NetworkContext
from structure_net.evolution.interfaces import Analyzer
from structure_net.evolution.metrics.activity import (
    activity_trace,
    growth_score,
    outgoing_importance,
    relative,
    weight_activity,
)
from structure_net.evolution.metrics.hebbian import (
    OjaStatistics,
    RedundantPair,
    correlation,
    correlation_of_covariance,
    oja_by_blocks,
    redundant_pairs,
    unconnected_units,
)
from structure_net.evolution.metrics.validity import Unavailable
from structure_net.evolution.observation import LayerObservation, Need
from structure_net.evolution.reductions.coactivation import MOST_UNITS
from structure_net.evolution.reductions.inputs import MOST_INPUTS, InputCovariances
from structure_net.evolution.reductions.passing import Pass
from structure_net.evolution.reductions.probing import Probe

MISSING_COVARIANCE = Unavailable("the layer has too many units for a matrix of their covariances")
TOO_MANY_PAIRS = Unavailable(
    f"there are more than {MOST_UNITS} * {MOST_UNITS} pairs of units; those worth connecting are in"
    " hebbian_unconnected"
)

_AT_ONCE: Final = 2**21
"""So many entries of a sparse layer's matrix exist at a time."""


class HebbianAnalysis(TypedDict):
    """What `HebbianAnalyzer` reports, by layer in order of execution.

    ``hebbian_correlation``: of a layer's units with each other over all values of the batches seen,
    shape ``(C, C)``; NaN for a unit that does not vary; of layers of at most 4096 units.
    ``hebbian_reader_correlation``: by layer and reader, of the reader's units with the layer's,
    over the samples of the probe, shape ``(C of the reader, C)``, float64; of up to ``4096 * 4096``
    pairs, and only when it is read. Nothing else here holds a number for each pair of units.

    ``hebbian_redundant``: of the hidden layers, pairs of units of which one could stand for both,
    for `MergeNeurons`.
    ``hebbian_unconnected``: by reader, ``(output unit, input unit, correlation)`` of units that
    fire together without a connection, for `AddConnections`; sparse readers only. No unit of a
    layer that reads itself is paired with itself.

    ``hebbian_oja``: how the layer's units lie to the principal directions of what they read.

    By the DEN library's formulas, from the weights: ``hebbian_activity`` and
    ``hebbian_importance`` of units, relative to the layer's largest; ``hebbian_layer_activity``,
    the mean over a layer's units; ``hebbian_activity_trace``, its mean over the last iterations in
    which this network was looked at, which no checkpoint holds: a resumed run starts a new one.
    ``hebbian_ranking``: where to add units first: the hidden
    layers by ``2 * activity + 1 / (units + 1)``, so active and small ones.
    """

    hebbian_correlation: Mapping[str, Tensor | Unavailable]
    hebbian_reader_correlation: Mapping[str, Mapping[str, Tensor | Unavailable]]
    hebbian_redundant: Mapping[str, tuple[RedundantPair, ...] | Unavailable]
    hebbian_unconnected: Mapping[str, tuple[tuple[int, int, float], ...]]
    hebbian_oja: Mapping[str, OjaStatistics | Unavailable]
    hebbian_activity: Mapping[str, Tensor | Unavailable]
    hebbian_importance: Mapping[str, Tensor | Unavailable]
    hebbian_layer_activity: Mapping[str, float]
    hebbian_activity_trace: Mapping[str, float]
    hebbian_ranking: Mapping[str, float]


class HebbianAnalyzer(Analyzer):
    """Looks for units that fire together, over the window of batches that the pass sees.

    Args:
        max_batches: How many batches are looked at.
        probe_size: Samples for what is compared between layers, and for the inputs' directions.
        redundancy: The correlation from which on two units of a layer are redundant.
        association: The absolute correlation from which on two units are worth connecting; of
            pairs that are independent, fewer than one in 100,000 reach .2 on 512 samples.
        pairs: At most so many pairs worth connecting for each reader.
        window: Iterations of the activity trace.

    Raises:
        ValueError: An argument is out of range.
    """

    needs: ClassVar[frozenset[Need]] = frozenset({Need.ACTIVATIONS, Need.COACTIVATION, Need.PROBE})
    provides: ClassVar[frozenset[str]] = frozenset(HebbianAnalysis.__annotations__)

    def __init__(
        self,
        max_batches: int = 10,
        probe_size: int = 512,
        *,
        redundancy: float = 0.99,
        association: float = 0.2,
        pairs: int = 20,
        window: int = 5,
    ) -> None:
        counts = {"max_batches": max_batches, "probe_size": probe_size, "window": window}
        for name, value in counts.items():
            if value < 1:
                raise ValueError(f"{name} must be 1 or more; got {value}.")
        for name, share in (("redundancy", redundancy), ("association", association)):
            if not 0 < share <= 1:
                raise ValueError(f"{name} must be in (0, 1]; got {share}.")
        if pairs < 0:
            raise ValueError(f"pairs must be 0 or more; got {pairs}.")
        self.max_batches = max_batches
        self.probe_size = probe_size
        self.redundancy = redundancy
        self.association = association
        self.pairs = pairs
        self.window = window

    def analyze(self, context: NetworkContext) -> dict[str, Any]:
        """See `HebbianAnalysis`; what compares units is computed when first read.

        Raises:
            StructureNetError: The context carries no observation with a probe.
        """
        layers, probe = observed(context, self).layers, probed(context, self)
        modules = dict(context.network.named_modules())
        activity = {name: _activity(modules[name]) for name in layers}
        active = {
            name: float(units.mean())
            for name, units in activity.items()
            if not isinstance(units, Unavailable)
        }
        return {
            "hebbian_correlation": context.lazy(
                lambda: {name: _within(seen) for name, seen in layers.items()}
            ),
            "hebbian_reader_correlation": context.lazy(lambda: _between(layers, probe)),
            "hebbian_redundant": context.lazy(
                lambda: {name: self._redundant(layers[name]) for name in hidden(layers)}
            ),
            "hebbian_unconnected": context.lazy(lambda: self._unconnected(modules, layers, probe)),
            "hebbian_oja": context.lazy(lambda: self._oja(context, probe, modules)),
            "hebbian_activity": activity,
            "hebbian_importance": {
                name: _importance(name, seen, modules) for name, seen in layers.items()
            },
            "hebbian_layer_activity": active,
            "hebbian_activity_trace": self._trace(context, active),
            "hebbian_ranking": _ranking(layers, active),
        }

    def _redundant(self, seen: LayerObservation) -> tuple[RedundantPair, ...] | Unavailable:
        if seen.covariance is None:
            return MISSING_COVARIANCE
        return redundant_pairs(seen.covariance, seen.mean, threshold=self.redundancy)

    def _unconnected(
        self, modules: Mapping[str, nn.Module], layers: Mapping[str, LayerObservation], probe: Probe
    ) -> dict[str, tuple[tuple[int, int, float], ...]]:
        found, values = {}, probe.values
        for name, reader in _pairs(layers, values):
            module = modules[reader]
            if not isinstance(module, SparseLayer) or module.density == 1:
                continue
            pattern = module.pattern
            if pattern.shape == (values[reader].size(1), values[name].size(1)):
                found[reader] = unconnected_units(
                    values[reader],
                    values[name],
                    pattern,
                    count=self.pairs,
                    least=self.association,
                    same=reader == name,
                )
        return found

    def _oja(
        self, context: NetworkContext, probe: Probe, modules: Mapping[str, nn.Module]
    ) -> dict[str, OjaStatistics | Unavailable]:
        if probe.inputs is None:
            reason = Unavailable("the inputs of different batches do not fit into one tensor")
            return dict.fromkeys(probe.values, reason)

        def compute() -> dict[str, OjaStatistics | Unavailable]:
            reduction = InputCovariances()
            look = Pass(context.network, (reduction,))
            look.run([(probe.inputs, probe.targets)], None)
            seen = reduction.result(look.readers)
            return {name: _looking(modules[name], seen.get(name)) for name in look.readers}

        return context.recall(self, None, compute, name="oja", reads="activations")

    def _trace(self, context: NetworkContext, active: Mapping[str, float]) -> dict[str, float]:
        """The means over this iteration and those of the window before it."""
        if context.memory is None:
            return dict(active)
        notes = context.memory.notes(type(self).__name__)
        notes[context.iteration] = dict(active)
        oldest = context.iteration - self.window
        for iteration in [one for one in notes if one <= oldest]:
            del notes[iteration]
        past = [notes[one] for one in sorted(notes) if one <= context.iteration]
        return {
            name: activity_trace([found[name] for found in past if name in found], self.window)
            for name in active
        }


def _within(seen: LayerObservation) -> Tensor | Unavailable:
    if seen.covariance is None:
        return MISSING_COVARIANCE
    return correlation_of_covariance(seen.covariance)


def _pairs(
    layers: Mapping[str, LayerObservation], values: Mapping[str, Tensor]
) -> Iterator[tuple[str, str]]:
    """Each layer with each of its readers, where the probe has values of both."""
    for name, seen in layers.items():
        if name in values:
            yield from ((name, reader) for reader in seen.readers if reader in values)


def _between(
    layers: Mapping[str, LayerObservation], probe: Probe
) -> dict[str, dict[str, Tensor | Unavailable]]:
    values = probe.values
    found: dict[str, dict[str, Tensor | Unavailable]] = {n: {} for n in layers if n in values}
    for name, reader in _pairs(layers, values):
        entries = values[reader].size(1) * values[name].size(1)
        found[name][reader] = (
            correlation(values[reader], values[name])
            if entries <= MOST_UNITS**2
            else TOO_MANY_PAIRS
        )
    return found


def _looking(module: nn.Module, covariance: Tensor | None) -> OjaStatistics | Unavailable:
    blocks = None if covariance is None else weight_blocks(module, _AT_ONCE)
    if blocks is None or covariance is None:
        return Unavailable(
            "Oja's rule is followed for linear layers and ungrouped convolutions of up to two"
            f" dimensions that read up to {MOST_INPUTS} values; this is {type(module).__name__}"
        )
    return oja_by_blocks((block.flatten(1).cpu() for block in blocks), covariance)


def _activity(module: nn.Module) -> Tensor | Unavailable:
    bias = _bias(module)
    if isinstance(module, SparseLayer):
        total = output_sums(module, module.live_weights.detach().double().abs())
        return relative((total if bias is None else total + bias.double().abs()).cpu())
    weights = unit_weights(module)
    return _no_matrix(module) if weights is None else relative(weight_activity(weights, bias).cpu())


def _importance(
    layer: str, seen: LayerObservation, modules: Mapping[str, nn.Module]
) -> Tensor | Unavailable:
    """By all readers together."""
    if not seen.readers:
        return Unavailable("no layer reads these units one by one")
    norms = [_reading(modules[reader]) for reader in seen.readers]
    known = [norm for norm in norms if norm is not None and len(norm) == seen.units]
    if len(known) < len(norms):
        return Unavailable("a layer that reads these units has no one matrix of weights for them")
    total, bias = torch.stack(known).norm(dim=0), _bias(modules[layer])
    return relative((total if bias is None else total + bias.double().abs()).cpu())


def _reading(module: nn.Module) -> Tensor | None:
    """The norm of the weights that read each input unit. Shape ``(inputs,)``, float64."""
    if isinstance(module, SparseLayer):
        return input_sums(module, module.live_weights.detach().double().square()).sqrt()
    weights = unit_weights(module)
    return None if weights is None else outgoing_importance(weights)


def _no_matrix(module: nn.Module) -> Unavailable:
    return Unavailable(f"{type(module).__name__} has no one matrix of weights")


def _bias(module: nn.Module) -> Tensor | None:
    bias = getattr(module, "bias", None)
    return bias.detach() if isinstance(bias, Tensor) else None


def _ranking(
    layers: Mapping[str, LayerObservation], active: Mapping[str, float]
) -> dict[str, float]:
    scores = {
        name: growth_score(active[name], layers[name].units)
        for name in hidden(layers)
        if name in active
    }
    return dict(sorted(scores.items(), key=lambda item: -item[1]))
