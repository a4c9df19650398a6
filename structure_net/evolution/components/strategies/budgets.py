"""What a network may cost, and what it costs."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Final

from torch import nn

from structure_net.core.arguments import check_number
from structure_net.core.flops import count_flops
from structure_net.core.latency import measure_latency
from structure_net.core.statistics import network_stats, sparse_layers


def sparse_density(network: nn.Module) -> float:
    """Live connections over possible ones, in the sparse layers; 1 where there is none."""
    patterns = [layer.pattern for layer in sparse_layers(network).values()]
    possible = sum(pattern.shape[0] * pattern.shape[1] for pattern in patterns)
    return sum(map(len, patterns)) / possible if possible else 1.0


_MEASURES: Final[Mapping[str, Callable[[nn.Module, Any], float]]] = {
    "density": lambda network, example: sparse_density(network),
    "parameters": lambda network, example: network_stats(network)["total_parameters"],
    "flops": lambda network, example: count_flops(network, example).total,
    "latency": measure_latency,
}


def costs_of(network: nn.Module, example: Any, names: Mapping[str, float]) -> dict[str, float]:
    """What a network costs, by the names of a budget.

    Args:
        network: It is left as it was.
        example: Inputs: a tensor, a tuple of arguments, or a mapping of named ones.
        names: Of ``density`` (`sparse_density`), ``parameters`` (live ones), ``flops`` (of a
            forward pass, per sample) and ``latency`` (of a forward pass of the whole example, in
            seconds).
    """
    return {name: float(_MEASURES[name](network, example)) for name in names}


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
