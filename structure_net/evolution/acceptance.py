"""Whether growth is kept: policies that stand between a strategy's wish and the network."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final, Literal

import torch

from structure_net.core.arguments import check_number, check_positive, check_whole
from structure_net.core.optimizers import adam_for
from structure_net.errors import StructureNetError
from structure_net.evolution.batches import (
    ITERABLE_AGAIN,
    Batch,
    forward,
    loss_of,
    random_state_kept,
)
from structure_net.evolution.context import NetworkContext
from structure_net.evolution.measuring import held_out

_FRESH_RATE: Final = 1e-2

Growth = Callable[[NetworkContext], NetworkContext]
"""Grows the context that it is given, in place, and returns it; deterministic."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether to grow, and how.

    Args:
        accepted: Whether.
        measured: What the policy measured: plain data, for the journal.
        chosen: Which of the candidates, from 0.
    """

    accepted: bool
    measured: Mapping[str, Any] = field(default_factory=dict)
    chosen: int = 0


class Acceptance(ABC):
    """Decides whether a growth is carried out.

    ``compares``: whether it wants several candidates to choose from, rather than all that a
    strategy proposes as one growth.
    """

    compares: ClassVar[bool] = False

    @abstractmethod
    def judge(self, context: NetworkContext, grow: Growth) -> Verdict:
        """The verdict; ``context`` and everything in it stay as they are, bit for bit.

        Args:
            context: What would grow.
            grow: The growth, to be tried on a `NetworkContext.fork`.
        """

    def choose(self, context: NetworkContext, growths: Sequence[Growth]) -> Verdict:
        """The verdict on candidates, of which one at most is carried out; see `judge`.

        Args:
            context: What would grow.
            growths: The candidates, at least one; only one unless `compares`.
        """
        return self.judge(context, growths[0])


@dataclass(frozen=True, slots=True)
class Always(Acceptance):
    """Every growth is kept."""

    def judge(self, context: NetworkContext, grow: Growth) -> Verdict:
        """See `Acceptance.judge`."""
        return Verdict(accepted=True)


@dataclass(frozen=True, slots=True)
class Trial(Acceptance):
    r"""A growth is kept if it does no harm: two forks, one grown, are trained and compared.

    Both forks see the same ``batches`` training batches, over several epochs if need be, each with
    its copy of the optimizer at the rate with which its schedule began (Adam where there is no
    optimizer yet). With scores :math:`s_0` of the fork that did not grow and :math:`s_1` of the one
    that did, on held-out batches, growth is kept if

    - by loss: :math:`s_1 \le (1 + d)\, s_0`;
    - by accuracy: :math:`s_1 \ge s_0 - d`,

    :math:`d` being ``performance_drop_threshold``. The forks are thrown away; torch's random state
    is as before. A loader that keeps a state of its own does advance.

    Args:
        batches: Training steps of each fork.
        performance_drop_threshold: The drop that is tolerated; negative to demand a gain.
        metric: What is compared.
        held_out: How many validation batches judge; all if None.
        learning_rate: Of all forks; None: the optimizer's own, 0.01 for a new one.

    Raises:
        TypeError: A number is none or not whole.
        ValueError: One is out of range, or ``metric`` is unknown.
    """

    batches: int = 20
    performance_drop_threshold: float = 0.0
    metric: Literal["loss", "accuracy"] = "loss"
    held_out: int | None = None
    learning_rate: float | None = None

    def __post_init__(self) -> None:
        _check_trial(self)

    def judge(self, context: NetworkContext, grow: Growth) -> Verdict:
        """See `Acceptance.judge`.

        Raises:
            StructureNetError: There is nothing to judge by: no validation loader, or no accuracy.
        """
        same, grown = _Race(self).scores(context, (_unchanged, grow))
        name = f"held_out_{self.metric}"
        kept = _no_worse(grown, same, self)
        return Verdict(kept, {name: grown, f"{name}_without": same})


@dataclass(frozen=True, slots=True)
class Tournament(Acceptance):
    """The best of several candidates is kept, if it is better than no growth.

    Each candidate is grown on a fork of its own, and all are trained on the same batches beside a
    fork that did not grow, as in a `Trial`. Of a strategy's proposals each is a candidate; of a
    `HybridGrowthStrategy` in tournament mode, what each of its strategies proposes.

    Args:
        batches: Training steps of each fork.
        performance_drop_threshold: What the winner may be worse than no growth, as in `Trial`;
            by default it must be better.
        metric: What is compared.
        held_out: How many validation batches judge; all if None.
        learning_rate: Of all forks; None: the optimizer's own, 0.01 for a new one.
        largest: At most so many candidates are tried, the first ones.

    Raises:
        TypeError: A number is none or not whole.
        ValueError: One is out of range, or ``metric`` is unknown.
    """

    compares: ClassVar[bool] = True

    batches: int = 20
    performance_drop_threshold: float = 0.0
    metric: Literal["loss", "accuracy"] = "loss"
    held_out: int | None = None
    learning_rate: float | None = None
    largest: int = 8

    def __post_init__(self) -> None:
        _check_trial(self)
        check_whole(1, largest=self.largest)

    def judge(self, context: NetworkContext, grow: Growth) -> Verdict:
        """See `Acceptance.judge`: a tournament of one."""
        return self.choose(context, [grow])

    def choose(self, context: NetworkContext, growths: Sequence[Growth]) -> Verdict:
        """See `Acceptance.choose`; of equals the first wins.

        Raises:
            StructureNetError: There is nothing to judge by: no validation loader, or no accuracy.
        """
        same, *grown = _Race(self).scores(context, (_unchanged, *growths[: self.largest]))
        best = (min if self.metric == "loss" else max)(grown)
        chosen, name = grown.index(best), f"held_out_{self.metric}"
        measured = {name: best, f"{name}_without": same, f"{name}_of_candidates": grown}
        helps = best != same and _no_worse(best, same, self)
        return Verdict(helps, measured, chosen)


@dataclass(frozen=True, slots=True)
class _Race:
    """Forks that are trained on the same batches, and scored on the same held-out ones."""

    rules: Trial | Tournament

    def scores(self, context: NetworkContext, growths: Sequence[Growth]) -> list[float]:
        """The score of a fork under each growth; one that is not finite counts as the worst."""
        if context.validation_loader is None:
            raise StructureNetError(
                "A trial judges growth on held-out batches, and this context has no"
                " validation_loader. Give it one, or accept with Always()."
            )
        with random_state_kept(context.device):
            state = torch.get_rng_state()
            data = tuple(_batches(context, self.rules.batches))
            return [self._trained(grow(context.fork()), data, state) for grow in growths]

    def _trained(
        self, context: NetworkContext, data: Iterable[Batch], state: torch.Tensor
    ) -> float:
        """The held-out score of a fork after training it."""
        torch.set_rng_state(state)
        network, rate = context.network, self.rules.learning_rate
        optimizer = context.optimizer or adam_for(network.parameters(), _FRESH_RATE)
        for group in optimizer.param_groups:
            group["lr"] = group.get("initial_lr", group["lr"]) if rate is None else rate
        network.train()
        for inputs, targets in data:
            optimizer.zero_grad(set_to_none=True)
            loss_of(context.loss, forward(network, inputs), targets).backward()
            optimizer.step()
        return self._score(context)

    def _score(self, context: NetworkContext) -> float:
        score = held_out(context, self.rules.held_out)
        if self.rules.metric == "loss":
            return score.loss if math.isfinite(score.loss) else math.inf
        if score.accuracy is None:
            raise StructureNetError(
                "metric='accuracy' needs targets that are classes, and outputs that score them."
                " Compare by metric='loss'."
            )
        return score.accuracy


def _unchanged(context: NetworkContext) -> NetworkContext:
    return context


def _no_worse(grown: float, same: float, rules: Trial | Tournament) -> bool:
    drop = rules.performance_drop_threshold
    if rules.metric == "loss":
        return grown <= (1 + drop) * same and math.isfinite(grown)
    return grown >= same - drop


def _check_trial(rules: Trial | Tournament) -> None:
    check_whole(1, batches=rules.batches)
    check_number(performance_drop_threshold=rules.performance_drop_threshold)
    if rules.held_out is not None:
        check_whole(1, held_out=rules.held_out)
    if rules.learning_rate is not None:
        check_positive(learning_rate=rules.learning_rate)
    if rules.metric not in {"loss", "accuracy"}:
        raise ValueError(f"metric must be 'loss' or 'accuracy'; got {rules.metric!r}.")


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
