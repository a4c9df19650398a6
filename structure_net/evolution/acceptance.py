"""Whether growth is kept: policies that stand between a strategy's wish and the network."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import torch
from torch.optim import Adam

from structure_net.errors import StructureNetError
from structure_net.evolution.batches import ITERABLE_AGAIN, Batch, forward, random_state_kept
from structure_net.evolution.context import NetworkContext
from structure_net.evolution.measuring import held_out

_FRESH_RATE: Final = 1e-2

Growth = Callable[[NetworkContext], NetworkContext]
"""Grows the context that it is given, in place, and returns it; deterministic."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether to grow, and what the policy measured (plain data, for the journal)."""

    accepted: bool
    measured: Mapping[str, Any] = field(default_factory=dict)


class Acceptance(ABC):
    """Decides whether a growth is carried out."""

    @abstractmethod
    def judge(self, context: NetworkContext, grow: Growth) -> Verdict:
        """The verdict; ``context`` and everything in it stay as they are, bit for bit.

        Args:
            context: What would grow.
            grow: The growth, to be tried on a `NetworkContext.fork`.
        """


@dataclass(frozen=True, slots=True)
class Always(Acceptance):
    """Every growth is kept."""

    def judge(self, context: NetworkContext, grow: Growth) -> Verdict:
        """See `Acceptance.judge`."""
        return Verdict(accepted=True)


@dataclass(frozen=True, slots=True)
class Trial(Acceptance):
    r"""A growth is kept if it pays: two forks, one grown, are trained and compared.

    Both forks see the same ``batches`` training batches, over several epochs if need be, each with
    its copy of the optimizer at the rate with which its schedule began (Adam where there is no
    optimizer yet). With held-out losses :math:`L_0` of the fork
    that did not grow and :math:`L_1` of the one that did, growth is kept if
    :math:`L_1 \le (1 - g) L_0`, ``g`` being ``min_gain``. The forks are thrown away; torch's random
    state is as before. A loader that keeps a state of its own does advance.

    Args:
        batches: Training steps of each fork.
        min_gain: The relative gain that growth must bring; negative to tolerate a loss.
        held_out: How many validation batches judge; all if None.
        learning_rate: Of both forks; None: the optimizer's own, 0.01 for a new one.

    Raises:
        ValueError: ``batches`` is below 1.
    """

    batches: int = 20
    min_gain: float = 0.0
    held_out: int | None = None
    learning_rate: float | None = None

    def __post_init__(self) -> None:
        if self.batches < 1:
            raise ValueError(f"batches must be 1 or more; got {self.batches}.")

    def judge(self, context: NetworkContext, grow: Growth) -> Verdict:
        """See `Acceptance.judge`.

        Raises:
            StructureNetError: There is no validation loader to judge by.
        """
        if context.validation_loader is None:
            raise StructureNetError(
                "A trial judges growth by its held-out loss, and this context has no"
                " validation_loader. Give it one, or accept with Always()."
            )
        with random_state_kept(context.device):
            state = torch.get_rng_state()
            data = tuple(_batches(context, self.batches))
            same = self._trained(context.fork(), data, state)
            grown = self._trained(grow(context.fork()), data, state)
        kept = grown <= (1 - self.min_gain) * same
        return Verdict(kept, {"held_out_loss": grown, "held_out_loss_without": same})

    def _trained(
        self, context: NetworkContext, data: Iterable[Batch], state: torch.Tensor
    ) -> float:
        """The held-out loss of a fork after training it."""
        torch.set_rng_state(state)
        network = context.network
        optimizer = context.optimizer or Adam(network.parameters(), lr=_FRESH_RATE)
        for group in optimizer.param_groups:
            own = group.get("initial_lr", group["lr"])
            group["lr"] = own if self.learning_rate is None else self.learning_rate
        network.train()
        for inputs, targets in data:
            optimizer.zero_grad(set_to_none=True)
            context.loss(forward(network, inputs), targets).backward()
            optimizer.step()
        return held_out(context, self.held_out).loss


def _batches(context: NetworkContext, count: int) -> Iterator[Batch]:
    """``count`` training batches, from the first again where the loader ends before."""
    drawn = 0
    while drawn < count:
        start = drawn
        for batch in context.train_batches(count - drawn):
            drawn += 1
            yield batch
        if drawn == start:
            raise StructureNetError(f"The data_loader gave no batch for a trial. {ITERABLE_AGAIN}")
