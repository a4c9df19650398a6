"""How well experiments answer: a question by its conditions, a likeness by its vector."""

from __future__ import annotations

from collections.abc import Set as Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, Protocol

import numpy as np

from structure_net.logging.search.conditions import (
    Condition,
    OfNumber,
    OfTime,
    OfTrait,
    OfWord,
)
from structure_net.logging.search.moments import EVENTS_OF
from structure_net.logging.search.questions import Question
from structure_net.logging.search.vocabulary import CONCEPTS, TOGETHER

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from structure_net.logging.search.rows import Rows

    Scores = NDArray[np.float64]

_DIGITS: Final = 9
"""Scores are rounded, so that none depends on which others are computed beside it."""

_SILENCE: Final = 0.015
"""At most this much is lost by what a question does not speak of."""

_SILENT_EDITS: Final = 0.02
"""At most this much is lost by edits that a question does not speak of."""

_NEARLY_ALL: Final = 0.9

_REJECTIONS: Final = frozenset((
    "taken_back", "mostly_taken_back", "all_taken_back", "one_taken_back", "none_taken_back",
))  # fmt: skip

_LOUD: Final = 3.0
"""How much has to stand out for half of that."""

_NEAR: Final = 0.15
"""An order is looked for among the experiments that lose at most this much more than the best."""


class Wanted(Protocol):
    """What rows are compared with."""

    @property
    def kind(self) -> Literal["traits", "structure"]:
        """Which of the rows' vectors `vector` is compared with."""

    @property
    def vector(self) -> NDArray[np.float32]:
        """The vector near which likely rows are."""

    def scores(self, rows: Rows, places: NDArray[np.intp]) -> Scores:
        """The scores of some rows, each the same to the bit whichever others stand beside it."""

    def proposed(self, rows: Rows) -> list[NDArray[np.intp]] | None:
        """Rows that may be the best besides those near the vector; None if all may be."""

    def reach(self, rows: Rows) -> float:
        """What a row scores at most that was not proposed."""


@dataclass(frozen=True, slots=True, eq=False)
class Likeness:
    """Nearness to a vector of structure; which rows may be the nearest is left to the engine."""

    vector: NDArray[np.float32]
    kind: Literal["traits", "structure"] = "structure"

    def scores(self, rows: Rows, places: NDArray[np.intp]) -> Scores:
        """``1 / (1 + distance)``."""
        # No row's sum may depend on how many rows there are, as it does in a matrix product.
        picked = rows.structure if len(places) == len(rows) else rows.structure[places]
        apart = np.sqrt(np.sum((picked - self.vector) ** 2, axis=1))
        return np.asarray(1.0 / (1.0 + apart.astype(np.float64)))

    def proposed(self, _: Rows) -> list[NDArray[np.intp]]:
        """None besides those near the vector."""
        return []

    def reach(self, _: Rows) -> float:
        """Not known: what the engine proposes is trusted."""
        return 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """How far the conditions of a question are met: 1 where all are."""

    question: Question
    kind: Literal["traits", "structure"] = "traits"

    @property
    def vector(self) -> NDArray[np.float32]:
        """The traits that are looked for."""
        return self.question.vector

    def scores(self, rows: Rows, places: NDArray[np.intp]) -> Scores:
        """1 less what is lost by each condition; orders are looked for among the best so far."""
        pairs = list(zip(self.question.conditions, self.question.weights.tolist(), strict=True))
        lost = np.zeros(len(rows))
        for condition, weight in pairs:
            if not condition.ranks:
                lost += weight * condition.loss(condition.grades(rows))
        orders = [(condition, weight) for condition, weight in pairs if condition.ranks]
        if orders:
            among = _among(lost, places)
            for condition, weight in orders:
                lost = lost + weight * condition.loss(condition.grades(rows, among))
        lost = lost + self._unsaid(rows)
        return np.round(1.0 - lost[places], _DIGITS)

    def _unsaid(self, rows: Rows) -> Scores:
        """What is lost by the trait that stands out most of those that are not spoken of.

        People name what is unusual: of two experiments that answer a question alike, the one is
        meant about which there is less left to say.
        """
        parts = (part for condition in self.question.conditions for part in condition.parts)
        said = {part.trait for part in parts if isinstance(part, OfTrait)}
        said = said.union(*(group for group in TOGETHER if group & said))
        left = np.array([trait not in said for trait in CONCEPTS], dtype=np.float64)
        loudest = np.max(rows.salience * left, axis=1, initial=0.0)
        lost = _SILENCE * loudest / (_LOUD + loudest)
        return np.asarray(lost + _SILENT_EDITS * self._unsaid_edits(said, rows))

    def _unsaid_edits(self, said: Collection[str], rows: Rows) -> Scores:
        """How much edits say that are not spoken of: half for one kind, at most 1."""
        spoken = {event for trait in said for event in EVENTS_OF.get(trait, ())}
        for condition in self.question.conditions:
            for part in condition.parts:
                if isinstance(part, OfNumber):
                    spoken.update(name.removeprefix("edits.") for name in part.fields)
                elif isinstance(part, OfTime):
                    spoken.update(part.events)
                elif isinstance(part, OfWord) and part.word in rows.places_of:
                    spoken.update(_going_with(part.word, rows))
        kept = np.ones(len(rows))
        for kind, there in rows.kinds.items():
            if kind not in spoken:
                kept = np.where(there, kept / 2, kept)
        if said.isdisjoint(_REJECTIONS):
            kept = kept * (1 - 0.3 * rows.rejected)
        return 1 - kept

    def proposed(self, rows: Rows) -> list[NDArray[np.intp]] | None:
        """Rows that have a word of the question, and those in which a trait is the clearest."""
        found = []
        for condition in self.question.conditions:
            if condition.denied or not condition.looked_up:
                continue
            for part in condition.parts:
                if isinstance(part, OfWord) and part.word in rows.places_of:
                    found.append(rows.places_of[part.word])
                if isinstance(part, OfTrait):
                    found.append(rows.clearest(part.place)[0])
        return found if all(one.looked_up for one in self.question.conditions) else None

    def reach(self, rows: Rows) -> float:
        """What a row scores at most that has no word and in no trait is among the clearest."""
        lost = 0.0
        for condition, weight in zip(
            self.question.conditions, self.question.weights.tolist(), strict=True
        ):
            lost += weight * float(condition.loss(np.array([condition.rest(rows)]))[0])
        return 1.0 - lost


def _going_with(word: str, rows: Rows) -> list[str]:
    """The kinds of edits that nearly all rows have that have a word, such as a strategy's name."""
    places = rows.places_of[word]
    return [kind for kind, there in rows.kinds.items() if np.mean(there[places]) > _NEARLY_ALL]


def _among(lost: Scores, places: NDArray[np.intp]) -> NDArray[np.bool_]:
    among = np.zeros(len(lost), dtype=np.bool_)
    if len(places):
        among[places] = lost[places] <= np.min(lost[places]) + _NEAR
    return among


def unmet(conditions: tuple[Condition, ...], rows: Rows, places: NDArray[np.intp]) -> list[str]:
    """The certain conditions that no row of ``places`` meets, in words."""
    certain = (one for one in conditions if one.sureness == "certain")
    return [one.shown for one in certain if not np.any(one.grades(rows)[places] > 1 - 1e-9)]
