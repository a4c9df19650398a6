"""Which connections a network can do without before it has seen any data, and how fast to prune."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn

from structure_net.core.running import call
from structure_net.core.statistics import sparse_layers
from structure_net.core.storage import StoredLayer


def cubic_target(now: float, final: float, *, last: float, progress: float) -> float:
    r"""Where gradual pruning stands, :math:`m_f + (m_i - m_f) (1 - x)^3`.

    From what is there now rather than from the start: a network that was at its place at the last
    step, :math:`x'`, is brought to the next by :math:`m_f + (m - m_f) ((1 - x) / (1 - x'))^3`.

    Args:
        now: :math:`m`, what is there: connections, parameters, operations.
        final: :math:`m_f`, what shall be left at the end.
        last: :math:`x'`, the share of the time that was over at the last step; 0 at the first.
        progress: :math:`x`, that is over now.

    Returns:
        No more than ``now``; ``final`` at the end.

    Raises:
        ValueError: Time runs backwards, or a share is outside [0, 1].

    References:
        Zhu and Gupta, "To prune, or not to prune", 2017 (arXiv 1710.01878).
    """
    if not 0 <= last <= progress <= 1:
        raise ValueError(
            f"last and progress must be in [0, 1], in this order; got {last} and {progress}."
        )
    if now <= final or progress == 1:
        return min(now, final)
    return float(final + (now - final) * ((1 - progress) / (1 - last)) ** 3)


def masked_layers(network: nn.Module) -> dict[str, StoredLayer]:
    """The sparse layers of a network that keep their weight in one parameter, by name."""
    layers = sparse_layers(network).items()
    return {name: layer for name, layer in layers if isinstance(layer, StoredLayer)}


def synflow_scores(network: nn.Module, example: Any) -> dict[str, Tensor]:
    r"""The synaptic flow of each connection, :math:`|\theta \odot \partial R / \partial \theta|`.

    :math:`R` is the sum of the outputs where all parameters are replaced by their magnitudes and
    all inputs are 1. Between two layers of a network of linear layers and ReLUs without biases as
    much flows into each unit as out of it.

    Args:
        network: A copy of it is run, in evaluation mode and in float64.
        example: Inputs: a tensor, a tuple of arguments, or a mapping of named ones, all of them
            floating-point. One sample is taken of each.

    Returns:
        By sparse layer: shape ``(n,)``, float64, in the order of its pattern; the entries of a
        kernel are summed. 0 in a layer that the network does not run, through which nothing flows.

    Raises:
        ValueError: An input is not floating-point, so that it cannot be 1, or a weight is computed
            by a parametrization.

    References:
        Tanaka et al., "Pruning neural networks without any data by iteratively conserving synaptic
        flow", NeurIPS 2020.
    """
    twin = deepcopy(network).double().eval()
    layers = masked_layers(twin)
    with torch.enable_grad():
        for parameter in twin.parameters():
            parameter.data.abs_()
            parameter.requires_grad_()
            parameter.grad = None
        output = call(twin, _ones(example))
        weights = {name: layer.weight for name, layer in layers.items()}
        _check_own(weights)
        flows = torch.autograd.grad(
            _total(output), list(weights.values()), allow_unused=True, materialize_grads=True
        )
    return {
        name: _by_connection(layers[name], weight.detach() * flow).cpu()
        for (name, weight), flow in zip(weights.items(), flows, strict=True)
    }


def _check_own(weights: Mapping[str, Tensor]) -> None:
    for name, weight in weights.items():
        if not weight.is_leaf:
            raise ValueError(
                f"Synaptic flow is that of parameters, and the weight of {name!r} is computed from "
                "others. Remove its parametrization first."
            )


def _by_connection(layer: StoredLayer, scores: Tensor) -> Tensor:
    live = scores if layer.storage == "live" else scores[layer.mask]
    return live.flatten(1).sum(1) if live.dim() > 1 else live


def synflow_order(
    network: nn.Module,
    example: Any,
    keep: float,
    *,
    rounds: int = 100,
    staying: Collection[str] = (),
) -> dict[str, Tensor]:
    r"""How long each connection stays where synaptic flow prunes round by round.

    After round ``k`` of ``n`` there are :math:`\rho^{k/n}` of the weights left, and the flow is
    computed anew: pruned at once, whole layers would go. A kernel counts the mean flow of its
    entries, each of which is one of the weights that are left.

    Args:
        network: See `synflow_scores`.
        example: See there.
        keep: :math:`\rho`, the share of the live weights that is left; in (0, 1].
        rounds: ``n``.
        staying: Sparse layers that lose nothing: what flows, flows through all of them.

    Returns:
        By sparse layer that may lose connections: the larger, the later it goes; shape ``(n,)``,
        float64, in the order of its pattern.

    Raises:
        ValueError: An argument is out of range, or see `synflow_scores`.
    """
    if not 0 < keep <= 1:
        raise ValueError(f"keep must be in (0, 1]; got {keep}.")
    if rounds < 1:
        raise ValueError(f"rounds must be 1 or more; got {rounds}.")
    twin = deepcopy(network).double()
    alive = {
        name: torch.ones(len(layer.pattern), dtype=torch.bool)
        for name, layer in masked_layers(twin).items()
        if name not in staying
    }
    order = {name: torch.zeros(len(live), dtype=torch.float64) for name, live in alive.items()}
    layers = masked_layers(twin)
    entries = {name: _entries(layers[name]) for name in alive}
    total = sum(len(live) * entries[name] for name, live in alive.items())
    for round_ in range(1, rounds + 1):
        flows = synflow_scores(twin, example)
        scores = {name: flows[name] / entries[name] for name in alive}
        largest = max((float(one.max()) for one in scores.values() if len(one)), default=0.0) or 1.0
        left = max(1, round(total * keep ** (round_ / rounds)))
        values = torch.cat([scores[name][live] for name, live in alive.items()])
        sizes = torch.cat([torch.full((int(live.sum()),), entries[n]) for n, live in alive.items()])
        bound = _bound(values, sizes, left)
        for name, live in alive.items():
            order[name][live] = round_ + scores[name][live] / (2 * largest)
            alive[name] = live & (scores[name] >= bound)
        _silence(twin, alive)
    return order


def _entries(layer: StoredLayer) -> int:
    return math.prod(layer.live_weights.shape[1:])


def _bound(values: Tensor, sizes: Tensor, weights: int) -> Tensor:
    """The least of the largest values that hold so many weights together, or all of them."""
    order = values.argsort(descending=True)
    enough = int((sizes[order].cumsum(0) < weights).sum())
    return values[order[min(enough, len(order) - 1)]]


def _silence(network: nn.Module, alive: Mapping[str, Tensor]) -> None:
    with torch.no_grad():
        layers = masked_layers(network)
        for name, live in alive.items():
            layer = layers[name]
            gone = (~live).nonzero().flatten().to(layer.weight.device)
            layer.fill(layer.live_weights.index_fill(0, gone, 0.0))


def _ones(example: Any) -> Any:
    if isinstance(example, Tensor):
        if not example.is_floating_point():
            raise ValueError(
                f"Synaptic flow sets inputs to 1, which {example.dtype} inputs cannot be. Score"
                " connections by another measure."
            )
        return torch.ones_like(example[:1], dtype=torch.float64)
    if isinstance(example, Mapping):
        return {name: _ones(value) for name, value in example.items()}
    return tuple(_ones(value) for value in example)


def _total(output: Any) -> Tensor:
    if isinstance(output, Tensor):
        return output.sum()
    parts = output.values() if isinstance(output, Mapping) else output
    return torch.stack([_total(part) for part in parts]).sum()
