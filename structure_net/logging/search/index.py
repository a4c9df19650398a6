"""The index of experiments: find them by meaning, by structure and by filter."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, Self

import numpy as np

from structure_net.errors import SearchError
from structure_net.logging.search.embedding import structure_vector
from structure_net.logging.search.facts import ExperimentFacts
from structure_net.logging.search.filters import Where, checked
from structure_net.logging.search.questions import Question, question_of
from structure_net.logging.search.reading import facts_of, run_folders, stamp_of
from structure_net.logging.search.rows import NO_ROWS, Rows
from structure_net.logging.search.scoring import Answer, Likeness, Wanted, unmet
from structure_net.logging.search.storing import Store

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from structure_net.logging.search.chroma import Chroma

EngineName = Literal["auto", "numpy", "chroma"]
_CHROMA: Final = "chroma"
_SAME: Final = 1e-6
"""Scores that differ by less are the same; the newer experiment goes first, then by name."""

_CANDIDATES: Final = 200


@dataclass(frozen=True, slots=True)
class Found:
    """An experiment that was found.

    Args:
        name: Its name.
        score: Of a question in words the part that it answers, about 0 to 1; of a likeness
            ``1 / (1 + distance)``; 1 where there was only a filter.
        facts: What is known of it.
    """

    name: str
    score: float
    facts: ExperimentFacts


class ExperimentIndex:
    """Experiments in a folder, found by what they are.

    The index holds nothing of its own: it can be deleted and rebuilt from the runs. Any number of
    processes search it; the first `add` (or `remove`, `rebuild`, `refresh`) makes this one its only
    writer until `close`.

    Answers do not depend on the engine: ChromaDB only proposes experiments, whose scores are then
    computed exactly. Where others could score as much (a filter, more ties than proposals) all rows
    are scored, which costs a few milliseconds for ten thousand.

    Args:
        folder: The index's own; it is made if it does not exist.
        engine: ``numpy`` scores every experiment. ``chroma`` asks ChromaDB for the likely ones
            first, which pays for very many; it comes with the extra ``search``. ``auto`` takes
            ChromaDB where this index was written with it before, else numpy.

    Raises:
        SearchError: The folder cannot be used.
        ImportError: ``engine`` is ``chroma`` and chromadb is not installed.
        ValueError: There is no such engine.
    """

    def __init__(self, folder: str | Path, engine: EngineName = "auto") -> None:
        if engine not in ("auto", "numpy", "chroma"):
            raise ValueError(f"engine must be 'auto', 'numpy' or 'chroma'; got {engine!r}.")
        self.folder = Path(folder)
        there = (self.folder / _CHROMA).is_dir()
        self._chroma: Chroma | None = None
        if engine == "chroma" or (engine == "auto" and there):
            from structure_net.logging.search.chroma import Chroma

            self._chroma = Chroma(self.folder / _CHROMA)
        self._store = Store(self.folder)
        self._rows = NO_ROWS
        self._seen: tuple[int, int] | None = None

    @property
    def engine(self) -> Literal["numpy", "chroma"]:
        """Which engine answers."""
        return "numpy" if self._chroma is None else "chroma"

    def __len__(self) -> int:
        return len(self._current())

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all experiments, in the order in which they were added."""
        return self._current().names

    def add(self, *experiments: ExperimentFacts | str | Path) -> tuple[str, ...]:
        """Adds experiments, all or none; one whose name is there already is replaced.

        Args:
            experiments: Folders of runs, or what is known of an experiment.

        Returns:
            Their names: a run's is the full path of its folder.

        Raises:
            SearchError: A folder holds no run, or another program writes to the index.
        """
        read = [_read(one) for one in experiments]
        self._store.add(read)
        self._follow()
        return tuple(facts.name for facts, _ in read)

    def remove(self, *names: str) -> None:
        """Forgets experiments; a name that is not there is none.

        Raises:
            SearchError: Another program writes to the index.
        """
        self._store.remove(names)
        self._follow()

    def rebuild(self, folders: Iterable[str | Path]) -> tuple[str, ...]:
        """Forgets everything and reads the runs that lie in or under ``folders``.

        Returns:
            Their names.

        Raises:
            SearchError: A run cannot be read, or another program writes to the index.
        """
        places = [place for folder in folders for place in run_folders(folder)]
        read = [_read(place) for place in places]
        self._store.clear()
        self._store.add(read)
        self._follow()
        return tuple(facts.name for facts, _ in read)

    def refresh(self, folder: str | Path) -> tuple[SearchError, ...]:
        """Brings the index to the runs in or under a folder: reads those that are new or changed.

        Runs that are no longer there are forgotten.

        Returns:
            Why runs could not be read, one error each.

        Raises:
            SearchError: Another program writes to the index and there is something to write.
        """
        known = self._store.stamps()
        there = {str(place): stamp_of(place) for place in run_folders(folder)}
        changed = [place for place, stamp in there.items() if known.get(place) != stamp]
        gone = [name for name in known if name not in there]
        read, errors = [], []
        for place in changed:
            try:
                read.append(_read(place))
            except SearchError as error:
                errors.append(error)
        if read:
            self._store.add(read)
        if gone:
            self._store.remove(gone)
        if read or gone:
            self._follow()
        return tuple(errors)

    def find(self, text: str = "", *, where: Where | None = None, n: int = 10) -> tuple[Found, ...]:
        """The experiments that a question in words is about, the best first.

        Args:
            text: Such as "sparse nets that plateaued early"; empty for all that a filter lets pass.
            where: Conditions on fields, which hold exactly, such as ``{"density": {"<": .05},
                "dataset": "mnist"}``; see `facts.fields_of` for the fields.
            n: How many at most.

        Raises:
            SearchError: No word of the question says anything about any experiment, or a filter
                names an unknown field or operator.
            ValueError: ``n`` is less than 1.
        """
        rows = self._current()
        places = self._passing(where, n)
        if not text.strip():
            everything = np.arange(len(rows)) if places is None else places
            return self._named(everything, np.ones(len(everything)), n)
        question = self.asked(text)
        if len(rows) and not question.conditions:
            raise SearchError(
                f"No word of {text!r} says anything about the experiments in this index. Ask for "
                "traits such as sparse, deep, grew wide, plateaued early, diverged or overfit, for "
                "data sets or strategies."
            )
        return self._best(Answer(question), places, n)

    def asked(self, text: str) -> Question:
        """What is understood of a question: see `questions.Question`."""
        return question_of(text, self._current())

    def unmet(self, text: str, *, where: Where | None = None) -> tuple[str, ...]:
        """What nothing meets of a question and its filters, one sentence each.

        Args:
            text: As in `find`: of it, comparisons with numbers count.
            where: As in `find`.
        """
        rows = self._current()
        places = self._passing(where, 1)
        if places is not None and len(places) == 0 and len(rows):
            return tuple(self._missed(where or {}))
        if not text.strip():
            return ()
        everything = np.arange(len(rows)) if places is None else places
        return tuple(
            f"No run has {shown}; those that come nearest stand first."
            for shown in unmet(self.asked(text).conditions, rows, everything)
        )

    def _missed(self, where: Where) -> Iterator[str]:
        """By which of its conditions a filter lets nothing pass."""
        for name, condition in where.items():
            others = {key: value for key, value in where.items() if key != name}
            alone = self._passing({name: condition}, 1)
            left = self._passing(others, 1)
            count = len(self._rows) if left is None else len(left)
            if alone is not None and len(alone) == 0:
                yield f"No run passes the filter on {name}; {count} pass the others."
            elif count:
                yield f"Without the filter on {name}, {count} runs pass."

    def similar(
        self, run: str | Path | ExperimentFacts, *, where: Where | None = None, n: int = 10
    ) -> tuple[Found, ...]:
        """The experiments whose structure is most like that of another one, the likest first.

        Args:
            run: An experiment's name, the folder of a run, or what is known of an experiment. It is
                not among those found.
            where: As in `find`.
            n: How many at most.

        Raises:
            SearchError: ``run`` is neither in the index nor the folder of a run, or see `find`.
            ValueError: ``n`` is less than 1.
        """
        facts = run if isinstance(run, ExperimentFacts) else self._known(run)
        rows = self._current()
        places = self._passing(where, n)
        itself = rows.names.index(facts.name) if facts.name in rows.names else None
        if places is not None:
            places = places[places != itself]
        vector = structure_vector(facts)
        found = self._best(Likeness(vector), places, n + (itself is not None))
        return tuple(one for one in found if one.name != facts.name)[:n]

    def close(self) -> None:
        """Closes the index and lets another process write; a second call does nothing."""
        self._store.close()
        if self._chroma is not None:
            self._chroma.close()
            self._chroma = None

    def _known(self, run: str | Path) -> ExperimentFacts:
        facts = self._store.facts(str(run)) or self._store.facts(str(Path(run).resolve()))
        return facts if facts is not None else facts_of(run)

    def _current(self) -> Rows:
        seen = self._store.changes()
        if seen != self._seen:
            self._rows = self._store.rows(self._rows)
            self._seen = seen
        return self._rows

    def _follow(self) -> None:
        if self._chroma is not None:
            self._chroma.follow(self._current())

    def _passing(self, where: Where | None, n: int) -> NDArray[np.intp] | None:
        """The places of the rows that meet a filter; None without one."""
        if n < 1:
            raise ValueError(f"n must be at least 1; got {n}.")
        if not where:
            return None
        rows = self._current()
        passing = np.ones(len(rows), dtype=np.bool_)
        for name, condition in (checked(where, rows.known) if len(rows) else {}).items():
            column = rows.column(name)
            column.check(name, condition)
            passing &= column.passing(condition)
        return np.flatnonzero(passing)

    def _best(self, wanted: Wanted, places: NDArray[np.intp] | None, n: int) -> tuple[Found, ...]:
        likely = None
        if places is None and self._chroma is not None and len(self._rows) > _CANDIDATES:
            likely = wanted.proposed(self._rows)
        if likely is not None:
            near = self._candidates(wanted, likely, max(_CANDIDATES, 2 * n))
            scores = wanted.scores(self._rows, near)
            reach = wanted.reach(self._rows)
            if len(near) > n and np.sort(scores)[-n] > reach + _SAME:
                return self._named(near, scores, n)
        places = np.arange(len(self._rows)) if places is None else places
        return self._named(places, wanted.scores(self._rows, places), n)

    def _candidates(
        self, wanted: Wanted, likely: list[NDArray[np.intp]], count: int
    ) -> NDArray[np.intp]:
        """The rows that may be the best.

        Those that ChromaDB proposes, those that it does not know, and those that were proposed for
        their words and traits: a graph of neighbours often misses what is unlike all else.
        """
        assert self._chroma is not None
        rows = self._rows
        near = np.intersect1d(self._chroma.near(wanted.kind, wanted.vector, count), rows.ids)
        unknown = np.setdiff1d(rows.ids, self._chroma.known)
        proposed = np.searchsorted(rows.ids, np.concatenate([near, unknown]))
        return np.unique(np.concatenate([proposed, *likely]))

    def _named(
        self, places: NDArray[np.intp], scores: NDArray[np.float64], n: int
    ) -> tuple[Found, ...]:
        if len(places) == 0:
            return ()
        alike = np.round(scores / _SAME)
        order = np.lexsort((self._rows.ranks[places], -alike))[:n]
        named = ((self._rows.names[int(places[k])], float(scores[k])) for k in order)
        found = ((name, score, self._store.facts(name)) for name, score in named)
        return tuple(Found(name, score, facts) for name, score, facts in found if facts is not None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *reason: object) -> None:
        self.close()


def _read(experiment: ExperimentFacts | str | Path) -> tuple[ExperimentFacts, str]:
    """What is known of an experiment, with a stamp that changes when its run's files do."""
    if isinstance(experiment, ExperimentFacts):
        return experiment, ""
    # The stamp is taken first: what is written meanwhile is read once more the next time.
    stamp = stamp_of(experiment)
    return facts_of(experiment), stamp
