"""The journal: the ordered list of all edits and events of a network, its lineage.

A network's architecture can be rebuilt from its journal (`structure_net.surgery.replaying`) and
two networks can be compared by theirs (`structure_net.surgery.lineage`). How a layer is stored or
executed never enters it. The same seed gives an equal journal: times of writing are not compared.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Self, overload

from structure_net.errors import JournalError
from structure_net.surgery.edits import changes_of
from structure_net.surgery.entries import STANDS_FOR, START, EditEntry, Entry, EventEntry


class Journal(Sequence[Entry]):
    """The entries of one network in the order in which they happened; they are only appended.

    Two journals are equal if their entries are equal, their times aside.

    Args:
        entries: The first entries.
    """

    __slots__ = ("_changes", "_entries")
    __hash__ = None  # type: ignore[assignment]  # it changes, so that it cannot be a key

    def __init__(self, entries: Iterable[Entry] = ()) -> None:
        self._entries: list[Entry] = list(entries)
        self._changes = sum(map(_changes, self._entries))

    def append(self, entry: Entry) -> None:
        """Adds an entry at the end.

        Raises:
            TypeError: ``entry`` is neither an `EditEntry` nor an `EventEntry`.
        """
        if not isinstance(entry, EditEntry | EventEntry):
            raise TypeError(
                f"A journal holds EditEntry and EventEntry; got {type(entry).__name__}."
            )
        self._entries.append(entry)
        self._changes += _changes(entry)

    def fork(self) -> Journal:
        """A journal with the same entries, which goes on by itself."""
        twin = Journal()
        twin._entries, twin._changes = self._entries.copy(), self._changes
        return twin

    @property
    def changes(self) -> int:
        """How many things happened: an entry each, and two where connections moved; those before
        a journal was `trimmed`, too.

        Seeds follow from it, so that a run draws the same whether its connections move by one edit
        or by one that removes and one that adds.
        """
        return self._changes

    @property
    def edits(self) -> tuple[EditEntry, ...]:
        """The edits alone, in order."""
        return tuple(entry for entry in self._entries if isinstance(entry, EditEntry))

    def events(self, kind: str | None = None) -> tuple[EventEntry, ...]:
        """The events alone, in order; those of one ``kind`` if it is given."""
        return tuple(
            entry
            for entry in self._entries
            if isinstance(entry, EventEntry) and kind in (None, entry.kind)
        )

    def to_json(self) -> str:
        """The journal as JSON, one entry a line, as ``schemas/journal.v2.schema.json`` says.

        Edits of 64 connections and more hold them packed (`PackedPairs`), about 1.3 characters
        each.
        """
        from structure_net.surgery import records

        return records.journal_to_json(self._entries)

    @classmethod
    def from_json(cls, text: str | bytes, *, source: str = "journal") -> Self:
        """The journal that `to_json` wrote.

        Args:
            text: JSON.
            source: What to call it in errors.

        Raises:
            JournalError: It is no JSON, no journal, of a newer version, or a field is missing,
                unknown or of the wrong type; the message names the entry (from 0) and the field.
        """
        from structure_net.surgery import records

        return cls(records.journal_from_json(text, source=source))

    def save(self, path: str | Path) -> None:
        """Writes `to_json` to ``path``, whole or not at all.

        Raises:
            JournalError: The file cannot be written; an older one at ``path`` is as it was.
        """
        from structure_net.files import write_text

        text = self.to_json()
        try:
            write_text(path, text)
        except OSError as error:
            raise JournalError(
                f"The journal cannot be written to '{path}': {error.strerror or error}."
            ) from error

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Reads what `save` wrote.

        Raises:
            JournalError: The file cannot be read, or see `from_json`.
        """
        try:
            text = Path(path).read_bytes()
        except OSError as error:
            raise JournalError(
                f"The journal '{path}' cannot be read: {error.strerror or error}."
            ) from error
        return cls.from_json(text, source=str(path))

    def __len__(self) -> int:
        return len(self._entries)

    @overload
    def __getitem__(self, index: int) -> Entry: ...

    @overload
    def __getitem__(self, index: slice) -> Journal: ...

    def __getitem__(self, index: int | slice) -> Entry | Journal:
        if isinstance(index, slice):
            return Journal(self._entries[index])
        return self._entries[index]

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries)

    def __eq__(self, other: object) -> bool:
        return self._entries == other._entries if isinstance(other, Journal) else NotImplemented

    def __copy__(self) -> Journal:
        return self.fork()

    def __deepcopy__(self, memo: dict[int, object]) -> Journal:
        return self.fork()

    def __repr__(self) -> str:
        return f"Journal({len(self.edits)} edits, {len(self.events())} events)"


def _changes(entry: Entry) -> int:
    if isinstance(entry, EditEntry):
        return changes_of(entry.edit)
    return int(entry.detail.get(STANDS_FOR, 1)) if entry.kind == START else 1
