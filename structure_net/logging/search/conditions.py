"""What a question asks for, as conditions that every experiment meets to some degree.

A condition has parts, which are ways to meet it: the best one counts. How much it weighs follows
from how sure it is that it was meant, and from how rare it is that it is met. What an experiment
lacks is counted on a logarithmic scale: halfway is nearly met, and not at all costs far more than
twice as much. So one clear contradiction weighs more than several near misses.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

import numpy as np

from structure_net.logging.search.vocabulary import CONCEPTS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from structure_net.logging.search.quantities import Scale
    from structure_net.logging.search.rows import Rows

    Grades = NDArray[np.float64]

_PLACE: Final = {concept: place for place, concept in enumerate(CONCEPTS)}
CLEAREST: Final = 0.25
"""A trait is scaled so that the clearest case in the index counts 1, unless it is below this."""

Sureness = Literal["certain", "named", "said", "loose", "hint"]
_WEIGHT: Final[dict[Sureness, float]] = {
    "certain": 1.6,
    "named": 1.2,
    "said": 1.0,
    "loose": 0.5,
    "hint": 0.2,
}
_LEAST: Final[dict[Sureness, float]] = {
    "certain": 0.02,
    "named": 0.05,
    "said": 0.08,
    "loose": 0.2,
    "hint": 0.3,
}
"""The chance that a condition is said of an experiment that does not meet it at all."""

_MEASURED: Final = ("accuracy", "loss")
"""What falls from its best as well as from its beginning."""

_RARITY: Final = 0.5
"""How much of a condition's weight comes from the logarithm of how rarely it is met."""

_EVEN: Final = 0.4
"""The part of a loss that is even, so that of two clear cases the clearer one goes first."""


@dataclass(frozen=True, slots=True)
class OfTrait:
    """A trait is there."""

    trait: str
    strength: float = 1.0

    @property
    def place(self) -> int:
        """The trait's place in a vector."""
        return _PLACE[self.trait]

    def grades(self, rows: Rows) -> Grades:
        """How clearly, against the clearest case; shape ``(rows,)``."""
        found = rows.traits[:, self.place].astype(np.float64) / self.top(rows)
        return self.strength * np.minimum(found, 1.0)

    def total(self, rows: Rows) -> float:
        """The sum of the grades."""
        return self.strength * float(rows.trait_sums[self.place]) / self.top(rows)

    def top(self, rows: Rows) -> float:
        """The grade that counts as 1."""
        return max(float(rows.trait_tops[self.place]), CLEAREST)

    def rest(self, rows: Rows) -> float:
        """The best grade but those of the rows in which the trait is the clearest."""
        _, left = rows.clearest(self.place)
        return self.strength * min(left / self.top(rows), 1.0)


@dataclass(frozen=True, slots=True)
class OfWord:
    """A word is among those of the experiment."""

    word: str
    strength: float = 1.0

    def grades(self, rows: Rows) -> Grades:
        """1 where it is, else 0; shape ``(rows,)``."""
        found = np.zeros(len(rows))
        if self.word in rows.places_of:
            found[rows.places_of[self.word]] = self.strength
        return found

    def total(self, rows: Rows) -> float:
        """The sum of the grades."""
        return self.strength * len(rows.places_of.get(self.word, ()))

    def rest(self, _: Rows) -> float:
        """The grade of rows without the word."""
        return 0.0


