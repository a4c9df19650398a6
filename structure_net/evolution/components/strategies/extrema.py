"""Growth at dead and saturated units: connections into the former, out of the latter."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sized
from typing import Any, Final

import torch

from structure_net.core.arguments import check_number, check_whole
from structure_net.core.statistics import network_stats
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
from structure_net.surgery.edits import AddConnections, AddNeurons, InsertLayer, ResetNeurons

Pairs = tuple[tuple[int, int], ...]

_REVIVAL_SCALE: Final = 2.0


class ExtremaGrowthStrategy(EditingStrategy):
    """Gives dead units a second chance, relieves saturated ones, and deepens where both abound.

    In sparse layers:

    - A **dead** unit gets ``patch_size`` revival connections from inputs that it does not read yet,
      drawn in proportion to their activity, so that none comes from an input that is always 0.
      Their weights are random and not 0: a unit that never fires has no gradient that could wake
      it.
    - A **saturated** unit gets ``patch_size`` relief connections to units of the next layer that do
      not read it yet. Their weights are 0, so that the function stays and the gradient decides.

    In dense layers every connection exists already. There a dead unit is reset (fresh incoming
    weights, outgoing weights 0), and a layer with saturated units gets as many new ones beside
    them. A layer whose width cannot change so (in front of a normalisation that spans its units
    behind the activation, say) is passed over.

    If ``add_layer_on_extrema``, the layer with the largest share of dead and saturated units gets a
    new layer behind it, the identity at birth, where that share is above ``extrema_threshold``; one
    per growth, while the network has fewer than ``max_layers`` layers with weights.

    Args:
        extrema_threshold: Between 0 and 1.
        patch_size: Connections per unit.
        add_layer_on_extrema: Whether layers are added.
        max_layers: Layers with weights, the head included.

    Raises:
        TypeError: A number is none or not whole.
        ValueError: An argument is out of range.
    """

    requires = frozenset(
        {
            "extrema_dead",
            "extrema_saturated",
            "extrema_ratio",
            "extrema_readers",
            "extrema_input_activity",
        }
    )

    def __init__(
        self,
        extrema_threshold: float = 0.3,
        patch_size: int = 20,
        *,
        add_layer_on_extrema: bool = False,
        max_layers: int = 10,
    ) -> None:
        check_number(extrema_threshold=extrema_threshold)
        if not 0 <= extrema_threshold <= 1:
            raise ValueError(f"extrema_threshold must be in [0, 1]; got {extrema_threshold}.")
        check_whole(1, patch_size=patch_size, max_layers=max_layers)
        self.extrema_threshold = extrema_threshold
        self.patch_size = patch_size
        self.add_layer_on_extrema = add_layer_on_extrema
        self.max_layers = max_layers

    def propose(self, context: NetworkContext, analysis: Any) -> list[Proposal]:
        """Connections first, then units of dense layers, then at most one layer."""
        revivals = self._revivals(context, analysis)
        return [
            *(_revival(name, pairs, context) for name, pairs in revivals.items()),
            *self._reliefs(context, analysis, revivals),
            *self._dense(context, analysis),
            *self._deeper(context, analysis),
        ]

    def _revivals(self, context: NetworkContext, analysis: Any) -> dict[str, Pairs]:
        """New connections into the dead units of each sparse layer."""
        found: dict[str, Pairs] = {}
        for name, dead in analysis["extrema_dead"].items():
            layer = sparse_layer(context, name)
            if layer is None or not dead:
                continue
            activity = analysis["extrema_input_activity"].get(name, torch.ones(layer.in_channels))
            generator = generator_of(context, "revival", name)
            lacking = Lacking.of(layer, dead)
            chosen = lacking.drawn(activity[layer.sources], self.patch_size, generator)
            if chosen:
                found[name] = tuple((dead[row], column) for row, column in chosen)
        return found

    def _reliefs(
        self, context: NetworkContext, analysis: Any, revivals: Mapping[str, Pairs]
    ) -> Iterator[Proposal]:
        """New connections out of saturated units, for each sparse layer that reads some."""
        wanted = {name: units for name, units in analysis["extrema_saturated"].items() if units}
        for reader, sources in _by_reader(wanted, analysis["extrema_readers"]).items():
            layer = sparse_layer(context, reader)
            if layer is None:
                continue
            saturated = sorted({unit for name in sources for unit in wanted[name]})
            columns = torch.isin(layer.sources, torch.tensor(saturated)).nonzero().flatten()
            generator, pattern = generator_of(context, "relief", reader), layer.pattern
            rows, revived = torch.tensor(revivals.get(reader, ())).reshape(-1, 2).long().T
            taken = (
                torch.cat((pattern.columns.cpu(), revived)),
                torch.cat((pattern.rows.cpu(), rows)),
            )
            lacking = Lacking(taken, (pattern.shape[1], pattern.shape[0]), columns.tolist())
            even = torch.ones(pattern.shape[0])
            chosen = lacking.drawn(even, self.patch_size, generator)
            pairs = tuple(sorted((out, int(columns[row])) for row, out in chosen))
            if pairs:
                reason = f"relieve {_units(saturated, 'saturated')} of {', '.join(sources)}"
                yield Proposal(AddConnections(reader, pairs), reason)

    def _dense(self, context: NetworkContext, analysis: Any) -> Iterator[Proposal]:
        extreme = [name for name, ratio in analysis["extrema_ratio"].items() if ratio > 0]
        dense = [name for name in extreme if sparse_layer(context, name) is None]
        if not dense:
            return
        context = context.with_example()
        editable = editable_layers(context, sparse_suffices=True)
        for name in dense:
            if name not in editable:
                continue
            dead, saturated = analysis["extrema_dead"][name], analysis["extrema_saturated"][name]
            units, step = editable[name].size, editable[name].granularity
            if dead and step == 1 and possible(context, ResetNeurons(name, dead)):
                yield Proposal(ResetNeurons(name, dead), f"reset {_units(dead)} of {units}")
            count = -(-len(saturated) // step) * step
            if saturated and possible(context, AddNeurons(name, count)):
                reason = f"relieve {_units(saturated, 'saturated')} of {units}"
                yield Proposal(AddNeurons(name, count), reason)

    def _deeper(self, context: NetworkContext, analysis: Any) -> Iterator[Proposal]:
        ratios = analysis["extrema_ratio"]
        if not self.add_layer_on_extrema or not ratios:
            return
        name = max(ratios, key=ratios.__getitem__)
        if ratios[name] <= self.extrema_threshold:
            return
        if len(network_stats(context.network)["layers"]) >= self.max_layers:
            return
        if possible(context, InsertLayer(name)):
            share = f"{ratios[name]:.0%} dead or saturated, above {self.extrema_threshold:.0%}"
            yield Proposal(InsertLayer(name), share)


def _revival(name: str, pairs: Pairs, context: NetworkContext) -> Proposal:
    units = len({unit for unit, _ in pairs})
    layer = sparse_layer(context, name)
    assert layer is not None
    reason = f"revive {units} dead {_noun(units)} of {layer.out_channels}"
    return Proposal(AddConnections(name, pairs, scale=_REVIVAL_SCALE), reason)


def _by_reader(
    wanted: Mapping[str, tuple[int, ...]], readers: Mapping[str, tuple[str, ...]]
) -> dict[str, list[str]]:
    """The layers with wanted units that each reader reads."""
    found: dict[str, list[str]] = {}
    for name in wanted:
        for reader in readers.get(name, ()):
            found.setdefault(reader, []).append(name)
    return found


def _units(units: Sized, kind: str = "dead") -> str:
    return f"{len(units)} {kind} {_noun(len(units))}"


def _noun(count: int) -> str:
    return "unit" if count == 1 else "units"
