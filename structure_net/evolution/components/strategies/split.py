"""Growth by division: units that are asked for most are copied, and the copies fade in."""

from __future__ import annotations

import math
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from structure_net.core.arguments import check_number, check_whole
from structure_net.evolution.components.strategies.fading import due_shares
from structure_net.evolution.components.strategies.feasible import (
    apart,
    editable_layers,
    possible,
    ranked_places,
)
from structure_net.evolution.context import NetworkContext
from structure_net.evolution.editing import Proposal
from structure_net.evolution.interfaces import EditingStrategy
from structure_net.graph.channels import ChannelGroup
from structure_net.surgery.edits import ShareNeurons, SplitNeurons

How = Literal["gradient_based", "activation_based", "hybrid"]


class NeuronSplitStrategy(EditingStrategy):
    """Splits the units with the highest scores in the layers with the highest scores.

    A copy begins with its parent's incoming weights and some noise. Its outgoing share fades in:
    0 at birth, so that the function stays whatever the noise, one half after
    ``progressive_activation_epochs``, while its parent's falls from 1 to one half. Each time the
    strategy is asked, it first proposes the hand-overs that are due (`due_shares`); so ask it every
    epoch, or let a `FadeInStrategy` stand beside it.

    Args:
        strategy: By what units are chosen: ``"gradient_based"``, the second moment of the gradient
            at the unit; ``"activation_based"``, the variance of its activation; ``"hybrid"``, the
            mean of both, each scaled to [0, 1] within the layer.
        score: The key of a mapping from layers to numbers in the analysis, the highest first.
        places: How many layers at once.
        fraction: Of a layer's units that are split at once, rounded up.
        count: How many units are split at once instead.
        noise: The standard deviation of what is added to a copy's incoming weights, relative to
            the weights' own.
        progressive_activation_epochs: How long a copy takes to its full share; 0: at once, and with
            noise the function moves. Copies in groups of several channels get theirs at once.

    Raises:
        TypeError: A number is none or not whole.
        ValueError: An argument is out of range.

    References:
        Chen et al., "Net2Net", ICLR 2016. The seed's ``AdaptiveNeuronDivision``.
    """

    def __init__(  # noqa: PLR0913 - the seed's settings
        self,
        strategy: How = "hybrid",
        *,
        score: str = "split_ranking",
        places: int = 1,
        fraction: float = 0.1,
        count: int | None = None,
        noise: float = 0.1,
        progressive_activation_epochs: int = 5,
    ) -> None:
        if strategy not in get_args(How):
            raise ValueError(
                f"strategy must be one of {', '.join(get_args(How))}; got {strategy!r}."
            )
        check_whole(1, places=places, count=1 if count is None else count)
        check_number(fraction=fraction)
        check_number(0, noise=noise)
        check_whole(0, progressive_activation_epochs=progressive_activation_epochs)
        if not 0 < fraction <= 1:
            raise ValueError(f"fraction must be in (0, 1]; got {fraction}.")
        if not math.isfinite(noise):
            raise ValueError(f"noise must be finite; got {noise}.")
        self.strategy: How = strategy
        self.score = score
        self.places = places
        self.fraction = fraction
        self.count = count
        self.noise = noise
        self.progressive_activation_epochs = progressive_activation_epochs
        keys = {"gradient_based": ("gradient",), "activation_based": ("activation",)}
        self._kinds = keys.get(strategy, ("gradient", "activation"))
        self.requires = frozenset({score, *(f"split_{kind}_scores" for kind in self._kinds)})

    def propose(self, context: NetworkContext, analysis: Any) -> list[Proposal]:
        """What is due of earlier splits, then new ones."""
        due = due_shares(context, self.progressive_activation_epochs)
        return [*due, *self._splits(context, analysis, due)]

    def options(self, context: NetworkContext, analysis: Any) -> tuple[tuple[Proposal, ...], ...]:
        """Each split behind what is due of earlier ones; that by itself where nothing splits."""
        found = self.proposals(context, analysis)
        due = tuple(one for one in found if isinstance(one.edit, ShareNeurons))
        splits = [one for one in found if one not in due]
        return tuple((*due, one) for one in splits) or ((due,) if due else ())

    def _splits(
        self, context: NetworkContext, analysis: Any, due: list[Proposal]
    ) -> list[Proposal]:
        groups = editable_layers(context)
        found: list[Proposal] = []
        divided: list[ChannelGroup] = []
        for layer, score in ranked_places(analysis, self.score).items():
            if len(found) == self.places:
                break
            group, units = groups.get(layer), self._units(analysis, layer)
            if group is None or units is None or len(units) != group.size:
                continue
            edit = self._edit(group, units)
            if apart(group, divided) and possible(context, edit):
                divided.append(group)
                reason = f"{self.score} of {score:.3g}, {self.strategy} choice of units"
                found.append(Proposal(edit, reason))
        return found

    def _units(self, analysis: Any, layer: str) -> Tensor | None:
        """The scores of a layer's channels. Shape ``(C,)``; None where they are not known."""
        found = [analysis[f"split_{kind}_scores"].get(layer) for kind in self._kinds]
        known = [
            torch.as_tensor(scores, dtype=torch.float64) for scores in found if scores is not None
        ]
        if len(known) < len(found) or any(one.shape != known[0].shape for one in known):
            return None
        scaled = known if len(known) == 1 else [_scaled(one) for one in known]
        return torch.stack(scaled).mean(0).nan_to_num(0.0)

    def _edit(self, group: ChannelGroup, scores: Tensor) -> SplitNeurons:
        count = math.ceil(self.fraction * group.units) if self.count is None else self.count
        each = torch.stack([scores[list(channels)].sum() for channels in group.channels])
        order = torch.argsort(each, descending=True, stable=True)[:count].tolist()
        indices = tuple(channel for unit in order for channel in group.channels[unit])
        fades = self.progressive_activation_epochs > 0 and group.granularity == 1
        return SplitNeurons(group.layer, indices, self.noise, 0.0 if fades else 0.5)


def _scaled(scores: Tensor) -> Tensor:
    """To [0, 1]; zeros where all are equal."""
    spread = scores.max() - scores.min()
    return (scores - scores.min()) / spread if spread > 0 else torch.zeros_like(scores)
