"""From caches to an analysis: how each layer performs, and which of its units should divide."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from structure_net.dnm.caches import LayerCaches
from structure_net.errors import MissingAnalysisError
from structure_net.evolution.analysis import Analysis
from structure_net.evolution.context import NetworkContext
from structure_net.evolution.metrics.performance import (
    ACTIVATION_DIVERSITY,
    GRADIENT_VARIANCE,
    INFORMATION_FLOW,
    PERFORMANCE_SENSITIVITY,
    bottleneck_scores,
    counted_measures,
    measure_layers,
)
from structure_net.evolution.metrics.validity import Unavailable

_KEYS = {
    GRADIENT_VARIANCE: "performance_gradient_variance",
    ACTIVATION_DIVERSITY: "performance_activation_diversity",
    INFORMATION_FLOW: "performance_information_flow",
    PERFORMANCE_SENSITIVITY: "performance_sensitivity",
}

_RAISE = (
    "Hand update_caches the activations of the hidden layers by module name, and their gradients"
    " by module or parameter name; collect_caches makes both from a batch."
)


def cached_analysis(
    context: NetworkContext, caches: LayerCaches, measures: Sequence[str]
) -> Analysis:
    """What `LayerPerformanceAnalyzer` and `SplitAnalyzer` say, from caches.

    The keys are those of `PerformanceAnalysis`, of the measures asked for, and
    ``split_gradient_scores`` and ``split_activation_scores``: by layer, of each unit, the second
    moment of its gradient and the variance of its activation. Gradients with respect to the weights
    stand in where those with respect to the activations are not there for all layers.

    Args:
        context: Its network is looked at; it must carry an example.
        caches: Of that network as it is.
        measures: What the layers are ranked by, names from `PERFORMANCE_MEASURES`.

    Raises:
        MissingAnalysisError: The caches hold no layer that can change, or none of the measures can
            be taken of all of them.
    """
    order, editable = _hidden(context)
    activations = {
        layer: caches.activations[layer] for layer in order if layer in caches.activations
    }
    inner = [layer for layer in activations if layer in editable]
    if not inner:
        raise MissingAnalysisError(
            f"The caches hold activations of no layer that can change (there are:"
            f" {', '.join(editable) or 'none'}). {_RAISE}"
        )
    gradients = _gradients(caches, inner)
    measured = measure_layers(
        activations, gradients, caches.targets, inputs=caches.inputs, measures=measures
    )
    of_inner = {name: {layer: by[layer] for layer in inner} for name, by in measured.items()}
    scores = bottleneck_scores(of_inner)
    if isinstance(scores, Unavailable):
        raise MissingAnalysisError(f"{_why(of_inner)} {_RAISE}")
    found: dict[str, Any] = {_KEYS[name]: by for name, by in measured.items()}
    found["performance_bottleneck"] = found["performance_ranking"] = scores
    found["performance_measures"] = counted_measures(of_inner)
    found["split_activation_scores"] = {layer: _variance(activations[layer]) for layer in inner}
    found["split_gradient_scores"] = {
        layer: _second_moment(gradients[layer], activations[layer])
        for layer in inner
        if layer in gradients
    }
    return Analysis.merged({"DNMFramework": found})


def _hidden(context: NetworkContext) -> tuple[list[str], list[str]]:
    """The layers in front of the outputs in order of execution, and those that can change."""
    from structure_net.graph import graph_of

    graph = graph_of(context.network, context.example)
    editable = list(graph.editable)
    last = {layer for layer, reason in graph.frozen.items() if reason == "the model's output"}
    return [layer for layer in graph.layers if layer not in last], editable


def _gradients(caches: LayerCaches, layers: Sequence[str]) -> dict[str, Tensor]:
    """One kind of gradient for all layers, so that they can be compared."""
    by_units = {name: caches.gradients[name] for name in layers if name in caches.gradients}
    if len(by_units) == len(layers):
        return by_units
    known = [layer for layer in layers if layer in caches.weight_gradients]
    if len(known) < len(layers) and len(by_units) >= len(known):
        return by_units
    # Of more axes than activations have, so that it is not taken for theirs.
    return {name: caches.weight_gradients[name][:, :, None, None, None, None] for name in known}


def _variance(activations: Tensor) -> Tensor:
    """Of each unit over samples and positions. Shape ``(C,)``, float64."""
    return activations.double().movedim(1, 0).flatten(1).var(1, correction=0)


def _second_moment(gradients: Tensor, activations: Tensor) -> Tensor:
    """Of each unit's gradient over samples and positions, or over its weights. Shape ``(C,)``."""
    axis = 1 if gradients.shape == activations.shape else 0
    return gradients.double().movedim(axis, 0).flatten(1).square().mean(1)


def _why(measured: Mapping[str, Mapping[str, float | Unavailable]]) -> str:
    """Why no measure is there, from the first layer that lacks each."""
    reasons = []
    for name, by_layer in measured.items():
        for layer, value in by_layer.items():
            if isinstance(value, Unavailable):
                reasons.append(f"{name} of {layer!r}: {value.reason}")
                break
    return f"The layers cannot be ranked ({'; '.join(reasons)})."
