"""Where in a lab's spool the records of each hypothesis lie, so that nobody reads the rest.

A lab is asked for one hypothesis at a time; without this, every question would read the records of
all. The spool is looked through once; afterwards only what was appended since is.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from structure_net.logging import Stored, current, read

_OWNERS: Final = {"search": "search", "setting": "search"}
"""The fields that say whose a record is, other than ``hypothesis``."""


class SpoolIndex:
    """The numbers of the records by kind and by hypothesis or search; numbers alone are kept.

    Args:
        folder: The spool's.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._last = 0
        self._places: dict[tuple[str, str], list[range]] = defaultdict(list)

    def records(self, kind: str, owner: str | None = None) -> Iterator[Stored]:
        """The records of a kind, in order, one at a time.

        Args:
            kind: Which kind.
            owner: Of which hypothesis or search; of all if None.

        Raises:
            SpoolError: There is no spool, or it is damaged.
        """
        self._refresh()
        wanted = [
            place
            for (known, whose), places in self._places.items()
            if known == kind and owner in (None, whose)
            for place in places
        ]
        for place in sorted(wanted, key=lambda one: one.start):
            for stored in read(self._folder, place.start - 1):
                if stored.seq >= place.stop:
                    break
                yield stored

    def _refresh(self) -> None:
        for stored in read(self._folder, self._last):
            if stored.kind == "resumed":  # what stands is another thing now
                self._begin_anew()
                return
            self._take(stored)
            self._last = stored.seq

    def _begin_anew(self) -> None:
        self._places.clear()
        for stored in current(self._folder):
            self._take(stored)
            self._last = stored.seq

    def _take(self, stored: Stored) -> None:
        owner = ""
        if stored.kind in ("hypothesis", "trial", "evidence", *_OWNERS):
            owner = str(stored.data[_OWNERS.get(stored.kind, "hypothesis")])
        places = self._places[stored.kind, owner]
        if places and places[-1].stop == stored.seq:
            places[-1] = range(places[-1].start, stored.seq + 1)
        else:
            places.append(range(stored.seq, stored.seq + 1))
