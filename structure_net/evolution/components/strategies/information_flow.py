"""Growth at bottlenecks of information: by as much as is lost there."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, Literal, get_args

import torch

from structure_net.core.arguments import check_number, check_whole
from structure_net.core.sparsity import SparseLayer
from structure_net.evolution.components.strategies.feasible import (
    Lacking,
    editable_layers,
    generator_of,
    possible,
    sparse_layer,
)
from structure_net.evolution.context import NetworkContext
from structure_net.evolution.editing import Proposal
from structure_net.evolution.interfaces import EditingStrategy
from structure_net.evolution.metrics.bottlenecks import Bottleneck
from structure_net.surgery.edits import AddConnections, AddNeurons

How = Literal["auto", "neurons", "connections"]


class InformationFlowGrowthStrategy(EditingStrategy):
    r"""Widens the worst bottlenecks, or connects them better, by the amount that they lack.

    A bottleneck of :math:`n` units passes on :math:`r` directions where its neighbours ask for
    :math:`t > r` (`structure_net.evolution.metrics.bottlenecks`). It lacks the fraction
    :math:`t / r - 1`, so that it gets

    - :math:`\lceil n\,(t / r - 1) \rceil` new **neurons**, at most ``max_neurons_per_expansion``,
      in whole groups where a layer has groups; or
    - as large a fraction of its **connections** once more: from inputs that its units do not read
      yet, evenly over the units, drawn in proportion to the inputs' activity where it is known.
      Their weights are 0, so that the function stays.

    ``"auto"`` connects a sparse layer up to ``dense_enough`` of all its connections, and widens all
    others: units that read little in common cannot span more directions by being more.

    Args:
        places: How many bottlenecks are lifted at once, the worst first.
        how: What is added.
        max_neurons_per_expansion: At one place at once.
        dense_enough: A density between 0 and 1.

    Raises:
        TypeError: A number is none or not whole.
        ValueError: An argument is out of range.

    References:
        The seed's ``InformationFlowGrowthStrategy``.
    """

    requires = frozenset({"information_bottlenecks"})

    def __init__(
        self,
        places: int = 1,
        how: How = "auto",
        *,
        max_neurons_per_expansion: int = 32,
        dense_enough: float = 0.5,
    ) -> None:
        check_whole(1, places=places, max_neurons_per_expansion=max_neurons_per_expansion)
        check_number(dense_enough=dense_enough)
        if how not in get_args(How):
            raise ValueError(f"how must be one of {', '.join(get_args(How))}; got {how!r}.")
        if not 0 <= dense_enough <= 1:
            raise ValueError(f"dense_enough must be in [0, 1]; got {dense_enough}.")
        self.places = places
        self.how: How = how
        self.max_neurons_per_expansion = max_neurons_per_expansion
        self.dense_enough = dense_enough

    def propose(self, context: NetworkContext, analysis: Any) -> list[Proposal]:
        """At most one edit for each of the worst bottlenecks that can be edited."""
        context = context.with_example()
        found: list[Proposal] = []
        for bottleneck in analysis["information_bottlenecks"].values():
            if len(found) == self.places:
                break
            found += list(self._lifted(context, analysis, bottleneck))[:1]
        return found

    def _lifted(
        self, context: NetworkContext, analysis: Any, bottleneck: Bottleneck
    ) -> Iterator[Proposal]:
        """The ways to lift a bottleneck, the best first."""
        layer, reason = sparse_layer(context, bottleneck.layer), _reason(bottleneck)
        sparse = layer is not None and layer.density < self.dense_enough
        if layer is not None and (self.how == "connections" or (self.how == "auto" and sparse)):
            pairs = _connections(context, analysis, bottleneck, layer)
            if pairs:
                yield Proposal(AddConnections(bottleneck.layer, pairs), reason)
        if self.how != "connections":
            editable = editable_layers(context, sparse_suffices=self.how == "auto")
            group = editable.get(bottleneck.layer)
            if group is not None:
                step = group.granularity
                lacking = min(bottleneck.width - group.size, self.max_neurons_per_expansion)
                edit = AddNeurons(bottleneck.layer, max(step, lacking // step * step))
                if possible(context, edit):
                    yield Proposal(edit, reason)


def _reason(bottleneck: Bottleneck) -> str:
    return (
        f"{bottleneck.units} units pass on {bottleneck.effective_rank:.1f} directions of"
        f" {bottleneck.target_rank:.1f} that their neighbours ask for"
    )


def _connections(
    context: NetworkContext, analysis: Any, bottleneck: Bottleneck, layer: SparseLayer
) -> tuple[tuple[int, int], ...]:
    """New pairs for the layer, as large a fraction of the live ones as it lacks of directions."""
    wanted = math.ceil(layer.connections * (bottleneck.pressure - 1))
    even = torch.ones(len(layer.sources), dtype=torch.float64)
    activity = analysis.get("extrema_input_activity", {}).get(bottleneck.layer)
    known = None if activity is None else torch.as_tensor(activity).double().cpu()
    weight = even if known is None else known[layer.sources]
    generator = generator_of(context, "information flow", bottleneck.layer)
    each = math.ceil(wanted / max(1, layer.out_channels))
    pairs = Lacking.of(layer).drawn(weight, each, generator)
    if len(pairs) <= wanted:
        return tuple(pairs)
    kept = torch.randperm(len(pairs), generator=generator)[:wanted].tolist()
    return tuple(sorted(pairs[number] for number in kept))