@dataclass(frozen=True, slots=True)
class OfNumber:
    """A field is a number, below or above one.

    Args:
        fields: Which fields may be meant; a name that ends in a point stands for all that begin so.
        sign: ``=``, ``<``, ``>`` or ``~`` (about).
        value: The number in the field's unit.
        scale: How far a field may be off; see `quantities.Scale`.
        strength: The grade where it is met.
    """

    fields: tuple[str, ...]
    sign: str
    value: float
    scale: Scale
    strength: float = 1.0

    def grades(self, rows: Rows) -> Grades:
        """1 where it is met, less the farther it is off; shape ``(rows,)``."""
        found = np.zeros(len(rows))
        for place, name in enumerate(rows.named(self.fields)):
            numbers = rows.column(name).numbers
            if numbers is not None:
                # What is likelier meant counts a little more.
                found = np.maximum(found, self._of(numbers) * max(0.7, 1 - 0.1 * place))
        return self.strength * found

    def _of(self, numbers: Grades) -> Grades:
        with np.errstate(all="ignore"):
            off = self._off(numbers)
            if self.sign == "<":
                off = np.where(numbers <= self.value, 0.0, off)
            if self.sign == ">":
                off = np.where(numbers >= self.value, 0.0, off)
            return np.nan_to_num(np.exp(-(off**2)), nan=0.0)

    def _off(self, numbers: Grades) -> Grades:
        """The distance in units of what is still about the same."""
        value, wide = self.value, 2.5 if self.sign == "~" else 1.0
        if self.scale == "count":
            return np.maximum(np.abs(numbers - value) - 0.4, 0.0) / (
                wide * (0.5 + 0.1 * abs(value))
            )
        if self.scale == "share" and value > 0.2:
            return np.abs(numbers - value) / (wide * max(0.006, 0.2 * min(value, 1 - value)))
        if value == 0:
            return np.where(numbers == 0, 0.0, 3.0)
        ratio = np.abs(np.log(np.maximum(numbers, 1e-12) / value))
        return ratio / (wide * (0.25 if self.scale == "share" else 0.12))

    def total(self, rows: Rows) -> float:
        """The sum of the grades."""
        return float(self.grades(rows).sum())


@dataclass(frozen=True, slots=True)
class OfChange:
    """A field was one number at birth and is another one in the end.

    Args:
        fields: Which fields may be meant.
        before: The number at birth.
        after: The number in the end.
        scale: As of `OfNumber`.
    """

    fields: tuple[str, ...]
    before: float
    after: float
    scale: Scale

    def grades(self, rows: Rows) -> Grades:
        """1 where both are met, less the farther one of them is off; shape ``(rows,)``."""
        found = np.zeros(len(rows))
        for name in self.fields:
            births = (f"start_{name}", f"best_{name}") if name in _MEASURED else (f"start_{name}",)
            start = OfNumber(births, "=", self.before, self.scale).grades(rows)
            end = OfNumber((name,), "=", self.after, self.scale).grades(rows)
            found = np.maximum(found, np.minimum(start, end))
        return found

    def total(self, rows: Rows) -> float:
        """The sum of the grades."""
        return float(self.grades(rows).sum())


@dataclass(frozen=True, slots=True)
class OfTime:
    """Something happened at a time.

    Args:
        events: What may be meant, the likeliest first; see `events.events_of`.
        windows: From when to when; of several each should have seen it.
        unit: ``run``: fractions of it; ``epoch``: epochs; ``left``: epochs before the end.
        strength: The grade where it is met.
        wide: How far beside a window is about the same; 0 for what the unit suggests.
    """

    events: tuple[str, ...]
    windows: tuple[tuple[float, float], ...]
    unit: Literal["run", "epoch", "left"] = "run"
    strength: float = 1.0
    wide: float = 0.0

    def grades(self, rows: Rows) -> Grades:
        """The part that lay within, and whether some did; shape ``(rows,)``."""
        found = np.zeros(len(rows))
        for place, event in enumerate(self.events):
            found = np.maximum(found, self._of(event, rows) * max(0.7, 1 - 0.1 * place))
        return self.strength * found

    def _of(self, event: str, rows: Rows) -> Grades:
        places, times = rows.times(event)
        if self.unit != "run":
            lengths = rows.column("epochs").numbers
            if lengths is None or not len(places):
                return np.zeros(len(rows))
            times = (times if self.unit == "epoch" else 1 - times) * lengths[places]
        near = np.array([self._near(times, *window) for window in self.windows])
        counts = np.maximum(np.bincount(places, minlength=len(rows)), 1)
        share = np.bincount(places, near.max(axis=0, initial=0.0), minlength=len(rows)) / counts
        met = np.zeros((len(self.windows), len(rows)))
        for one, values in zip(met, near, strict=True):
            np.maximum.at(one, places, values)
        return np.asarray(met.mean(axis=0) * (0.4 + 0.6 * share))

    def _near(self, times: Grades, low: float, high: float) -> Grades:
        off = np.maximum(np.maximum(low - times, times - high), 0.0)
        usual = 0.1 if self.unit == "run" else 0.6 + 0.07 * min(high if high < 1e6 else low, 1e6)
        wide = self.wide or usual
        return np.asarray(np.exp(-((off / wide) ** 2)))

    def total(self, rows: Rows) -> float:
        """The sum of the grades."""
        return float(self.grades(rows).sum())


