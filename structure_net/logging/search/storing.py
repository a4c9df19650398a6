"""What an index keeps on disk: facts and vectors in SQLite, which survives kills, and a lock."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
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
from structure_net.logging.search.rows import Rows

if TYPE_CHECKING:
    from numpy.typing import NDArray

_TABLES: Final = """
CREATE TABLE IF NOT EXISTS experiments (
    id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT UNIQUE NOT NULL, stamp TEXT NOT NULL,
    facts TEXT NOT NULL, fields TEXT NOT NULL, words TEXT NOT NULL,
    traits BLOB NOT NULL, structure BLOB NOT NULL
);
"""
_LOCK: Final = "index.lock"
_FILE: Final = "index.sqlite"


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
