"""Dynamic sparse training: connections that do little move to where they may do more.

Three methods drop the weakest live connections of the sparse layers and make as many new ones, so
that the number of connections of the network stays. They differ in where the new ones come. How
many connections each layer has to begin with is decided when the network is made: evenly, or by
`structure_net.core.erdos_renyi_kernel` (``create_standard_network(..., allocation=...)``).
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from structure_net.core.arguments import check_number, check_whole
from structure_net.core.drawing import free_places
from structure_net.core.sparsity import SparseLayer
from structure_net.core.statistics import sparse_layers
from structure_net.core.weights import kernel_norms
from structure_net.errors import StructureNetError
from structure_net.evolution.components.strategies.frozen import (
    check_layers_train,
    training_layers,
)
from structure_net.evolution.context import NetworkContext
from structure_net.evolution.editing import Proposal, derived_seed
from structure_net.evolution.interfaces import EditingStrategy
from structure_net.evolution.metrics.rewiring import (
    as_pairs,
    closest_to_zero,
    cosine_drop_rate,
    kernel_shares,
    random_free,
    strongest_free,
    strongest_of,
    weakest,
)
from structure_net.evolution.metrics.validity import Unavailable
from structure_net.surgery.edits import MoveConnections, RemoveConnections

Pairs = tuple[tuple[int, int], ...]

_GRADIENT: Final = "connection_gradient"
_MOMENTUM: Final = "connection_momentum"
_CANDIDATES: Final = "candidate_gradient"


@dataclass(frozen=True, slots=True, eq=False)
class LayerDrop:
    """What one sparse layer gives up.

    Args:
        pairs: The connections, sorted.
        live: How many the layer has.
        kept: The places that stay taken, ``output * columns + column``, ascending. Shape ``(k,)``,
            int64, on the CPU.
        shape: That of the layer's pattern.
        entries: The weights of each connection: 1, or the entries of a kernel.
    """

    pairs: Pairs
    live: int
    kept: Tensor
    shape: tuple[int, int]
    entries: int = 1

    @property
    def room(self) -> int:
        """How many places are free behind the drop."""
        return self.shape[0] * self.shape[1] - len(self.kept)


class DynamicSparseTraining(EditingStrategy):
    r"""What the methods share: the rate, and that as many weights come as go.

    Of the live connections of each sparse layer the share :math:`\tfrac{\alpha}{2} (1 + \cos(\pi t
    / T))` is dropped after ``t`` epochs. A layer whose connections all exist is left alone, and so
    is one that is frozen, whose weight does not require a gradient, and one that was not called,
    where its gradient is asked for.

    Args:
        drop_rate: :math:`\alpha`, in (0, 1).
        horizon: ``T`` in epochs, from which on nothing moves; None: the rate stays.

    Raises:
        TypeError: A number is none or not whole.
        ValueError: An argument is out of range.
    """

    def __init__(self, drop_rate: float = 0.3, horizon: int | None = None) -> None:
        check_number(drop_rate=drop_rate)
        if not 0 < drop_rate < 1:
            raise ValueError(f"drop_rate must be in (0, 1); got {drop_rate}.")
        check_whole(1, horizon=1 if horizon is None else horizon)
        self.drop_rate = drop_rate
        self.horizon = horizon

    def rate(self, epoch: int) -> float:
        """The share of the live connections that is dropped after ``epoch`` epochs."""
        if self.horizon is None:
            return self.drop_rate
        return cosine_drop_rate(self.drop_rate, epoch, self.horizon)

    def propose(self, context: NetworkContext, analysis: Any) -> list[Proposal]:
        """For each sparse layer, what goes and what comes, in one edit.

        Raises:
            StructureNetError: The network has no sparse layer, or all are frozen.
        """
        if not sparse_layers(context.network):
            raise StructureNetError(
                f"{type(self).__name__} moves connections of sparse layers; this"
                f" {type(context.network).__name__} has none. Make the network with"
                " create_standard_network, or one of your own sparse with"
                " structure_net.surgery.sparsify(model, density)."
            )
        check_layers_train(context.network, "move")
        rate = self.rate(context.history.epoch)
        found = {
            name: self._dropped(layer, rate)
            for name, layer in training_layers(context.network).items()
            if layer.density < 1 and self._sees(name, analysis)
        }
        drops = {name: drop for name, drop in found.items() if drop.pairs}
        grown = self._grown(drops, context, analysis)
        return list(_proposals(drops, grown, rate, self._why, self._scale))

    def options(self, context: NetworkContext, analysis: Any) -> tuple[tuple[Proposal, ...], ...]:
        """One candidate: what comes takes the places of what goes, between layers too."""
        found = self.proposals(context, analysis)
        return (found,) if found else ()

    def _dropped(self, layer: SparseLayer, rate: float) -> LayerDrop:
        shape = (layer.out_channels, len(layer.sources))
        places = layer.places.cpu()
        live = layer.live_weights.detach().cpu()
        strength = kernel_norms(live, 1) if live.dim() > 1 else live
        chosen = self._weakest(strength, rate)[: len(places) - 1]
        # numpy's is many times as fast as torch's.
        stays = np.ones(len(places), dtype=np.bool_)
        stays[chosen.numpy()] = False
        kept = torch.from_numpy(places.numpy()[np.flatnonzero(stays)])
        entries = math.prod(live.shape[1:])
        return LayerDrop(as_pairs(places[chosen], shape[1]), len(places), kept, shape, entries)

    def _weakest(self, weights: Tensor, rate: float) -> Tensor:
        return weakest(weights.abs(), round(rate * len(weights)))

    def _sees(self, layer: str, analysis: Any) -> bool:
        """Whether the analysis tells what a layer's connections are worth."""
        return all(
            layer in analysis[key] for key in self.requires & {_GRADIENT, _MOMENTUM, _CANDIDATES}
        )

    @abstractmethod
    def _grown(
        self, drops: Mapping[str, LayerDrop], context: NetworkContext, analysis: Any
    ) -> Mapping[str, Pairs]:
        """The new connections of each layer."""

    @property
    def _scale(self) -> float:
        return 0.0

    @property
    @abstractmethod
    def _why(self) -> str:
        """What tells the new places."""