@dataclass(frozen=True, slots=True)
class OfRank:
    """A field is the largest or the smallest of all that are asked for, or is the next to it.

    Args:
        field: Of what.
        largest: Whether the order begins with the largest.
        skipped: How many stand before the one that is meant.
        strength: The grade of that one.
    """

    field: str
    largest: bool
    skipped: int = 0
    strength: float = 1.0

    def grades(self, rows: Rows, among: NDArray[np.bool_]) -> Grades:
        """1 for the first of ``among``, .9 for the next, .7 for the tenth; shape ``(rows,)``."""
        found = np.zeros(len(rows))
        numbers = rows.dates if self.field == "created" else rows.column(self.field).numbers
        if numbers is None:
            return found
        places = np.flatnonzero(among & np.isfinite(numbers))
        order = np.argsort(-numbers[places] if self.largest else numbers[places], kind="stable")
        sorted_numbers = numbers[places][order]
        first = np.searchsorted(
            -sorted_numbers if self.largest else sorted_numbers,
            -sorted_numbers if self.largest else sorted_numbers,
        )
        found[places[order]] = 1 / (1 + np.log1p(np.abs(first - self.skipped)) / 5)
        return self.strength * np.where(found > 0, (found - 0.3) / 0.7, 0.0)

    def total(self, rows: Rows) -> float:
        """What counts as the sum of the grades: one in fifty is among the first."""
        return len(rows) / 50


Part = OfTrait | OfWord | OfNumber | OfChange | OfTime | OfRank


@dataclass(frozen=True, slots=True)
class Condition:
    """Something that a question asks for.

    Args:
        text: The words of the question.
        parts: The ways to meet it.
        denied: Whether it should not be so.
        sureness: How sure it is that this was meant.
        shown: How it was understood, in words.
        at: The place of its first word in the question; -1 if nobody knows.
        clause: The part of the question in which it stands.
    """

    text: str
    parts: tuple[Part, ...]
    denied: bool = False
    sureness: Sureness = "said"
    shown: str = ""
    at: int = -1
    clause: int = 0

    @property
    def ranks(self) -> bool:
        """Whether a part depends on which other experiments are asked for."""
        return any(isinstance(part, OfRank) for part in self.parts)

    @property
    def looked_up(self) -> bool:
        """Whether traits and words alone decide."""
        return all(isinstance(part, OfTrait | OfWord) for part in self.parts)

    def grades(self, rows: Rows, among: NDArray[np.bool_] | None = None) -> Grades:
        """How far each experiment meets it, shape ``(rows,)``, in [0, 1]."""
        everything = np.ones(len(rows), dtype=np.bool_) if among is None else among
        found = np.zeros(len(rows))
        for part in self.parts:
            one = part.grades(rows, everything) if isinstance(part, OfRank) else part.grades(rows)
            found = np.maximum(found, one)
        return 1.0 - found if self.denied else found

    def weight(self, rows: Rows) -> float:
        """How much it counts: the surer it is and the rarer it is met, the more."""
        count = max(len(rows), 1)
        total = min(sum(part.total(rows) for part in self.parts), count)
        total = count - total if self.denied else total
        return _WEIGHT[self.sureness] * (1 + _RARITY * math.log(1 + count / (0.5 + total)))

    def loss(self, grades: Grades) -> Grades:
        """What is lost by meeting it this far: 0 at a grade of 1, 1 at 0."""
        least = _LEAST[self.sureness]
        kept = np.clip(grades, 0.0, 1.0)
        steep = np.log(least + (1 - least) * kept) / math.log(least)
        return (1 - _EVEN) * steep + _EVEN * (1 - kept)

    def rest(self, rows: Rows) -> float:
        """The best grade that rows can have which no look-up of its parts proposes."""
        if self.denied or not self.looked_up:
            return 1.0
        parts = (part for part in self.parts if isinstance(part, OfTrait | OfWord))
        return max((part.rest(rows) for part in parts), default=0.0)
