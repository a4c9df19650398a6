"""The experiments of an index in memory: fields, words and vectors, and what follows from them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from structure_net.logging.search.embedding import STRUCTURE_SIZE, TRAITS
from structure_net.logging.search.events import EDITS
from structure_net.logging.search.filters import Column

if TYPE_CHECKING:
    from numpy.typing import NDArray

CLEAREST: Final = 200
"""Of each trait so many rows are proposed in which it is the clearest."""


@dataclass(frozen=True, eq=False)
class Rows:
    """All experiments of an index, in the order in which they were added.

    Args:
        ids: Shape ``(rows,)``, ascending.
        names: Their names.
        fields: What they can be filtered by.
        words: What they can be found by besides their traits.
        traits: Shape ``(rows, TRAITS)``.
        structure: Shape ``(rows, STRUCTURE_SIZE)``.
    """

    ids: NDArray[np.int64]
    names: tuple[str, ...]
    fields: tuple[Mapping[str, Any], ...]
    words: tuple[tuple[str, ...], ...]
    traits: NDArray[np.float32]
    structure: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def known(self) -> frozenset[str]:
        """The fields that any experiment has."""
        return frozenset(name for one in self.fields for name in one)

    @cached_property
    def numeric(self) -> tuple[str, ...]:
        """The fields that are numbers where they are there first, in order."""
        first: dict[str, Any] = {}
        for one in self.fields:
            if first.keys() >= one.keys():
                continue
            first = {**one, **first}
        numbers = ((name, type(value)) for name, value in first.items())
        return tuple(sorted(name for name, kind in numbers if kind in (int, float)))

    def named(self, fields: Iterable[str]) -> list[str]:
        """Those of some fields that there are; one that ends in a point stands for all under it."""
        found: list[str] = []
        for field in fields:
            if field.endswith("."):
                found += sorted(name for name in self.known if name.startswith(field))
            elif field in self.known:
                found.append(field)
        return found

    def column(self, name: str) -> Column:
        """One field of all experiments."""
        if name not in self._columns:
            self._columns[name] = Column([one.get(name) for one in self.fields])
        return self._columns[name]

    def times(self, event: str) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
        """When an event happened: the rows, ascending, and the fractions of their runs.

        Args:
            event: See `events.events_of`; `events.EDITS` stands for edits of all kinds.
        """
        if event not in self._times:
            names = [f"at.{event}"]
            if event == EDITS:
                names = [name for name in self.known if name[:3] == "at." and name[3:4].isupper()]
            found = [
                (place, time)
                for place, one in enumerate(self.fields)
                for name in names
                for time in one.get(name, ())
            ]
            places, times = zip(*found, strict=True) if found else ((), ())
            self._times[event] = np.array(places, np.intp), np.array(times, np.float64)
        return self._times[event]

    @cached_property
    def places_of(self) -> Mapping[str, NDArray[np.intp]]:
        """For each word the rows that have it, ascending."""
        found: defaultdict[str, list[int]] = defaultdict(list)
        for place, words in enumerate(self.words):
            for word in words:
                found[word].append(place)
        return {word: np.array(places, dtype=np.intp) for word, places in found.items()}

    def clearest(self, trait: int) -> tuple[NDArray[np.intp], float]:
        """The `CLEAREST` rows in which a trait is the clearest, and how clear it is in the rest."""
        if trait not in self._clearest:
            grades = self.traits[:, trait]
            if len(self) <= CLEAREST:
                self._clearest[trait] = np.arange(len(self)), 0.0
            else:
                order = np.argpartition(-grades, CLEAREST)
                self._clearest[trait] = order[:CLEAREST], float(grades[order[CLEAREST]])
        return self._clearest[trait]

    @cached_property
    def trait_sums(self) -> NDArray[np.float64]:
        """The sum of each trait's grades, shape ``(TRAITS,)``."""
        return np.asarray(self.traits.astype(np.float64).sum(axis=0))

    @cached_property
    def trait_tops(self) -> NDArray[np.float64]:
        """The largest of each trait's grades, shape ``(TRAITS,)``."""
        return np.asarray(np.max(self.traits, axis=0, initial=0.0).astype(np.float64))

    @cached_property
    def salience(self) -> NDArray[np.float64]:
        """How much each trait of each row stands out, shape ``(rows, TRAITS)``.

        Its grade times the logarithm of how many rows have it at most one in ten of which are such.
        """
        tops = np.maximum(self.trait_tops, 0.25)
        rare = np.log(np.maximum(len(self), 1) / (0.5 + self.trait_sums / tops)) - np.log(10)
        return np.asarray(self.traits / tops * np.maximum(rare, 0.0))

    @cached_property
    def kinds(self) -> Mapping[str, NDArray[np.bool_]]:
        """Which rows have edits of each kind."""
        found = {}
        for name in sorted(self.known):
            numbers = self.column(name).numbers if name.startswith("edits.") else None
            if numbers is not None:
                found[name.removeprefix("edits.")] = np.nan_to_num(numbers) > 0
        return found

    @cached_property
    def rejected(self) -> NDArray[np.float64]:
        """The part of each row's edits that were taken back, shape ``(rows,)``."""
        back, tried = (self.column(name).numbers for name in ("taken_back", "attempts"))
        if back is None or tried is None:
            return np.zeros(len(self))
        return np.nan_to_num(back / np.maximum(tried, 1))

    @cached_property
    def by_letter(self) -> Mapping[str, frozenset[str]]:
        """The words that a question can name by their first letters, without those of numbers."""
        found: defaultdict[str, set[str]] = defaultdict(set)
        for word in self.places_of:
            if "=" not in word and ">" not in word:
                found[word[:1]].add(word)
        return {letter: frozenset(words) for letter, words in found.items()}

    @cached_property
    def dates(self) -> NDArray[np.float64]:
        """When each began, as the rank of its date; NaN where it is not known."""
        created = [str(one.get("created", "")) for one in self.fields]
        rank = {date: float(place) for place, date in enumerate(sorted(set(created) - {""}))}
        return np.array([rank.get(date, np.nan) for date in created])

    @cached_property
    def _clearest(self) -> dict[int, tuple[NDArray[np.intp], float]]:
        return {}

    @cached_property
    def _times(self) -> dict[str, tuple[NDArray[np.intp], NDArray[np.float64]]]:
        return {}

    @cached_property
    def _columns(self) -> dict[str, Column]:
        return {}

    @cached_property
    def ranks(self) -> NDArray[np.int64]:
        """Each row's rank among rows of one score: the newest first, then by name."""
        created = [str(one.get("created", "")) for one in self.fields]
        by_name = sorted(range(len(self)), key=self.names.__getitem__)
        order = sorted(by_name, key=created.__getitem__, reverse=True)
        ranks = np.empty(len(self), dtype=np.int64)
        # Sorting in reverse keeps the order of equals.
        ranks[order] = np.arange(len(self))
        return ranks


NO_ROWS: Final = Rows(
    np.empty(0, np.int64),
    (),
    (),
    (),
    np.empty((0, TRAITS), np.float32),
    np.empty((0, STRUCTURE_SIZE), np.float32),
)
