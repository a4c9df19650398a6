"""What can be pruned (connections, units, heads), what it is worth and what it costs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from structure_net.core.flops import count_flops
from structure_net.core.pairs import PairTable
from structure_net.core.sparsity import SparsePattern
from structure_net.core.statistics import sparse_layers
from structure_net.core.weights import by_output
from structure_net.errors import StructureNetError, SurgeryError
from structure_net.evolution.components.strategies.budgets import (
    costs_of,
    kernel_entries,
)
from structure_net.evolution.components.strategies.frozen import touches_frozen
from structure_net.graph.belonging import entries_of
from structure_net.graph.channels import Axis, ChannelGroup, Role
from structure_net.surgery import apply
from structure_net.surgery.edits import Edit, RemoveConnections, RemoveHeads, RemoveNeurons

Removal = RemoveNeurons | RemoveHeads


@dataclass(frozen=True, slots=True, eq=False)
class ConnectionTable:
    """The live connections of all sparse layers, one behind the other.

    Args:
        layers: The layers' names.
        owner: The index of each connection's layer. Shape ``(n,)``, int64, like the next two.
        rows: Its output unit.
        columns: Its input unit.
        scores: What it is worth. Shape ``(n,)``, float64.
        sizes: Its weights: the entries of a kernel. Shape ``(n,)``, float64.
    """

    layers: tuple[str, ...]
    owner: Tensor
    rows: Tensor
    columns: Tensor
    scores: Tensor
    sizes: Tensor

    def order(self) -> Tensor:
        """Connections from the least worth on; the best one of each layer is left out."""
        best = {
            int(places[self.scores[places].argmax()])
            for number in range(len(self.layers))
            if len(places := (self.owner == number).nonzero().flatten())
        }
        order = torch.argsort(self.scores, stable=True)
        return order[torch.tensor([place not in best for place in order.tolist()])]

    def saved(
        self, network: nn.Module, example: Any, names: Sequence[str], *, possible: int
    ) -> dict[str, Tensor]:
        """What the network saves without each connection, by the names of a budget.

        Args:
            network: Whose connections these are.
            example: Inputs.
            names: Of a budget.
            possible: The weights of which a density is the share.
        """
        found = {}
        if "density" in names:
            found["density"] = self.sizes / possible
        if "parameters" in names:
            found["parameters"] = self.sizes
        if "flops" in names:
            counted = count_flops(network, example).layers
            live = torch.zeros(len(self.layers), dtype=torch.float64)
            live.index_add_(0, self.owner, self.sizes)
            per = torch.tensor([counted.get(n, 0.0) for n in self.layers], dtype=torch.float64)
            found["flops"] = (per / live)[self.owner] * self.sizes
        return found

    def removals(self, chosen: Tensor) -> list[RemoveConnections]:
        """The edits that remove some connections, by index, layer by layer."""
        edits = []
        for number, layer in enumerate(self.layers):
            mine = chosen[self.owner[chosen] == number].sort().values
            if len(mine):
                table = torch.stack((self.rows[mine], self.columns[mine]), 1)
                edits.append(RemoveConnections(layer, PairTable.of(table.numpy())))
        return edits


def connection_table(network: nn.Module, scores: Mapping[str, Tensor]) -> ConnectionTable:
    """The live connections with their scores.

    Args:
        network: With sparse layers.
        scores: By sparse layer: shape ``(n,)`` in the order of its pattern, or the pattern's shape.
            Layers without scores are left out.

    Raises:
        StructureNetError: There is no sparse layer with scores.
    """
    layers = {n: layer for n, layer in sparse_layers(network).items() if n in scores}
    if not layers:
        raise StructureNetError(
            "No sparse layer has scores, so that there are no connections to prune. Make the"
            " network with create_standard_network, one of your own sparse with"
            " structure_net.surgery.sparsify(model, 1.0), or prune what='units'."
        )
    patterns = [layer.pattern for layer in layers.values()]
    counts = torch.tensor([len(pattern) for pattern in patterns])
    kernels = [kernel_entries(layer) for layer in layers.values()]
    values = [
        _at(scores[name].detach().cpu().double(), pattern)
        for name, pattern in zip(layers, patterns, strict=True)
    ]
    return ConnectionTable(
        tuple(layers),
        torch.repeat_interleave(torch.arange(len(layers)), counts),
        torch.cat([pattern.rows.cpu() for pattern in patterns]),
        torch.cat([pattern.columns.cpu() for pattern in patterns]),
        torch.cat(values),
        torch.repeat_interleave(torch.tensor(kernels, dtype=torch.float64), counts),
    )


def _at(scores: Tensor, pattern: SparsePattern) -> Tensor:
    return scores if scores.dim() == 1 else scores[pattern.rows.cpu(), pattern.columns.cpu()]


def fewest(saved: Mapping[str, Tensor], order: Tensor, excess: Mapping[str, float]) -> int | None:
    """How many of ``order`` must go until all of the excess is saved; None where all would not do.

    Args:
        saved: By the names of a budget, what each candidate saves. Shape ``(n,)``.
        order: Indices of candidates.
        excess: What must be saved.
    """
    count = 0
    for name, wanted in excess.items():
        if wanted <= 0:
            continue
        total = saved[name][order].cumsum(0)
        # Sums of fractions come out a little below the whole number that they are.
        enough = (total >= wanted * (1 - 1e-9)).nonzero().flatten()
        if not len(enough):
            return None
        count = max(count, int(enough[0]) + 1)
    return count


@dataclass(frozen=True, slots=True, eq=False)
class Prunable:
    """The units of one channel group, or the heads of one attention.

    Args:
        group: As the graph has it.
        scores: What each unit is worth. Shape ``(units,)``, float64.
    """

    group: ChannelGroup
    scores: Tensor

    def removal(self, units: Sequence[int]) -> Removal:
        """The edit that removes units by number."""
        if self.group.heads:
            return RemoveHeads(self.group.layer, tuple(sorted(units)))
        channels = sorted(one for unit in units for one in self.group.channels[unit])
        return RemoveNeurons(self.group.layer, tuple(channels))


def unit_groups(
    network: nn.Module, example: Any, *, heads: bool, frozen: bool = True
) -> list[ChannelGroup]:
    """The groups whose units (or heads) can be removed, each once, by its first layer.

    Of groups that one layer writes (heads and what is in them, both halves of a split) only the
    first counts: a removal would renumber the others. A removal that surgery refuses, or that it
    would take back, leaves the group out.

    Args:
        network: It is left as it was.
        example: Inputs.
        heads: Whether heads are asked for, not units.
        frozen: Whether groups count that a frozen weight writes or reads.

    Raises:
        TraceError: The network cannot be traced.
    """
    from structure_net.graph import graph_of

    graph = graph_of(network, example)
    twin = twin_of(network)
    found: list[ChannelGroup] = []
    written: set[str] = set()
    for group in (one for layer in graph.editable for one in graph.groups_of(layer)):
        own = {axis.tensor for axis in group.axes if axis.role is Role.WRITES}
        fits = group.heads == heads and group.units > 1 and not own & written
        fits = fits and (frozen or not touches_frozen(network, group))
        if fits and works(twin, example, Prunable(group, torch.empty(0)).removal([0])):
            found.append(group)
            written |= own
    return found


def twin_of(network: nn.Module) -> nn.Module:
    """A copy to try edits on, with the network's graph if it is known."""
    from structure_net.graph import adopt

    twin = deepcopy(network)
    adopt(twin, network)
    return twin