class SparseEvolutionaryTraining(DynamicSparseTraining):
    """SET: the weights closest to zero go, and as many connections come at random places.

    Args:
        drop_rate: See `DynamicSparseTraining`; constant in the paper.
        horizon: See there.
        scale: Of the new weights, in units of ``1 / sqrt(fan_in)``; the paper draws them as at
            birth. 0 keeps the function.
        by_sign: The smallest positive and the largest negative weights each lose their share, as
            the paper has it, rather than the smallest magnitudes.

    Raises:
        TypeError: A number is none or not whole.
        ValueError: An argument is out of range.

    References:
        Mocanu et al., "Scalable training of artificial neural networks with adaptive sparse
        connectivity inspired by network science", Nature Communications 2018.
    """

    def __init__(
        self,
        drop_rate: float = 0.3,
        horizon: int | None = None,
        *,
        scale: float = 1.0,
        by_sign: bool = True,
    ) -> None:
        super().__init__(drop_rate, horizon)
        check_number(0, scale=scale)
        self.scale = scale
        self.by_sign = by_sign

    def _weakest(self, weights: Tensor, rate: float) -> Tensor:
        return closest_to_zero(weights, rate) if self.by_sign else super()._weakest(weights, rate)

    def _grown(
        self, drops: Mapping[str, LayerDrop], context: NetworkContext, analysis: Any
    ) -> dict[str, Pairs]:
        del analysis
        place = (context.seed, context.iteration, context.journal.changes)
        return {
            name: random_free(
                drop.kept,
                drop.shape,
                len(drop.pairs),
                torch.Generator().manual_seed(derived_seed(*place, "rewired", name)),
            )
            for name, drop in drops.items()
        }

    @property
    def _scale(self) -> float:
        return self.scale

    @property
    def _why(self) -> str:
        return "at random"


