"""The reader of time series: lazy, by slices, beside the writer or after it."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

import numpy as np

from structure_net._optional import missing
from structure_net.errors import SeriesError
from structure_net.logging.series import layout
from structure_net.logging.series.rows import RESUMED

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

ROWS_AT_ONCE: Final = 65_536


class Table:
    """One table of a file: nothing is read before a slice of it is asked for.

    Its length and its columns are those that were written when it was opened or last refreshed.
    Rows that a resumed run superseded are not counted.

    Args:
        group: The table's group in an open file.
        name: Its name.
    """

    def __init__(self, group: Any, name: str) -> None:
        self.name = name
        self._read_from(group)
        self._standing: tuple[range, ...] = ()
        self._names: dict[str, int] = {}

    def __repr__(self) -> str:
        return f"Table({self.name!r}, {len(self)} rows, columns {', '.join(self.columns)})"

    def _read_from(self, group: Any) -> None:
        self._path = group.file.filename
        self._data = {key: group[key] for key in ("names", "seq", "values", "rows")}

    def _refresh(self) -> None:
        # `rows` is written last and therefore read first: all that lies below it is on the disk.
        self._data["rows"].refresh()
        rows = int(self._data["rows"][0])
        for key in ("seq", "values", "names"):
            self._data[key].refresh()
        columns = self._data["values"].shape[1]
        raw = self._data["names"][:columns]
        self._names = {name.decode("utf-8"): column for column, name in enumerate(raw)}
        self._standing = (range(rows),)

    def _cut(self, superseded: Iterable[range]) -> None:
        """Leaves out the rows whose numbers lie in ``superseded``."""
        for numbers in superseded:
            first, last = (self._row_of(number) for number in (numbers.start, numbers.stop))
            pieces = (
                piece
                for kept in self._standing
                for piece in (
                    range(kept.start, min(kept.stop, first)),
                    range(max(kept.start, last), kept.stop),
                )
            )
            self._standing = tuple(piece for piece in pieces if piece)

    def _row_of(self, number: int) -> int:
        """The first row whose number is ``number`` or larger."""
        rows = int(self._data["rows"][0])
        return bisect_left(range(rows), number, key=lambda row: int(self._data["seq"][row]))

    def __len__(self) -> int:
        return sum(map(len, self._standing))

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns' names, in the order of their first value."""
        return tuple(self._names)

    def __iter__(self) -> Iterator[str]:
        """The columns' names."""
        return iter(self.columns)

    def __getitem__(self, column: str) -> Column:
        """One column, lazily.

        Raises:
            SeriesError: There is no such column.
        """
        self._place(column)
        return Column(self, column)

    def seq(self, start: int | None = None, stop: int | None = None) -> NDArray[np.int64]:
        """The numbers of the records that the rows ``start`` to ``stop`` come from."""
        with layout.readable(self._path):
            pieces = [self._data["seq"][a:b] for a, b in self._pieces(start, stop)]
        return np.concatenate([np.empty(0, np.int64), *pieces])

    def values(
        self,
        start: int | None = None,
        stop: int | None = None,
        *,
        columns: Sequence[str] | None = None,
    ) -> NDArray[np.float64]:
        """The rows ``start`` to ``stop``, as for a slice.

        Args:
            start: The first row; from the end if negative.
            stop: The row after the last.
            columns: Names in the order that is wanted; all if None.

        Returns:
            Shape ``(rows, columns)``. `present` tells what was not recorded from a NaN that was.

        Raises:
            SeriesError: There is no such column.
        """
        names = self.columns if columns is None else columns
        places = [self._place(name) for name in names]
        with layout.readable(self._path):
            pieces = [self._read(a, b, places) for a, b in self._pieces(start, stop)]
        return np.concatenate([np.empty((0, len(places))), *pieces])

    def pandas(
        self,
        start: int | None = None,
        stop: int | None = None,
        *,
        columns: Sequence[str] | None = None,
    ) -> pd.DataFrame:
        """The rows ``start`` to ``stop`` as a table whose index is ``seq``; see `values`.

        Raises:
            ImportError: pandas is not installed; it comes with the extra ``export``.
        """
        try:
            import pandas as pd
        except ImportError as error:
            raise missing("pandas", "export", error) from error
        names = list(self.columns if columns is None else columns)
        index = pd.Index(self.seq(start, stop), name="seq")
        return pd.DataFrame(self.values(start, stop, columns=columns), index=index, columns=names)

    def blocks(
        self, size: int = ROWS_AT_ONCE, *, columns: Sequence[str] | None = None
    ) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float64]]]:
        """All rows in blocks of at most ``size``: what `seq` and `values` return for each."""
        for start in range(0, len(self), size):
            stop = min(start + size, len(self))
            yield self.seq(start, stop), self.values(start, stop, columns=columns)

    def _pieces(self, start: int | None, stop: int | None) -> Iterator[tuple[int, int]]:
        """The rows ``start`` to ``stop`` as runs of rows of the file."""
        first, last, _ = slice(start, stop).indices(len(self))
        for kept in self._standing:
            piece = kept[max(first, 0) : max(last, 0)]
            if piece:
                yield piece.start, piece.stop
            first, last = first - len(kept), last - len(kept)

    def _read(self, start: int, stop: int, places: Sequence[int]) -> NDArray[np.float64]:
        data = self._data["values"]
        if not places:
            return np.empty((stop - start, 0))
        # Chunks hold several columns, so that one wide read beats many narrow ones.
        low, high = min(places), max(places) + 1
        wide: NDArray[np.float64] = data[start:stop, low:high]
        return wide[:, [place - low for place in places]]

    def _place(self, column: str) -> int:
        if column not in self._names:
            raise SeriesError(
                f"There is no column {column!r} in {self.name!r}; known: "
                f"{', '.join(self._names) or 'none'}."
            )
        return self._names[column]