def works(twin: nn.Module, example: Any, edit: Edit) -> bool:
    """Whether surgery carries an edit out on a copy and leaves it; the copy is as before then."""
    try:
        apply(twin, edit, example).undo()
    except SurgeryError:
        return False
    return True


def unit_scores(
    network: nn.Module, group: ChannelGroup, importance: Mapping[str, Tensor]
) -> Tensor:
    """The sum of the importance of all weights that write each unit. Shape ``(units,)``, float64.

    Args:
        network: Whose group it is.
        group: The units.
        importance: By parameter, of its shape. Parameters that are not there count as 0.
    """
    total = torch.zeros(group.units, dtype=torch.float64)
    for axis in group.axes:
        if axis.role is not Role.WRITES:
            continue
        names = _parameters(network, axis)
        for name, values in ((name, importance[name]) for name in names if name in importance):
            whole = values.detach().cpu().double()
            layer, _, own = name.rpartition(".")
            leaf = network.get_submodule(layer) if axis.leaf and own == "weight" else nn.Identity()
            flat = by_output(leaf, whole if axis.leaf else whole.movedim(axis.dim, 0))
            for unit, entries in enumerate(entries_of(axis, group.units, range(group.units))):
                total[unit] += flat[entries].sum()
    return total


def _parameters(network: nn.Module, axis: Axis) -> Iterator[str]:
    if not axis.leaf:
        yield axis.tensor
    else:
        own = network.get_submodule(axis.tensor).named_parameters(axis.tensor, recurse=False)
        yield from (name for name, _ in own)