class RigL(DynamicSparseTraining):
    r"""RigL: the smallest magnitudes go, and connections come where the loss's gradient is largest.

    The gradient is that of the dense weight in training mode, as the paper has it, averaged over
    the batches that `ConnectionAnalyzer` looks at: ten unless it is told otherwise; the paper takes
    one. The analyzer says what a batch costs, and takes ``mode="evaluation"``. New weights are 0; a
    connection that goes may come back with 0.

    With ``candidates`` the largest of so many places drawn at random are taken, which
    `ConnectionCandidateAnalyzer` offers: the cost follows the candidates and not the places, and
    none that goes comes back at once. Where a layer drops more than it is offered, the rest comes
    at random.

    Args:
        drop_rate: See `DynamicSparseTraining`.
        horizon: See there; three quarters of the training in the paper.
        candidates: Places of each layer that are compared, at most as many as the analyzer offers;
            all places if None, as the paper has it.

    Raises:
        TypeError: A number is none or not whole.
        ValueError: An argument is out of range.

    References:
        Evci et al., "Rigging the lottery: making all tickets winners", ICML 2020.
    """

    def __init__(
        self,
        drop_rate: float = 0.3,
        horizon: int | None = None,
        *,
        candidates: int | None = None,
    ) -> None:
        super().__init__(drop_rate, horizon)
        check_whole(1, candidates=1 if candidates is None else candidates)
        self.candidates = candidates
        self.requires = frozenset({_GRADIENT if candidates is None else _CANDIDATES})

    def _grown(
        self, drops: Mapping[str, LayerDrop], context: NetworkContext, analysis: Any
    ) -> dict[str, Pairs]:
        if self.candidates is None:
            score = analysis[_GRADIENT]
            return {
                name: strongest_free(score[name], drop.kept, len(drop.pairs))
                for name, drop in drops.items()
            }
        offered = analysis[_CANDIDATES]
        return {name: self._sampled(drop, *offered[name]) for name, drop in drops.items()}

    def _sampled(self, drop: LayerDrop, places: Tensor, score: Tensor) -> Pairs:
        """The strongest of some places, and others where they do not suffice."""
        width, count = drop.shape[1], len(drop.pairs)
        places, score = places[: self.candidates], score[: self.candidates]
        if len(places) >= count:
            return strongest_of(places, score, count, width=width)
        taken = torch.cat([drop.kept, places]).sort().values
        draw = torch.Generator().manual_seed(derived_seed(count, "rest", len(taken)))
        size = drop.shape[0] * width
        rest = free_places(taken, size, count - len(places), draw)
        return as_pairs(torch.cat([places, rest]).sort().values, width)

    @property
    def _why(self) -> str:
        return "where the gradient is largest"


class SparseMomentum(DynamicSparseTraining):
    r"""Sparse momentum: connections move between layers too, to where the momentum is largest.

    Every layer drops its smallest magnitudes. What all layers dropped together comes back in shares
    that follow the mean magnitude of the momentum of their live weights, and within a layer at the
    absent connections with the largest momentum, with weight 0. What is shared are weights: where
    kernels have several sizes, so many come as whole ones fit into what was dropped.

    The momentum is the gradient in training mode, smoothed over the batches that
    `ConnectionAnalyzer` looks at, at the weights as they are: an optimizer that keeps no momentum
    of absent connections has none to ask.

    Args:
        drop_rate: See `DynamicSparseTraining`; .5 in the paper.
        horizon: See there; the whole training in the paper.

    Raises:
        TypeError: A number is none or not whole.
        ValueError: An argument is out of range.

    References:
        Dettmers and Zettlemoyer, "Sparse networks from scratch: faster training without losing
        performance", 2019 (arXiv 1907.04840).
    """

    requires = frozenset({_MOMENTUM, "connection_ranking"})

    def __init__(self, drop_rate: float = 0.5, horizon: int | None = None) -> None:
        super().__init__(drop_rate, horizon)

    def _grown(
        self, drops: Mapping[str, LayerDrop], context: NetworkContext, analysis: Any
    ) -> dict[str, Pairs]:
        score, means = analysis[_MOMENTUM], analysis["connection_ranking"]
        room = {name: drop.room for name, drop in drops.items()}
        entries = {name: drop.entries for name, drop in drops.items()}
        total = sum(len(drop.pairs) * drop.entries for drop in drops.values())
        # The analyzer gives norms of kernels: the root of the mean square of their entries.
        momentum = {name: means.get(name, 0.0) / entries[name] ** 0.5 for name in drops}
        shares = kernel_shares(momentum, room, total, entries=entries)
        if isinstance(shares, Unavailable):
            shares = {name: len(drop.pairs) for name, drop in drops.items()}
        return {
            name: strongest_free(score[name], drop.kept, shares[name])
            for name, drop in drops.items()
        }

    @property
    def _why(self) -> str:
        return "where the momentum is largest"


def _proposals(
    drops: Mapping[str, LayerDrop],
    grown: Mapping[str, Pairs],
    rate: float,
    why: str,
    scale: float,
) -> Iterator[Proposal]:
    for name, drop in drops.items():
        gone, live = len(drop.pairs) * drop.entries, drop.live * drop.entries
        reason = f"drop the weakest {gone} of {live} connections ({rate:.1%})"
        if not grown[name]:
            yield Proposal(RemoveConnections(name, drop.pairs), reason)
            continue
        reason = f"{reason}, make {len(grown[name]) * drop.entries} connections {why}"
        yield Proposal(MoveConnections(name, drop.pairs, grown[name], scale=scale), reason)
