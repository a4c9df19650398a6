"""The writer of time series: one per file, in blocks, with readers beside it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

import numpy as np

from structure_net.errors import SeriesError
from structure_net.logging.series import layout
from structure_net.logging.series.sealing import seal, unseal

if TYPE_CHECKING:
    from numpy.typing import NDArray

BLOCK: Final = 256
"""Rows that are compressed and written together."""


class _Table:
    """One table: the rows that wait in memory, and the data sets that they go to."""

    def __init__(self, group: Any, block: int) -> None:
        self.names: dict[str, int] = {
            raw.decode("utf-8"): column for column, raw in enumerate(group["names"][:])
        }
        self.rows = int(group["rows"][0])
        self._written = int(group["seq"][self.rows - 1]) if self.rows else -1
        self._named = len(self.names)
        self._group = {name: group[name] for name in ("names", "seq", "values", "rows")}
        self._block = block
        self._places: dict[tuple[str, ...], list[int]] = {}
        self._waiting: list[tuple[int, list[int], list[float]]] = []

    @property
    def last(self) -> int:
        """The number of the last row, written or waiting; -1 before the first."""
        return self._waiting[-1][0] if self._waiting else self._written

    @property
    def full(self) -> bool:
        """Whether the rows that wait complete a chunk of the file."""
        return (self.rows + len(self._waiting)) % self._block == 0

    def add(self, seq: int, values: Mapping[str, float]) -> None:
        """Takes one row into memory."""
        if seq <= self.last:
            raise SeriesError(f"A row must follow row {self.last}; got {seq}.")
        places = self._places_of(tuple(values))
        self._waiting.append((seq, places, [float(value) for value in values.values()]))

    def left_out(self, names: Iterable[str]) -> tuple[str, ...]:
        """Those of ``names`` that have no column, and for which there is no room."""
        if tuple(names) in self._places:
            return ()
        new = [name for name in names if name not in self.names]
        return tuple(new[layout.COLUMNS - len(self.names) :])

    def write(self) -> None:
        """Writes the rows that wait: names, then values, then how many rows are whole."""
        if self._waiting:
            seq = np.array([number for number, _, _ in self._waiting], np.int64)
            self._append(seq, self._block_of_rows())

    def _append(self, seq: NDArray[np.int64], block: NDArray[np.float64]) -> None:
        self._write_names()
        rows, last = self.rows + len(seq), int(seq[-1])
        _put(self._group["values"], self.rows, block)
        _put(self._group["seq"], self.rows, seq)
        _put(self._group["rows"], 0, np.array([rows], np.int64))
        # Until here, what a Ctrl-C stopped is done once more, and falls on itself.
        self.rows, self._written, self._waiting = rows, last, []

    def extend(self, seq: NDArray[np.int64], values: Mapping[str, NDArray[Any]]) -> None:
        """Writes many rows at once, after those that wait."""
        if len(seq) and (seq[0] <= self.last or (np.diff(seq) <= 0).any()):
            raise SeriesError(f"Rows must ascend and follow row {self.last}.")
        places = self._places_of(tuple(values))
        self.write()
        block = np.full((len(seq), len(self.names)), layout.MISSING)
        for place, column in zip(places, values.values(), strict=True):
            block[:, place] = _one_nan(np.asarray(column, dtype=np.float64))
        if len(seq):
            self._append(seq, block)

    def _block_of_rows(self) -> NDArray[np.float64]:
        block = np.full((len(self._waiting), len(self.names)), layout.MISSING)
        start = 0
        for places, rows in groupby(self._waiting, key=itemgetter(1)):
            part = _one_nan(np.array([row for _, _, row in rows]))
            block[start : start + len(part), places] = part
            start += len(part)
        return block

    def _write_names(self) -> None:
        new = [name.encode("utf-8") for name in list(self.names)[self._named :]]
        if new:
            _put(self._group["names"], self._named, np.array(new, dtype=f"S{layout.NAME_BYTES}"))
            self._named += len(new)

    def _places_of(self, names: tuple[str, ...]) -> list[int]:
        """The columns of ``names``; all the new ones are made, or none."""
        places = self._places.get(names)
        if places is None:
            new = [name for name in names if name not in self.names]
            self._check(new)
            self.names.update({name: len(self.names) + k for k, name in enumerate(new)})
            places = self._places[names] = [self.names[name] for name in names]
        return places

    def _check(self, new: Sequence[str]) -> None:
        for name in new:
            if not name or len(name.encode("utf-8")) > layout.NAME_BYTES or "\0" in name:
                raise SeriesError(
                    f"A column's name must have 1 to {layout.NAME_BYTES} bytes, none of them zero; "
                    f"got {name!r:.80}."
                )
        if len(self.names) + len(new) > layout.COLUMNS:
            raise SeriesError(
                f"A table has at most {layout.COLUMNS} columns; {new[-1]!r} would be one more. "
                "Record fewer metrics, or give names that repeat."
            )


def _one_nan(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """``values`` with one NaN for all NaNs, which is not `MISSING`."""
    return np.where(np.isnan(values), np.nan, values)


def _put(dataset: Any, start: int, block: NDArray[Any]) -> None:
    """Writes ``block`` to the rows from ``start`` on, which become the last, and flushes it."""
    # h5py's own indexing costs more than the writing of a small block.
    from h5py import h5s

    shape = (start + len(block), *block.shape[1:])
    if dataset.chunks is not None:
        dataset.id.set_extent(shape)
    place = dataset.id.get_space()
    place.select_hyperslab((start, *(0 for _ in shape[1:])), block.shape)
    dataset.id.write(h5s.create_simple(block.shape), place, block)
    dataset.flush()


class SeriesWriter:
    """Writes rows of named numbers to an HDF5 file, which others may read at the same time.

    Rows gather in memory and are written when a block is full, at `flush` and at `close`. What was
    written survives a ``kill -9`` of this process: `Series` still reads it. Such a file cannot be
    written to again; the spool that it comes from is the truth, from which `rebuild` makes it anew.

    Args:
        path: The file to make; it must not exist.
        tables: The tables that it will have.
        block: Rows in a block, at least 1. Larger blocks are faster and smaller.

    Raises:
        SeriesError: The file exists, or cannot be made.
        ValueError: ``block`` is less than 1, or there are no tables.
    """

    def __init__(self, path: str | Path, *, tables: Sequence[str], block: int = BLOCK) -> None:
        if block < 1:
            raise ValueError(f"block must be at least 1; got {block}.")
        if not tables:
            raise ValueError("tables must name at least one table; got none.")
        file = _opened(Path(path), "x")
        layout.create(file, tuple(tables), block=block)
        self._start(Path(path), file)

    @classmethod
    def continued(cls, path: str | Path) -> Self:
        """A writer that appends to a file which another one closed.

        Raises:
            SeriesError: The file is missing, is no time series, was not closed (its writer was
                killed or still writes), or has changed since.
        """
        _check_seal(Path(path))
        file = _opened(Path(path), "r+")
        writer = cls.__new__(cls)
        try:
            with layout.readable(path):
                layout.check(file, path)
                writer._start(Path(path), file)
        except SeriesError:
            file.close()
            raise
        return writer

    def _start(self, path: Path, file: Any) -> None:
        self.path = path
        self._file = file
        block = int(file.attrs["block"])
        # First, since beside readers HDF5 takes what is damaged for half-written, and waits.
        self._tables = {name: _Table(group, block) for name, group in file.items()}
        file.swmr_mode = True

    @property
    def tables(self) -> tuple[str, ...]:
        """The names of the tables."""
        return tuple(self._tables)

    @property
    def last(self) -> int:
        """The largest number of a row in any table, written or waiting; -1 before the first."""
        return max(table.last for table in self._tables.values())

    def append(self, table: str, seq: int, values: Mapping[str, float]) -> None:
        """Adds a row.

        Args:
            table: The name of one of the tables.
            seq: The number of the record that it comes from, larger than that of the row before.
            values: Numbers by name; a name that is new makes a new column. NaN is a number, too.

        Raises:
            SeriesError: There is no such table, ``seq`` does not follow, a name cannot be stored,
                or the file cannot be written.
        """
        place = self._table(table)
        place.add(seq, values)
        if place.full:
            with self._telling():
                place.write()

    def append_what_fits(
        self, table: str, seq: int, values: Mapping[str, float]
    ) -> tuple[str, ...]:
        """Adds a row without the values that would need columns beyond those that a table can have.

        Args:
            table: As in `append`.
            seq: As in `append`.
            values: As in `append`.

        Returns:
            The names that were left out.

        Raises:
            SeriesError: As in `append`, but for too many names.
        """
        left = self._table(table).left_out(values)
        out = frozenset(left)
        kept = {name: value for name, value in values.items() if name not in out} if out else values
        self.append(table, seq, kept)
        return left

    def extend(
        self, table: str, seq: NDArray[np.int64], values: Mapping[str, NDArray[Any]]
    ) -> None:
        """Writes many rows at once, to be read from then on.

        Args:
            table: As in `append`.
            seq: The rows' numbers, shape ``(rows,)``, ascending, the first above the last row's.
            values: One array of shape ``(rows,)`` for each column.

        Raises:
            SeriesError: As in `append`.
        """
        place = self._table(table)
        with self._telling():
            place.extend(np.asarray(seq, dtype=np.int64), values)

    def _table(self, name: str) -> _Table:
        if name not in self._tables:
            known = ", ".join(self._tables)
            raise SeriesError(f"There is no table {name!r} in {self.path}; known: {known}.")
        return self._tables[name]

    def flush(self) -> None:
        """Writes what waits; after it, readers and a later `Series` see every row.

        Raises:
            SeriesError: The file cannot be written.
        """
        if not self.path.exists():
            raise SeriesError(
                f"{self.path} was removed by another program; {layout.anew(self.path)}."
            )
        with self._telling():
            for table in self._tables.values():
                table.write()

    def close(self) -> None:
        """Writes what waits and closes the file; a second call does nothing.

        Raises:
            SeriesError: The file cannot be written.
        """
        if self._file:
            try:
                self.flush()
                with self._telling():  # a full disk is met here, too
                    self._file.close()
            except SeriesError:
                self._abandon()
                raise
            with suppress(OSError):  # without a seal it is made anew before others go on with it
                seal(self.path)

    def _abandon(self) -> None:
        """Lets go of a file that cannot be written.

        HDF5 would try again when the program ends, and crash it; what it still has goes nowhere.
        """
        if self._file:
            with Path(os.devnull).open("r+b") as nowhere:
                os.dup2(nowhere.fileno(), self._file.id.get_vfd_handle())
            with suppress(OSError, RuntimeError):
                self._file.close()

    @contextmanager
    def _telling(self) -> Iterator[None]:
        try:
            yield
        except (OSError, RuntimeError) as error:  # h5py raises either
            said = re.search(r"error message = '([^']+)'", f"{error}")
            raise SeriesError(
                f"{self.path} cannot be written: {said[1] if said else error}. Free space; then "
                f"{layout.anew(self.path)}."
            ) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *reason: object) -> None:
        self.close()


def _check_seal(path: Path) -> None:
    """Takes the seal off a file that is about to be gone on with."""
    try:
        if unseal(path):
            return
        said = "its writer still writes or was killed, or it has changed since it was closed"
    except FileNotFoundError:  # told of by HDF5
        return
    except OSError as error:
        said = error.strerror or str(error)
    raise SeriesError(
        f"{path} cannot be written to: {said}. If nobody writes: {layout.anew(path)}."
    )


def _opened(path: Path, mode: str) -> Any:
    import h5py

    try:
        return h5py.File(path, mode, libver="latest", locking="best-effort")
    except FileNotFoundError:
        what = "its folder does not exist" if mode == "x" else "it does not exist"
        raise SeriesError(f"{path} cannot be opened: {what}.") from None
    except FileExistsError:
        raise SeriesError(
            f"{path} exists already; open it with SeriesWriter.continued, or take another name."
        ) from None
    except OSError as error:
        raise SeriesError(
            f"{path} cannot be written to: it is damaged, or its writer still writes or was killed "
            f"({error}). If nobody writes: {layout.anew(path)}."
        ) from error
