"""What an index keeps on disk: facts and vectors in SQLite, which survives kills, and a lock."""

from __future__ import annotations

import json
import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from structure_net.errors import SearchError
from structure_net.logging.search.describing import traits_of, words_about
from structure_net.logging.search.embedding import (
    STRUCTURE_SIZE,
    TRAITS,
    VERSION,
    structure_vector,
    trait_vector,
)
from structure_net.logging.search.facts import ExperimentFacts
from structure_net.logging.search.fields import fields_of
from structure_net.logging.search.filters import Column

if TYPE_CHECKING:
    from numpy.typing import NDArray

_TABLES: Final = """
CREATE TABLE IF NOT EXISTS experiments (
    id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT UNIQUE NOT NULL, stamp TEXT NOT NULL,
    facts TEXT NOT NULL, fields TEXT NOT NULL, words TEXT NOT NULL,
    traits BLOB NOT NULL, structure BLOB NOT NULL
);
"""
CLEAREST: Final = 200
_LOCK: Final = "index.lock"
_FILE: Final = "index.sqlite"


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


class Store:
    """The experiments of an index in a folder; many read, one writes.

    Args:
        folder: Is made if it does not exist.

    Raises:
        SearchError: The folder holds no index that this program can read, or cannot be made.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock: Any = None
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._database = sqlite3.connect(folder / _FILE, timeout=30, isolation_level=None)
            self._database.execute("PRAGMA journal_mode=WAL")
            self._database.executescript(_TABLES)
        except (OSError, sqlite3.Error) as error:
            raise self._broken(error) from error
        if self._version() != VERSION:
            self._embed_anew()

    def close(self) -> None:
        """Closes the file and gives the lock back; a second call does nothing."""
        self._database.close()
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def add(self, experiments: Iterable[tuple[ExperimentFacts, str]]) -> None:
        """Adds experiments with their stamps, all or none; one of the same name is replaced."""
        with self._writing():
            for facts, stamp in experiments:
                self._remove(facts.name)
                self._insert(facts, stamp)

    def remove(self, names: Iterable[str]) -> None:
        """Forgets experiments, all or none."""
        with self._writing():
            for name in names:
                self._remove(name)

    def clear(self) -> None:
        """Forgets everything."""
        with self._writing():
            self._database.execute("DELETE FROM experiments")

    def stamps(self) -> dict[str, str]:
        """The stamp of each experiment, by name."""
        return dict(self._asked("SELECT name, stamp FROM experiments"))

    def facts(self, name: str) -> ExperimentFacts | None:
        """The facts of an experiment; None if it is not there."""
        found = self._asked("SELECT facts FROM experiments WHERE name = ?", name)
        return ExperimentFacts.from_json(found[0][0]) if found else None

    def changes(self) -> tuple[int, int]:
        """A value that is another one after any change, here or in another process."""
        ((seen,),) = self._asked("PRAGMA data_version")
        return seen, self._database.total_changes

    def rows(self, known: Rows) -> Rows:
        """All rows, of which only those are read that are not ``known``."""
        ids = np.array([row[0] for row in self._asked("SELECT id FROM experiments ORDER BY id")])
        ids = ids.astype(np.int64)
        newest = int(known.ids[-1]) if len(known) else 0
        kept = np.flatnonzero(np.isin(known.ids, ids))
        new = self._asked(
            "SELECT id, name, fields, words, traits, structure FROM experiments"
            " WHERE id > ? ORDER BY id",
            newest,
        )
        old = known if len(kept) == len(known) else _picked(known, kept)
        return _joined(old, new) if new else old

    def _insert(self, facts: ExperimentFacts, stamp: str) -> None:
        traits, words = traits_of(facts), words_about(facts)
        self._database.execute(
            "INSERT INTO experiments (name, stamp, facts, fields, words, traits, structure)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                facts.name,
                stamp,
                facts.to_json(),
                json.dumps(fields_of(facts)),
                json.dumps(sorted(words)),
                trait_vector(traits).tobytes(),
                structure_vector(facts).tobytes(),
            ),
        )

    def _remove(self, name: str) -> None:
        self._database.execute("DELETE FROM experiments WHERE name = ?", (name,))

    def _version(self) -> int:
        ((found,),) = self._asked("PRAGMA user_version")
        return int(found)

    def _embed_anew(self) -> None:
        """Makes vectors from the facts, where they are of another version or there is no index."""
        with self._writing():
            found = self._asked("SELECT stamp, facts FROM experiments ORDER BY id")
            self._database.execute("DELETE FROM experiments")
            self._database.execute("DROP TABLE IF EXISTS words")  # of earlier versions
            for stamp, facts in found:
                self._insert(ExperimentFacts.from_json(facts), stamp)
            self._database.execute(f"PRAGMA user_version = {VERSION}")
        self.unlock()

    def _asked(self, question: str, *values: Any) -> list[Any]:
        try:
            return self._database.execute(question, values).fetchall()
        except sqlite3.Error as error:
            raise self._broken(error) from error

    @contextmanager
    def _writing(self) -> Iterator[None]:
        self.lock()
        try:
            with self._database:
                self._database.execute("BEGIN IMMEDIATE")
                yield
        except sqlite3.Error as error:
            raise self._broken(error) from error

    def lock(self) -> None:
        """Makes this the one writer, until it is closed.

        Raises:
            SearchError: Another one is.
        """
        if self._lock is not None:
            return
        try:
            import fcntl
        except ImportError:  # Windows has no such lock; SQLite's own keeps the file whole there
            return
        lock = (self.folder / _LOCK).open("w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            raise SearchError(
                f"{self.folder} is being written by another program; an index has one writer. "
                "Wait until it is done; searching needs no lock."
            ) from None
        self._lock = lock

    def unlock(self) -> None:
        """Lets another one write."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _broken(self, error: Exception) -> SearchError:
        return SearchError(
            f"The index in {self.folder} cannot be used: {error}. It holds nothing of its own: "
            "delete the folder, and rebuild it from the runs."
        )


def _picked(rows: Rows, places: NDArray[np.intp]) -> Rows:
    return Rows(
        rows.ids[places],
        tuple(rows.names[place] for place in places),
        tuple(rows.fields[place] for place in places),
        tuple(rows.words[place] for place in places),
        rows.traits[places],
        rows.structure[places],
    )


def _joined(old: Rows, new: list[Any]) -> Rows:
    ids, names, fields, words, traits, structure = zip(*new, strict=True)
    vectors = [
        np.frombuffer(b"".join(blobs), dtype=np.float32).reshape(len(new), size)
        for blobs, size in ((traits, TRAITS), (structure, STRUCTURE_SIZE))
    ]
    return Rows(
        np.concatenate([old.ids, np.array(ids, dtype=np.int64)]),
        old.names + names,
        old.fields + tuple(map(_fields, fields)),
        old.words + tuple(tuple(json.loads(text)) for text in words),
        np.concatenate([old.traits, vectors[0]]),
        np.concatenate([old.structure, vectors[1]]),
    )


def _fields(text: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(text)
    return {key: tuple(value) if isinstance(value, list) else value for key, value in found.items()}
