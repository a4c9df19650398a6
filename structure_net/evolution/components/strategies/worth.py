"""What connections, units and heads are worth, by the name of a score."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, Final

import torch
from torch import Tensor, nn

from structure_net.core.sparsity import SparseLayer
from structure_net.core.statistics import sparse_layers
from structure_net.errors import StructureNetError
from structure_net.evolution.components.strategies.prunable import unit_scores
from structure_net.evolution.context import NetworkContext
from structure_net.evolution.metrics.saliency import synflow_order
from structure_net.evolution.metrics.validity import Unavailable
from structure_net.graph.channels import ChannelGroup

SYNFLOW: Final = "synflow"
_LEAST: Final = 1e-9
"""The least share that synaptic flow is asked for."""
_MAGNITUDE: Final = "magnitude"
_BY_PARAMETER: Final = {
    "gradient": "sensitivity_taylor",
    "snip": "sensitivity_taylor",
    "fisher": "sensitivity_fisher",
}


def required_key(score: str) -> frozenset[str]:
    """The key of the analysis that a score reads; none for scores that look at weights alone."""
    if score in {_MAGNITUDE, SYNFLOW}:
        return frozenset()
    return frozenset({_BY_PARAMETER.get(score, score)})


def connection_worth(
    score: str,
    context: NetworkContext,
    analysis: Any,
    keep: float,
    *,
    staying: Collection[str] = (),
) -> dict[str, Tensor]:
    """What each connection of the sparse layers is worth for each weight that it costs.

    A kernel is one connection and costs all its entries, so that it counts their mean (of
    magnitudes the root of the mean square): of all that save as many weights, those go whose worth
    adds up to the least. An own key of the analysis is taken as it is.

    Args:
        score: The name of a score, or a key of the analysis.
        context: Its network.
        analysis: What the analyzers found.
        keep: The share of the connections that is left, which synaptic flow asks for; 0 where a
            density is less than that of one weight.
        staying: Sparse layers that lose none, whose worth is not asked for.

    Returns:
        By sparse layer: shape ``(n,)`` in the order of its pattern, or the pattern's shape.
    """
    layers = sparse_layers(context.network)
    if score == SYNFLOW:
        if not layers:
            return {}
        example = context.with_example().example
        return synflow_order(context.network, example, max(keep, _LEAST), staying=staying)
    if score == _MAGNITUDE:
        return {name: _sizes(layer.live_weights.detach()) for name, layer in layers.items()}
    if score not in _BY_PARAMETER:
        found = analysis[score].items()
        return {n: value for n, value in found if isinstance(value, Tensor) and value.dim() == 2}
    by_parameter = _by_parameter(score, analysis)
    named = {name: by_parameter.get(f"{name}.weight" if name else "weight") for name in layers}
    return {name: _means(layers[name], value) for name, value in named.items() if value is not None}


def unit_worth(
    score: str, network: nn.Module, analysis: Any
) -> Callable[[ChannelGroup], Tensor | None]:
    """What tells the worth of each unit of a group.

    Args:
        score: The name of a score, or a key of the analysis.
        network: Whose groups are asked for.
        analysis: What the analyzers found.

    Returns:
        Gives shape ``(units,)``, float64; None for a group without scores.
    """
    if score == _MAGNITUDE:
        squares = {n: p.detach().double().square() for n, p in network.named_parameters()}
        return lambda group: _relative(unit_scores(network, group, squares).sqrt())
    if score in _BY_PARAMETER:
        importance = _by_parameter(score, analysis)
        return lambda group: unit_scores(network, group, importance)
    values = analysis[score]

    def by_unit(group: ChannelGroup) -> Tensor | None:
        value = values.get(group.layer)
        if not isinstance(value, Tensor) or tuple(value.shape) != (group.size,):
            return None
        flat = value.detach().cpu().double()
        return torch.stack([flat[list(channels)].sum() for channels in group.channels])

    return by_unit


def _by_parameter(score: str, analysis: Any) -> Mapping[str, Tensor]:
    found: Mapping[str, Tensor | Unavailable] = analysis[_BY_PARAMETER[score]]
    for name, value in found.items():
        if isinstance(value, Unavailable):
            raise StructureNetError(
                f"The score {score!r} of {name!r} is not available: {value.reason}."
            )
    return {name: value for name, value in found.items() if isinstance(value, Tensor)}


def _relative(norms: Tensor) -> Tensor:
    mean = float(norms.mean())
    return norms / mean if mean > 0 else norms


def _sizes(weights: Tensor) -> Tensor:
    """The root mean square of the weights of each connection, which is a weight or a kernel."""
    values = weights.double()
    return values.flatten(1).square().mean(1).sqrt() if values.dim() > 1 else values.abs()


def _means(layer: SparseLayer, importance: Tensor) -> Tensor:
    """What the weights of each connection are worth on average."""
    pattern, values = layer.pattern, importance.detach().double()
    if values.shape == layer.live_weights.shape:
        each = values.reshape(len(pattern), -1)
    else:
        rows, columns = (one.to(values.device) for one in (pattern.rows, pattern.columns))
        each = values.reshape(*pattern.shape, -1)[rows, columns]
    return each.mean(1)
