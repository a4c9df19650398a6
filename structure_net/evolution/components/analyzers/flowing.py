"""What each layer gets and what is asked of it, in directions: effective ranks along the flow."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from structure_net.evolution.components.analyzers.looking import hidden, neighbours
from structure_net.evolution.metrics.bottlenecks import task_rank
from structure_net.evolution.metrics.ranks import effective_rank, spectrum
from structure_net.evolution.metrics.validity import Unavailable
from structure_net.evolution.observation import LayerObservation
from structure_net.evolution.reductions.probing import Probe

Measure = float | Unavailable


def floored(ranks: Mapping[str, Measure]) -> dict[str, float]:
    """The effective ranks as numbers of 1 or more: a layer that does not vary counts as rank 1.

    Args:
        ranks: By layer.
    """
    return {n: 1.0 if isinstance(r, Unavailable) else max(1.0, float(r)) for n, r in ranks.items()}


def around(
    layers: Mapping[str, LayerObservation], ranks: Mapping[str, Measure], probe: Probe
) -> dict[str, tuple[float, float]]:
    """What each hidden layer gets and what is asked of it, in directions.

    The effective ranks of the layers in front of it, or of the network's input, and of those behind
    it; of output layers that of the targets. Where one side is not known, the other stands for
    both.

    Args:
        layers: As observed.
        ranks: The effective rank of each layer.
        probe: Whose inputs and targets count.

    Returns:
        By layer, as `pressures` takes them.
    """
    flow, known = neighbours(layers), floored(ranks)
    asked = {
        name: known[name] if behind else _demand(layers[name].units, known[name], probe.targets)
        for name, (_, behind) in flow.items()
        if name in known
    }
    found = {}
    for name in hidden(layers):
        before, behind = flow[name]
        gets = [known[n] for n in before if n in known]
        gets = gets if before else _input_rank(layers[name], probe)
        wanted = [asked[n] for n in behind if n in asked]
        if name in known and (gets or wanted):
            sides = (_geometric_mean(gets or wanted), _geometric_mean(wanted or gets))
            found[name] = sides
    return found


def _demand(units: int, rank: float, targets: Any) -> float:
    """What the task asks of an output layer; its own rank where the targets do not tell."""
    if not isinstance(targets, Tensor):
        return rank
    values = targets.numel() // max(len(targets), 1) if targets.dim() else 0
    if targets.is_floating_point() and values != units:
        return rank
    asked = Unavailable("one output tells no classes apart") if units < 2 else task_rank(targets)
    return rank if isinstance(asked, Unavailable) else asked


def _geometric_mean(values: Sequence[float]) -> float:
    return math.exp(sum(map(math.log, values)) / len(values))


def _input_rank(seen: LayerObservation, probe: Probe) -> list[float]:
    """Of the network's input as the layer reads it: by channel or feature, or flattened."""
    inputs, count = probe.inputs, seen.input_mean
    if not isinstance(inputs, Tensor) or not inputs.is_floating_point() or count is None:
        return []
    values = _by_unit(inputs.detach().cpu(), len(count))
    rank = None if values is None else effective_rank(spectrum(values))
    return [] if rank is None or isinstance(rank, Unavailable) else [rank]


def _by_unit(inputs: Tensor, units: int) -> Tensor | None:
    """The network's inputs as samples of ``units`` values; None where they do not fit."""
    if inputs.dim() < 2:
        return None
    if inputs[0].numel() == units:
        return inputs.flatten(1)
    if inputs.size(1) == units:
        return inputs.flatten(2).mean(2)
    return inputs.flatten(1, -2).mean(1) if inputs.size(-1) == units else None
