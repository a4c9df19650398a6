"""Pruning to a budget: connections of sparse layers, units or heads, at once or bit by bit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, Literal, TypeVar, get_args

import torch
from torch import Tensor, nn

from structure_net.core.arguments import check_number, check_whole
from structure_net.core.sparsity import SparseLayer
from structure_net.core.statistics import sparse_layers
from structure_net.errors import StructureNetError
from structure_net.evolution.components.strategies.budgets import (
    check_budget,
    costs_of,
    in_whole_weights,
    is_met,
    kernel_entries,
    possible_weights,
)
from structure_net.evolution.components.strategies.frozen import (
    check_layers_train,
    frozen_layers,
    kept,
    kept_frozen,
    noted,
    training_layers,
)
from structure_net.evolution.components.strategies.prunable import (
    ConnectionTable,
    Prunable,
    connection_table,
    costs_without,
    fewest,
    least_units,
    unit_groups,
)
from structure_net.evolution.components.strategies.worth import (
    SYNFLOW,
    connection_worth,
    required_key,
    unit_worth,
)
from structure_net.evolution.context import NetworkContext
from structure_net.evolution.editing import Proposal
from structure_net.evolution.interfaces import EditingStrategy
from structure_net.evolution.metrics.rewiring import strongest_free
from structure_net.evolution.metrics.saliency import cubic_target
from structure_net.surgery.edits import (
    Edit,
    MoveConnections,
    RemoveConnections,
    RemoveHeads,
    RemoveNeurons,
)
from structure_net.surgery.entries import EditEntry

T = TypeVar("T")
What = Literal["connections", "units", "heads"]
Pairs = tuple[tuple[int, int], ...]

_REMOVALS: Final[Mapping[What, tuple[type[Edit], ...]]] = {
    "connections": (RemoveConnections, MoveConnections),
    "units": (RemoveNeurons,),
    "heads": (RemoveHeads,),
}


class PruningGrowthStrategy(EditingStrategy):
    r"""Takes away what is worth least until the network fits a budget, and may grow some anew.

    **What.** ``"connections"`` of sparse layers, compared over all of them; ``"units"`` of any
    layers whose width can change, each with everything that reads and writes it; ``"heads"`` of
    attention. One connection of each layer, one unit of each group and one head of each attention
    stay. What surgery cannot remove is passed over.

    **Frozen layers**, whose weight does not require a gradient, stay as they are unless ``frozen``,
    and so do units that such a weight writes or reads; the reason names the layers. A density is
    that of the layers that may be pruned; all else counts the whole network.

    **Score.** What a connection is worth; of units and heads, the sum over the weights that write
    them. A kernel is one connection and costs as many weights as it has entries, so that it counts
    the mean of what they are worth (of magnitudes the root of the mean square), as in group Fisher
    pruning: what goes is worth least for what it saves.

    - ``"magnitude"``: :math:`|w|` (of units the root of the sum of squares, relative to the mean of
      their layer, since layers differ in scale). Compared over all layers, one whose weights are
      smaller than elsewhere can lose all but one connection;
    - ``"gradient"``: :math:`|w g|`, the change of the loss to first order, with the mean gradient
      ``g``. On a network that was not trained this is SNIP, and ``"snip"`` is another name for it;
    - ``"fisher"``: :math:`w^2 F / 2`;
    - ``"synflow"``: connections only, `synflow_order`; looks at no data;
    - any key of the analysis that maps layers to one number per connection (shape ``(outputs,
      inputs)``) or per unit (shape ``(C,)``, where its layer names a group), such as
      "sensitivity_unit_taylor".

    **When.** At once where ``start`` equals ``end``: at initialisation at epoch 0, one-shot later.
    Else between the epochs ``start`` and ``end``, whenever the strategy is asked, along the cubic
    schedule of Zhu and Gupta (`cubic_target`). From ``end`` on the budget is kept: what others grow
    beyond it is pruned again.

    **Regrowth.** Behind each pruning of connections the share ``regrowth`` of the live ones, those
    worth least, moves to where the gradient is largest, as in `RigL` (GraNet's regeneration). Only
    in layers that train and were called, so that as many come as go.

    **Budgets** are met from above: the least goes until the network costs no more, so that it costs
    less by no more than the last that went, which may be a kernel. A density is one of weights, to
    the nearest, as in `sparsify`, which lands as near as whole kernels come: within half of the
    largest kernel nothing goes.

    A budget of latency is measured where the strategy is asked, so that the number of units that go
    is as repeatable as the clock. Units and heads go with everything that depends on them, so that
    a removal can save much more than is asked: one that would leave less than half of the budget
    (of each cost in it) is refused. For lottery tickets, see `LotteryRewind`.

    Args:
        budget: What the network may cost; all must hold. Of ``density`` (live over possible
            weights in sparse layers, at most 1), ``parameters`` (live), ``flops`` (of a forward
            pass, per sample) and ``latency`` (of a forward pass of the context's example, in
            seconds; not with connections, whose storage does not shrink).
        what: See above; density goes with connections only.
        score: See above.
        start: The epoch from which on pruning is due.
        end: The epoch at which the budget is reached; ``start`` if None.
        regrowth: In [0, 1); with connections only.
        frozen: Whether frozen layers are pruned, too.

    Raises:
        TypeError: A number is none or not whole, or the budget no mapping.
        ValueError: An argument is out of range, or two do not go together.

    References:
        Han et al., "Learning both weights and connections", NeurIPS 2015. Zhu and Gupta, "To prune,
        or not to prune", 2017. Lee et al., "SNIP", ICLR 2019. Tanaka et al., "Pruning neural
        networks without any data by iteratively conserving synaptic flow", NeurIPS 2020. Liu et
        al., "Sparse training via boosting pruning plasticity with neuroregeneration" (GraNet),
        NeurIPS 2021. Liu et al., "Group Fisher pruning for practical network compression", ICML
        2021.
    """

    def __init__(  # noqa: PLR0913 - independent choices, each with a default
        self,
        budget: Mapping[str, float],
        *,
        what: What = "connections",
        score: str = "magnitude",
        start: int = 0,
        end: int | None = None,
        regrowth: float = 0.0,
        frozen: bool = False,
    ) -> None:
        if what not in get_args(What):
            raise ValueError(f"what must be one of {', '.join(get_args(What))}; got {what!r}.")
        check_whole(0, start=start, end=0 if end is None else end)
        check_number(regrowth=regrowth)
        if not 0 <= start <= (start if end is None else end):
            raise ValueError(f"start must be 0 or more and end no earlier; got {start}, {end}.")
        if not 0 <= regrowth < 1:
            raise ValueError(f"regrowth must be in [0, 1); got {regrowth}.")
        self.budget = check_budget(budget)
        self.what: What = what
        self.score = score
        self.start = start
        self.end = end
        self.regrowth = regrowth
        self.frozen = frozen
        self._check_together()
        grown = {"connection_gradient"} if regrowth else set()
        self.requires = required_key(score) | grown

    def propose(self, context: NetworkContext, analysis: Any) -> list[Proposal]:
        """The removals that the schedule asks for now, with what grows instead.

        Raises:
            StructureNetError: The budget cannot be met, or not without going below half of it, or
                there is nothing to prune, or all that could go is frozen.
            TraceError: Units or heads are to go, and the network cannot be traced.
        """
        epoch = context.history.epoch
        if epoch < self.start:
            return []
        if set(self.budget) & {"flops", "latency"} or self.what != "connections":
            context = context.with_example()
        layers = self._layers(context.network)
        costs = self._costs(context)
        targets = in_whole_weights(self._targets(context, costs), layers.values())
        if is_met(costs, targets, layers.values()):
            return []
        if self.what == "connections":
            return self._connections(context, analysis, costs, targets)
        return self._units(context, analysis, costs, targets)

    def options(self, context: NetworkContext, analysis: Any) -> tuple[tuple[Proposal, ...], ...]:
        """One candidate: the removals meet the budget together."""
        found = self.proposals(context, analysis)
        return (found,) if found else ()

    def _check_together(self) -> None:
        if self.what == "connections" and "latency" in self.budget:
            raise ValueError(
                "A sparse layer that loses connections computes as fast as before; give a budget of"
                " parameters or flops, or prune what='units'."
            )
        if self.what != "connections":
            if "density" in self.budget:
                raise ValueError(f"A density goes with what='connections'; got {self.what!r}.")
            if self.regrowth or self.score == SYNFLOW:
                raise ValueError(
                    f"regrowth and score='synflow' go with what='connections'; got {self.what!r}."
                )

    def _costs(self, context: NetworkContext) -> dict[str, float]:
        def measure() -> dict[str, float]:
            return costs_of(context.network, context.example, self.budget, frozen=self.frozen)

        return self._steady(context, "costs", measure)

    def _steady(self, context: NetworkContext, name: str, compute: Callable[[], T]) -> T:
        """What ``compute`` gives; where it asks the clock, the same until the network changes."""
        if "latency" not in self.budget:
            return compute()
        return context.recall(self, None, compute, name=name)

    def _targets(self, context: NetworkContext, costs: Mapping[str, float]) -> dict[str, float]:
        epoch, end = context.history.epoch, self.start if self.end is None else self.end
        if epoch >= end:
            return self.budget
        last = max(self.start, _last_epoch(context, type(self).__name__, self.what))
        span = end - self.start
        times = {"last": (last - self.start) / span, "progress": (epoch - self.start) / span}
        return {
            name: cubic_target(costs[name], final, **times) for name, final in self.budget.items()
        }

    def _connections(
        self,
        context: NetworkContext,
        analysis: Any,
        costs: Mapping[str, float],
        targets: Mapping[str, float],
    ) -> list[Proposal]:
        network = context.network
        if not self.frozen:
            check_layers_train(network, "prune", " Or let frozen layers lose theirs: frozen=True.")
        keep, left = min(target / costs[n] for n, target in targets.items()), self._left(network)
        worth = connection_worth(self.score, context, analysis, min(keep, 1.0), staying=left)
        table = connection_table(network, {n: one for n, one in worth.items() if n not in left})
        order = table.order()
        excess = {name: costs[name] - target for name, target in targets.items()}
        possible = possible_weights(self._layers(network).values())
        saved = table.saved(network, context.example, list(targets), possible=possible)
        count = fewest(saved, order, excess)
        if count is None:
            raise self._unreachable(costs, kept(network, left, table.layers))
        moving = self._moving(network, analysis, table, order, count)
        gone = torch.cat((order[:count], moving))
        live = sum(layer.connections for layer in self._layers(network).values())
        said = self._said(int(table.sizes[order[:count]].sum()), live, "connections", targets)
        said += noted(left)
        grown, layers = self._regrown(analysis, table, gone, moving), sparse_layers(network)
        return [
            _moving(
                edit, grown.get(edit.layer, ()), said, entries=kernel_entries(layers[edit.layer])
            )
            for edit in table.removals(gone)
        ]

    def _layers(self, network: nn.Module) -> dict[str, SparseLayer]:
        """The sparse layers that may be pruned."""
        return sparse_layers(network) if self.frozen else training_layers(network)

    def _left(self, network: nn.Module) -> tuple[str, ...]:
        """The frozen layers that stay as they are; where connections go, sparse ones."""
        if self.frozen:
            return ()
        found = frozen_layers(network)
        if self.what != "connections":
            return found
        sparse = sparse_layers(network)
        return tuple(name for name in found if name in sparse)

    def _moving(
        self, network: nn.Module, analysis: Any, table: ConnectionTable, order: Tensor, count: int
    ) -> Tensor:
        """The connections that move once the first ``count`` of an order are gone, by index."""
        if not self.regrowth:
            return order[:0]
        # A layer that was not called has no gradient, and one that is frozen would keep zeros.
        trains, seen = training_layers(network), analysis["connection_gradient"]
        able = torch.tensor([name in trains and name in seen for name in table.layers])
        live = int(able[table.owner].sum()) - int(able[table.owner[order[:count]]].sum())
        rest = order[count:]
        return rest[able[table.owner[rest]]][: round(self.regrowth * live)]

    def _regrown(
        self, analysis: Any, table: ConnectionTable, gone: Tensor, moving: Tensor
    ) -> dict[str, Pairs]:
        """Connections at the largest gradients, as many in each layer as it gave up to move."""
        found = {}
        shares = torch.bincount(table.owner[moving], minlength=len(table.layers)).tolist()
        for number, (name, share) in enumerate(zip(table.layers, shares, strict=True)):
            if share:
                gradient = analysis["connection_gradient"][name]
                mine = table.owner == number
                mine[gone] = False
                taken = table.rows[mine] * gradient.shape[1] + table.columns[mine]
                found[name] = strongest_free(gradient, taken, share)
        return found

    def _units(
        self,
        context: NetworkContext,
        analysis: Any,
        costs: Mapping[str, float],
        targets: Mapping[str, float],
    ) -> list[Proposal]:
        network, example = context.network, context.example
        left = self._left(network)
        worth = unit_worth(self.score, network, analysis)
        candidates = [
            Prunable(group, scores)
            for group in unit_groups(
                network, example, heads=self.what == "heads", frozen=self.frozen
            )
            if (scores := worth(group)) is not None
        ]

        def choose() -> tuple[dict[int, tuple[int, ...]], dict[str, float]] | None:
            chosen = least_units(network, example, candidates, targets=targets)
            if chosen is None:
                return None
            return chosen, costs_without(network, example, candidates, chosen=chosen, names=targets)

        found = self._steady(context, "units", choose)
        if found is None:
            raise self._unreachable(costs, kept_frozen(left))
        chosen, after = found
        self._check_left(costs, after)
        return [
            Proposal(
                candidates[number].removal(units),
                self._said(len(units), candidates[number].group.units, self.what, targets)
                + f" (all removals together: {_change(costs, after)}){noted(left)}",
            )
            for number, units in chosen.items()
        ]

    def _check_left(self, costs: Mapping[str, float], left: Mapping[str, float]) -> None:
        if all(left[name] < value / 2 for name, value in self.budget.items()):
            wanted = ", ".join(f"{name} {value:.4g}" for name, value in self.budget.items())
            raise StructureNetError(
                f"The smallest removal of {self.what} that meets the budget ({wanted}) leaves less"
                f" than half of it ({_change(costs, left)}). Give a smaller budget, or prune"
                " something else."
            )

    def _unreachable(self, costs: Mapping[str, float], kept: str) -> StructureNetError:
        wanted = ", ".join(f"{name} {value:.4g}" for name, value in self.budget.items())
        now = ", ".join(f"{name} {costs[name]:.4g}" for name in self.budget)
        return StructureNetError(
            f"The budget ({wanted}) cannot be met by pruning {self.what}, of which one stays in"
            f" each place{kept} (now: {now}). Allow more, or prune something else."
        )

    def _said(self, count: int, of: int, what: str, targets: Mapping[str, float]) -> str:
        wanted = ", ".join(f"{name} {value:.4g}" for name, value in targets.items())
        return f"prune {count} of {of} {what} by {self.score} to {wanted}"


def _moving(removal: RemoveConnections, grown: Pairs, said: str, *, entries: int) -> Proposal:
    """The removal, with what its layer grows instead; all is counted in weights."""
    if not grown:
        return Proposal(removal, said)
    count = len(grown) * entries
    reason = f"{said}, grow {count} connections anew where the gradient is largest"
    return Proposal(MoveConnections(removal.layer, removal.pairs, grown), reason)


def _change(before: Mapping[str, float], after: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {before[name]:.4g} to {value:.4g}" for name, value in after.items())


def _last_epoch(context: NetworkContext, component: str, what: What) -> int:
    """The epoch in which a component last removed such things; 0 if it never did."""
    last, removed = 0, False
    for entry in context.journal:
        if isinstance(entry, EditEntry):
            # A hybrid strategy puts the name of the one that asks in front of the reason.
            own = entry.component == component or entry.reason.startswith(f"{component}: ")
            removed |= own and isinstance(entry.edit, _REMOVALS[what])
        elif removed and "epoch" in entry.detail:
            last, removed = int(entry.detail["epoch"]), False
    return last
