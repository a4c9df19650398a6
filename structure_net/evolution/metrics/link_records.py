"""What a run of a model shows of its links, gathered into a `LayeredGraph`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from structure_net.errors import StructureNetError
from structure_net.evolution.metrics.layered_graph import LayeredGraph
from structure_net.evolution.metrics.links import Links, larger, summed
from structure_net.evolution.metrics.provenance import STATISTIC, Trail, single


@dataclass(eq=False, slots=True)
class LinkRecords:
    """What a run showed."""

    sizes: dict[str, int] = field(default_factory=dict)
    inputs: dict[str, tuple[int, ...]] = field(default_factory=dict)
    tables: set[str] = field(default_factory=set)
    edges: dict[tuple[str, str], Links] = field(default_factory=dict)
    pending: list[tuple[str, str, dict[int, Tensor], Links]] = field(default_factory=list)
    finals: dict[str, Tensor] = field(default_factory=dict)
    unlinked: dict[str, str] = field(default_factory=dict)

    def link(self, reader: str, trail: Trail, axis: int, links: Links) -> None:
        """The layer ``reader`` reads what ``trail`` describes along ``axis``."""
        found: dict[str, dict[int, list[Tensor]]] = {}
        for (source, number), labels in trail.labels.items():
            for label in labels:
                others = [dim for dim in range(label.dim()) if dim != axis % label.dim()]
                if (one := single(label, others)) is not None:
                    positions = one.flatten().expand(links.shape[1])
                    found.setdefault(source, {}).setdefault(number, []).append(positions)
        for source, axes in found.items():
            self._join(source, reader, axes, links)
        numbered_only = dict.fromkeys(source for source, _ in trail.labels if source not in found)
        for source in numbered_only:
            self.leave(source, reader, "it reads positions, each of them for all units")
        for source, reason in trail.mixed.items():
            if reason != STATISTIC or source not in found:
                self.leave(source, reader, reason)

    def end(self, trail: Trail) -> None:
        """An output of the model is what ``trail`` describes."""
        for (source, _), labels in trail.labels.items():
            units = torch.cat([label.flatten() for label in labels])
            known = self.finals.get(source, torch.empty(0, dtype=torch.int64))
            self.finals[source] = torch.cat([known, units[units >= 0]]).unique()
        for source, reason in trail.mixed.items():
            if reason != STATISTIC or source not in self.finals:
                self.leave(source, "(output)", reason)

    def leave(self, source: str, reader: str, reason: str) -> None:
        """Notes that what ``source`` does for ``reader`` is not in the graph."""
        self.unlinked.setdefault(f"{source} -> {reader}", reason)

    def _join(
        self, source: str, reader: str, axes: Mapping[int, list[Tensor]], links: Links
    ) -> None:
        if source in self.inputs:
            one = {number: vectors[0] for number, vectors in axes.items()}
            self.pending.append((source, reader, one, links))
            return
        order = list(self.sizes)
        if order.index(source) >= order.index(reader):
            self.leave(
                source, reader, "it runs again behind itself, and a layered graph has no loop"
            )
            return
        made = [links.gathered(vector, self.sizes[source]) for vector in axes[0]]
        self._add(source, reader, summed(made))

    def _add(self, source: str, reader: str, links: Links) -> None:
        known = self.edges.get((source, reader))  # of a layer that ran before
        self.edges[source, reader] = links if known is None else larger(links, known)

    def graph(self) -> LayeredGraph:
        """The graph.

        Raises:
            StructureNetError: There is no layer, or the weights of one are not finite.
        """
        if not self.sizes:
            left = "; ".join(f"{link}: {reason}" for link, reason in self.unlinked.items())
            raise StructureNetError(
                "The model has no layer: no product of its inputs with a parameter was seen"
                f"{f' ({left})' if left else ''}."
            )
        units = self._settled_inputs()
        for (_, reader), links in self.edges.items():
            if not links.finite:
                raise StructureNetError(
                    f"The weights of layer {reader!r} are not finite, so that its connections have"
                    " no strength. Go back to weights from before the training diverged."
                )
        sizes = {**units, **self.sizes}
        names = list(sizes)
        starts = dict(zip(names, _starts(list(sizes.values())), strict=False))
        tails, heads, weights = _edges(self.edges, starts)
        total = sum(sizes.values())
        order = torch.argsort(tails * total + heads)
        begins, ends = torch.zeros(total, dtype=torch.bool), torch.zeros(total, dtype=torch.bool)
        for name in (*units, *self.tables):
            begins[starts[name] : starts[name] + sizes[name]] = True
        for name, final in self.finals.items():
            if name in starts:
                ends[starts[name] + final[final < sizes[name]]] = True
        return LayeredGraph(
            tuple(names),
            tuple(sizes.values()),
            tails[order],
            heads[order],
            weights[order],
            begins,
            ends,
            self.unlinked,
        )

    def _settled_inputs(self) -> dict[str, int]:
        """The number of units of each input, now that all its readers are known."""
        units: dict[str, int] = {}
        for name, shape in self.inputs.items():
            reads = [read for read in self.pending if read[0] == name]
            axes = sorted(set(range(len(shape))).intersection(*(read[2] for read in reads)))
            if not reads:
                continue
            if not axes:
                for _, reader, *_ in reads:
                    self.leave(name, reader, "its readers share no axis")
                continue
            units[name] = 1
            for axis in axes:
                units[name] *= shape[axis]
            for _, reader, vectors, links in reads:
                unit = torch.zeros_like(vectors[axes[0]])
                for axis in axes:
                    unit = unit * shape[axis] + vectors[axis]
                    unit[vectors[axis] < 0] = -(2**40)
                self._add(name, reader, links.gathered(unit, units[name]))
        return units


def _starts(sizes: list[int]) -> list[int]:
    return torch.tensor([0, *sizes]).cumsum(0).tolist()


def _edges(
    edges: Mapping[tuple[str, str], Links], starts: Mapping[str, int]
) -> tuple[Tensor, Tensor, Tensor]:
    none = torch.empty(0, dtype=torch.int64)
    tails, heads, weights = [none], [none], [none.double()]
    for (source, reader), links in edges.items():
        pairs = links.pairs()
        tails.append(pairs.columns + starts[source])
        heads.append(pairs.rows + starts[reader])
        weights.append(pairs.squares.sqrt())
    return torch.cat(tails), torch.cat(heads), torch.cat(weights)
