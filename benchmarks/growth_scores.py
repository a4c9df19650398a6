"""The scores that `benchmarks.growth_location` tries: one number a place, the largest first."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

from torch import Tensor, nn

from structure_net.core.expansion import (
    PlaceMoments,
    expressivity_bottleneck,
    gradmax_expansion,
    natural_expansion,
    natural_score,
    tiny_expansion,
)
from structure_net.data import Dataset
from structure_net.evolution import (
    Analysis,
    Analyzer,
    ComposableEvolutionSystem,
    LayerObservation,
    Need,
    NetworkContext,
    Observation,
    observe,
)
from structure_net.evolution.components import analyzers
from structure_net.evolution.metrics import (
    NeuralPersistence,
    ShuffledPersistence,
    dormancy_scores,
    effective_rank,
    largest_magnitude,
    neural_persistence,
    shuffled_persistence,
    spectrum,
    stable_rank,
)

BATCH, PROBE, UNITS = 128, 1024, 4
Scores = dict[str, tuple[float, ...]]


def scores_of(network: nn.Sequential, data: Dataset, places: Sequence[str]) -> Scores:
    """Every score at every place; NaN where one says that it is not valid.

    Args:
        network: Linear layers and activations in turn.
        data: What it is trained on.
        places: The hidden layers by name.
    """
    batches = data.train.batches(BATCH)
    context = NetworkContext(network, batches)
    # A dozen batches are the whole training split.
    seen = observe(
        network,
        context.train_batches(12),
        needs=frozenset(Need) - {Need.COACTIVATION},
        loss=context.loss,
        probe_size=PROBE,
    )
    found = _from_activations(seen, places) | _from_gradients(seen, places)
    found |= _from_weights(network, places) | _from_analyzers(context, places)
    return found


def _ranked(values: Mapping[str, Any], places: Sequence[str]) -> tuple[float, ...]:
    return tuple(_number(values.get(place)) for place in places)


def _each(places: Sequence[str], score: Callable[[str], float]) -> tuple[float, ...]:
    return tuple(score(place) for place in places)


def _from_activations(seen: Observation, places: Sequence[str]) -> Scores:
    assert seen.probe is not None
    sigma = {place: spectrum(seen.probe.values[place]) for place in places}
    ranks = {place: _number(effective_rank(one)) for place, one in sigma.items()}
    stable = {place: _number(stable_rank(one)) for place, one in sigma.items()}
    layers = seen.layers
    return {
        "low effective rank": _each(places, lambda p: -ranks[p]),
        "low stable rank": _each(places, lambda p: -stable[p]),
        "low effective rank per unit": _each(places, lambda p: -ranks[p] / layers[p].units),
        "high effective rank per unit": _each(places, lambda p: ranks[p] / layers[p].units),
        "nearest to the inputs": _each(places, lambda p: -float(places.index(p))),
        "few units": _each(places, lambda p: -float(layers[p].units)),
        "dead units": _each(places, lambda p: _share(layers[p].maximum <= 0)),
        "dormant units (tau .025)": _each(
            places, lambda p: _share(dormancy_scores(layers[p].mean_absolute) <= 0.025)
        ),
        "gradient at units, root mean square": _each(places, lambda p: _rms(layers[p])),
        "Taylor importance, sum": _each(places, lambda p: _total(layers[p].taylor)),
        "Fisher importance of units, mean": _each(
            places, lambda p: _total(layers[p].fisher) / layers[p].units
        ),
    }


def _from_gradients(seen: Observation, places: Sequence[str]) -> Scores:
    moments = {place: seen.places[place][0] for place in places}

    def gained(method: Callable[[PlaceMoments], Any], units: int) -> tuple[float, ...]:
        return _each(places, lambda p: float(method(moments[p]).gains[:units].sum()))

    def norm(layer: str) -> float:
        return float(seen.parameters[f"{layer}.weight"].mean.norm())

    return {
        "natural expansion, best unit": gained(natural_expansion, 1),
        f"natural expansion, {UNITS} units": gained(natural_expansion, UNITS),
        "natural expansion over present": _each(
            places,
            lambda p: (
                float(natural_expansion(moments[p]).gains[:UNITS].sum())
                / max(float(natural_score(moments[p])), 1e-12)
            ),
        ),
        "TINY, best unit": gained(tiny_expansion, 1),
        f"TINY, {UNITS} units": gained(tiny_expansion, UNITS),
        "TINY, expressivity bottleneck": _each(
            places, lambda p: float(expressivity_bottleneck(moments[p]))
        ),
        "GradMax, best unit": gained(gradmax_expansion, 1),
        f"GradMax, {UNITS} units": gained(gradmax_expansion, UNITS),
        "gradient of incoming weights": _each(places, norm),
        "gradient of outgoing weights": _each(places, lambda p: norm(moments[p].reader)),
    }


def _from_weights(network: nn.Sequential, places: Sequence[str]) -> Scores:
    weights = {
        name: module.weight.detach()
        for name, module in network.named_children()
        if isinstance(module, nn.Linear)
    }
    names = list(weights)
    behind = dict(pairwise(names))
    scale = largest_magnitude(weights.values())

    def persistence(layer: str) -> float:
        found = neural_persistence(weights[layer], scale=scale)
        return found.per_vertex() if isinstance(found, NeuralPersistence) else math.nan

    def excess(layer: str) -> float:
        found = shuffled_persistence(weights[layer], scale=scale)
        if not isinstance(found, ShuffledPersistence):
            return math.nan
        null = found.per_vertex()
        return (persistence(layer) - float(null.mean())) / float(null.std())

    def over_neighbours(layer: str) -> float:
        units, inputs = weights[layer].shape
        return 2 * units / (inputs + len(weights[behind[layer]]))

    return {
        "few units beside the neighbours": _each(places, lambda p: -over_neighbours(p)),
        "neural persistence of incoming weights": _each(places, persistence),
        "neural persistence of outgoing weights": _each(places, lambda p: persistence(behind[p])),
        "neural persistence, z of incoming": _each(places, excess),
    }


def _from_analyzers(context: NetworkContext, places: Sequence[str]) -> Scores:
    """The ranking of every analyzer of the library, and what `SensitivityAnalyzer` tries out."""
    kinds = [getattr(analyzers, name) for name in analyzers.__all__]
    made = [kind() for kind in kinds if inspect.isclass(kind) and issubclass(kind, Analyzer)]
    analysis: Analysis = ComposableEvolutionSystem(made).analyze(context)
    keys = [key for key in analysis if key.endswith("_ranking")]
    tried = ("weight_noise", "activation_noise", "layer_ablation")
    found = {f"analyzer: {key}": _ranked(analysis[key], places) for key in keys}
    for key in tried:
        found[f"sensitivity to {key}"] = _ranked(analysis[f"sensitivity_{key}"], places)
    return found


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else math.nan


def _share(mask: Tensor) -> float:
    return float(mask.double().mean())


def _rms(layer: LayerObservation) -> float:
    second = layer.gradient_second_moment
    return math.nan if second is None else float(second.mean().sqrt())


def _total(values: Tensor | None) -> float:
    return math.nan if values is None else float(values.sum())
