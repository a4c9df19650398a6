"""The role of a trigger, and how triggers are put together."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Final, Literal, get_args

from structure_net.core.arguments import shown
from structure_net.evolution.history import TrainingHistory

Whose = Literal["own", "all"]
"""Which growths a trigger counts: those of the strategy that it stands beside, or of all."""


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a network stands in its life, as the trigger beside one strategy sees it.

    A growth is what a strategy did and kept. What was rejected is none, nor are steps that carry an
    earlier growth on: the hand-overs by which the copies of split units fade in.

    Args:
        history: The epochs so far.
        step: Optimizer steps so far.
        growth_epoch: Epochs done when the strategy last grew the network; 0 if it never did.
        growth_step: Steps taken then; 0 if it never did.
        growths: How often it did.
        parameters: Live parameters now.
        samples: Samples seen since then; None where the loop does not tell.
        of_all: The same, counted from the growths of all strategies; None where there is only one.
    """

    history: TrainingHistory
    step: int = 0
    growth_epoch: int = 0
    growth_step: int = 0
    growths: int = 0
    parameters: int = 0
    samples: int | None = None
    of_all: Progress | None = None

    @property
    def epoch(self) -> int:
        """Epochs so far."""
        return self.history.epoch

    def counted(self, of: Whose) -> Progress:
        """The progress by the growths of the strategy, or of all."""
        return self if of == "own" or self.of_all is None else self.of_all


SINCE: Final[Mapping[Whose, str]] = {
    "own": "since the last growth",
    "all": "since the last growth of any strategy",
}
"""What a trigger says that it counts from."""


def check_whose(of: Whose) -> None:
    """Refuses what is neither "own" nor "all".

    Raises:
        ValueError: It is neither.
    """
    if of not in get_args(Whose):
        raise ValueError(f"of must be 'own' or 'all'; got {shown(of)}.")


class Trigger(ABC):
    """Answers with a reason to grow now, or None.

    ``every_step``: whether it is asked after each step rather than between epochs.
    """

    every_step: ClassVar[bool] = False

    @abstractmethod
    def due(self, progress: Progress) -> str | None:
        """The reason to grow now, in words; None if there is none.

        Raises:
            MissingAnalysisError: It reads a metric that none of the epochs so far has measured.
        """

    @property
    def in_steps(self) -> bool:
        """Whether this trigger, or one that it is made of, is asked after each step."""
        return self.every_step

    def __and__(self, other: Trigger) -> All:
        return All(self, other)

    def __or__(self, other: Trigger) -> Any:
        return Any(self, other)

    def __invert__(self) -> Not:
        return Not(self)


@dataclass(frozen=True, slots=True, init=False)
class _Several(Trigger):
    """Triggers together."""

    triggers: tuple[Trigger, ...]

    def __init__(self, *triggers: Trigger) -> None:
        object.__setattr__(self, "triggers", _parts(triggers))

    @property
    def in_steps(self) -> bool:
        """Whether any part is asked after each step."""
        return any(trigger.in_steps for trigger in self.triggers)


@dataclass(frozen=True, slots=True, init=False)
class All(_Several):
    """Due when all of ``triggers`` are."""

    def due(self, progress: Progress) -> str | None:
        """See `Trigger.due`."""
        reasons = [trigger.due(progress) for trigger in self.triggers]
        said = [reason for reason in reasons if reason is not None]
        return " and ".join(said) if len(said) == len(reasons) else None


@dataclass(frozen=True, slots=True, init=False)
class Any(_Several):
    """Due when any of ``triggers`` is; the first reason counts."""

    def due(self, progress: Progress) -> str | None:
        """See `Trigger.due`."""
        reasons = (trigger.due(progress) for trigger in self.triggers)
        return next((reason for reason in reasons if reason is not None), None)


@dataclass(frozen=True, slots=True)
class Not(Trigger):
    """Due when ``trigger`` is not."""

    trigger: Trigger

    def __post_init__(self) -> None:
        _parts((self.trigger,))

    @property
    def in_steps(self) -> bool:
        """Whether the part is asked after each step."""
        return self.trigger.in_steps

    def due(self, progress: Progress) -> str | None:
        """See `Trigger.due`."""
        return None if self.trigger.due(progress) is not None else f"not {self.trigger}"


def _parts(triggers: tuple[Trigger, ...]) -> tuple[Trigger, ...]:
    if not triggers:
        raise ValueError("A combination needs at least one trigger; got none.")
    for trigger in triggers:
        if not isinstance(trigger, Trigger):
            raise TypeError(f"A part of a combination must be a Trigger; got {shown(trigger)}.")
    return triggers