class Column:
    """One column of a table; a slice of it is read when it is asked for.

    Args:
        table: Its table.
        name: Its name.
    """

    def __init__(self, table: Table, name: str) -> None:
        self.name = name
        self._table = table

    def __repr__(self) -> str:
        return f"Column({self.name!r}, {len(self)} rows)"

    def __len__(self) -> int:
        return len(self._table)

    def __iter__(self) -> Iterator[np.float64]:
        """The values, read at once."""
        return iter(self[:])

    def __getitem__(self, rows: slice | int) -> Any:
        """A slice of the column, shape ``(rows,)``, or one value; NaN where nothing was recorded.

        Raises:
            IndexError: There is no such row.
        """
        if not isinstance(rows, slice):
            place = range(len(self))[rows]
            return self._table.values(place, place + 1, columns=(self.name,))[0, 0]
        step = 1 if rows.step is None else rows.step
        if step < 0:
            return self[:][rows]
        read = self._table.values(rows.start, rows.stop, columns=(self.name,))
        return read[::step, 0]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[np.float64]:
        values: NDArray[np.float64] = self[:]
        return values if dtype is None else values.astype(dtype)


def _state(path: Path) -> tuple[int, int, int]:
    found = path.stat()
    return found.st_ino, found.st_size, found.st_mtime_ns


class Series:
    """A file of time series, open for reading; use it in a ``with`` block, or close it.

    The file may be written meanwhile by another process (see `refresh`), and may have lost its
    writer to a kill.

    Args:
        path: The file.
        superseded: Whether rows are shown that a resumed run superseded.

    Raises:
        SeriesError: The file is missing, is no time series, or is of a newer version.
    """

    def __init__(self, path: str | Path, *, superseded: bool = False) -> None:
        self.path = Path(path)
        self._superseded = superseded
        self._tables: dict[str, Table] = {}
        self._open()
        try:
            self.refresh()
        except SeriesError:
            self._file.close()
            raise

    def _open(self) -> None:
        """Opens the file as it is now; one that nobody writes without patience for a writer.

        Beside a writer HDF5 takes what does not fit for half-written, and tries again for minutes.
        """
        import h5py

        try:
            self._written = layout.is_written(self.path)
            self._state = _state(self.path)
            self._file = h5py.File(
                self.path, "r", libver="latest", swmr=self._written, locking=False
            )
        except FileNotFoundError:
            raise SeriesError(f"{self.path} does not exist; {layout.anew(self.path)}.") from None
        except OSError as error:
            raise SeriesError(
                f"{self.path} cannot be read as HDF5 ({error}); {layout.anew(self.path)}."
            ) from error
        try:
            with layout.readable(self.path):
                layout.check(self._file, self.path)
                for name, group in self._file.items():
                    if name in self._tables:
                        self._tables[name]._read_from(group)
                    else:
                        self._tables[name] = Table(group, name)
        except SeriesError:
            self._file.close()
            raise

    def __repr__(self) -> str:
        return f"Series({str(self.path)!r}: {', '.join(self.tables)})"

    @property
    def tables(self) -> tuple[str, ...]:
        """The names of the tables."""
        return tuple(self._tables)

    def __iter__(self) -> Iterator[str]:
        """The tables' names."""
        return iter(self.tables)

    def __getitem__(self, table: str) -> Table:
        """One table, lazily.

        Raises:
            SeriesError: There is no such table.
        """
        if table not in self._tables:
            raise SeriesError(
                f"There is no table {table!r} in {self.path}; known: {', '.join(self._tables)}."
            )
        return self._tables[table]

    def refresh(self) -> None:
        """Takes note of what the writer added meanwhile; rows are whole or not there.

        Raises:
            SeriesError: The file is damaged, or gone.
        """
        with layout.readable(self.path):
            if not self._written and _state(self.path) != self._state:
                self._file.close()
                self._open()
            self._look()

    def _look(self) -> None:
        # A resumption is on the disk before any row that follows it; so it is looked at last.
        resumed = self._tables.get(RESUMED)
        for table in self._tables.values():
            table._refresh()
        if resumed is None or self._superseded:
            return
        resumed._refresh()
        if not len(resumed):
            return
        after = resumed.values(columns=("after",))[:, 0]
        cuts = [range(int(a) + 1, int(b)) for a, b in zip(after, resumed.seq(), strict=True)]
        for table in self._tables.values():
            if table is not resumed:
                table._cut(cuts)

    def close(self) -> None:
        """Closes the file; a second call does nothing."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *reason: object) -> None:
        self.close()