def least_units(
    network: nn.Module,
    example: Any,
    candidates: Sequence[Prunable],
    *,
    targets: Mapping[str, float],
    costs: Callable[[nn.Module, Any, Mapping[str, float]], dict[str, float]] = costs_of,
) -> dict[int, tuple[int, ...]] | None:
    """The units of least worth after whose removal a network costs no more than the targets.

    Found by bisection over how many go, each tried on a copy. Of each group one unit stays.

    Args:
        network: It is left as it was.
        example: Inputs.
        candidates: What may go.
        targets: By the names of a budget.
        costs: What measures a copy.

    Returns:
        By the index of a candidate, its units; None where even without all it costs more.
    """
    ranked = _ranked(candidates)

    def fits(count: int) -> bool:
        chosen = _by_candidate(ranked[:count])
        edits = [candidates[number].removal(units) for number, units in chosen.items()]
        twin = _without(network, example, edits)
        found = costs(twin, example, targets)
        return all(found[name] <= target for name, target in targets.items())

    if not fits(len(ranked)):
        return None
    low, high = 0, len(ranked)
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if fits(middle) else (middle + 1, high)
    return _by_candidate(ranked[:low])


def costs_without(
    network: nn.Module,
    example: Any,
    candidates: Sequence[Prunable],
    *,
    chosen: Mapping[int, Sequence[int]],
    names: Mapping[str, float],
) -> dict[str, float]:
    """What a network costs once some units are gone, with all that reads and writes them.

    Args:
        network: It is left as it was.
        example: Inputs.
        candidates: What may go.
        chosen: By the index of a candidate, its units; see `least_units`.
        names: Of a budget.
    """
    edits = [candidates[number].removal(units) for number, units in chosen.items()]
    return costs_of(_without(network, example, edits), example, names)


def _ranked(candidates: Sequence[Prunable]) -> list[tuple[int, int]]:
    """Pairs (candidate, unit) from the least worth on, without the best unit of each."""
    pairs = [
        (float(score), number, unit)
        for number, one in enumerate(candidates)
        for unit, score in enumerate(one.scores)
        if unit != int(one.scores.argmax())
    ]
    return [(number, unit) for _, number, unit in sorted(pairs)]


def _by_candidate(chosen: Sequence[tuple[int, int]]) -> dict[int, tuple[int, ...]]:
    numbers = sorted({number for number, _ in chosen})
    return {n: tuple(sorted(unit for number, unit in chosen if number == n)) for n in numbers}


def _without(network: nn.Module, example: Any, edits: Sequence[Removal]) -> nn.Module:
    twin = twin_of(network)
    for edit in edits:
        apply(twin, edit, example, verify=False)
    return twin
