"""What a network may cost, and what it costs."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, Final

from torch import nn

from structure_net.core.arguments import check_number
from structure_net.core.flops import count_flops
from structure_net.core.latency import measure_latency
from structure_net.core.sparsity import SparseLayer
from structure_net.core.statistics import network_stats, sparse_layers
from structure_net.evolution.components.strategies.frozen import training_layers


def sparse_density(network: nn.Module, *, frozen: bool = True) -> float:
    """Live weights over possible ones, in the sparse layers; 1 where there is none.

    As `sparsify` counts: a kernel of a convolution counts each of its entries.

    Args:
        network: With sparse layers.
        frozen: Whether those count whose weight does not require a gradient.
    """
    layers = sparse_layers(network) if frozen else training_layers(network)
    possible = possible_weights(layers.values())
    return sum(layer.connections for layer in layers.values()) / possible if possible else 1.0


def possible_weights(layers: Iterable[SparseLayer]) -> int:
    """The weights that sparse layers would have if all their connections were there."""
    return sum(layer.out_channels * len(layer.sources) * kernel_entries(layer) for layer in layers)


def kernel_entries(layer: SparseLayer) -> int:
    """The weights of each connection of a sparse layer: 1, or the entries of a kernel."""
    live = layer.density * layer.out_channels * len(layer.sources)
    return round(layer.connections / live) if live else math.prod(layer.live_weights.shape[1:])


_MEASURES: Final[Mapping[str, Callable[[nn.Module, Any, bool], float]]] = {
    "density": lambda network, example, frozen: sparse_density(network, frozen=frozen),
    "parameters": lambda network, example, frozen: network_stats(network)["total_parameters"],
    "flops": lambda network, example, frozen: count_flops(network, example).total,
    "latency": lambda network, example, frozen: measure_latency(network, example),
}


def costs_of(
    network: nn.Module, example: Any, names: Mapping[str, float], *, frozen: bool = True
) -> dict[str, float]:
    """What a network costs, by the names of a budget.

    Args:
        network: It is left as it was.
        example: Inputs: a tensor, a tuple of arguments, or a mapping of named ones.
        names: Of ``density`` (`sparse_density`), ``parameters`` (live ones), ``flops`` (of a
            forward pass, per sample) and ``latency`` (of a forward pass of the whole example, in
            seconds).
        frozen: Whether a density counts frozen layers; all else counts the whole network.
    """
    return {name: float(_MEASURES[name](network, example, frozen)) for name in names}


def in_whole_weights(
    targets: Mapping[str, float], layers: Collection[SparseLayer]
) -> dict[str, float]:
    """Targets whose density is one of whole weights, the nearest, as in `sparsify`.

    Args:
        targets: By the names of a budget.
        layers: Those whose density it is.
    """
    possible = max(possible_weights(layers), 1)
    whole = {"density": round(targets.get("density", 0.0) * possible) / possible}
    return {name: whole.get(name, target) for name, target in targets.items()}


def is_met(
    costs: Mapping[str, float], targets: Mapping[str, float], layers: Collection[SparseLayer]
) -> bool:
    """Whether a network costs no more than the targets.

    A density may be above by half of the largest kernel: no choice of whole kernels need be nearer.

    Args:
        costs: By the names of a budget.
        targets: By the same names; see `in_whole_weights`.
        layers: Those whose density it is.
    """
    largest = max(map(kernel_entries, layers), default=1)
    # A quarter of a weight is more than the rounding of a fraction, and less than a weight.
    near = {"density": (largest // 2 + 0.25) / max(possible_weights(layers), 1)}
    return all(costs[name] <= target + near.get(name, 0.0) for name, target in targets.items())


def check_budget(budget: Mapping[str, float]) -> dict[str, float]:
    """A budget as it is kept.

    Raises:
        TypeError: It is no mapping, or a value is no number.
        ValueError: It is empty, a name is unknown, or a value is not positive and finite, or a
            density above 1.
    """
    if not isinstance(budget, Mapping):
        raise TypeError(
            f"budget must map names to values, such as {{'parameters': 20_000}}; got {budget!r}."
        )
    if not budget or set(budget) - set(_MEASURES):
        raise ValueError(
            f"budget must name some of {', '.join(_MEASURES)}; got {', '.join(budget) or 'none'}."
        )
    for name, value in budget.items():
        check_number(**{f"The budget of {name}": value})
        if not (0 < value < math.inf) or (name == "density" and value > 1):
            most = "in (0, 1]" if name == "density" else "positive and finite"
            raise ValueError(f"The budget of {name} must be {most}; got {value}.")
    return dict(budget)
