"""Records as time series in HDF5, beside the spool that they can be rebuilt from."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING

from structure_net.errors import SeriesError
from structure_net.logging.series import (
    SERIES,
    TABLES,
    SeriesWriter,
    catch_up,
    rebuild,
    row_of,
)
from structure_net.logging.series.layout import COLUMNS
from structure_net.logging.series.rows import RESUMED
from structure_net.logging.series.writing import BLOCK

if TYPE_CHECKING:
    from structure_net.logging.guarding import Source
    from structure_net.logging.lines import Stored


class SeriesSink:
    """Writes the numbers of a stream to ``series.h5`` in the spool's folder.

    When a run is resumed the file goes on; where its writer was killed it is rebuilt from the
    spool first.

    Args:
        block: Rows that are compressed and written together.
        every: Seconds after which rows are written though their block is not full, so that a reader
            beside a slow run is not kept waiting.
    """

    name = "series"

    def __init__(self, *, block: int = BLOCK, every: float = 1.0) -> None:
        self._block = block
        self._every = every
        self._written = 0.0
        self._told = False
        self._writer: SeriesWriter | None = None

    def open(self, source: Source) -> None:
        """Opens the file and brings it up to the spool.

        Raises:
            SeriesError: The file cannot be written.
            SpoolError: The spool is damaged.
        """
        path = source.folder / SERIES
        if not path.exists():
            self._writer = SeriesWriter(path, tables=TABLES, block=self._block)
        else:
            self._writer = self._continued(source)
        if source.after:
            catch_up(self._writer, source.folder)
        self._written = monotonic()

    def _continued(self, source: Source) -> SeriesWriter:
        path = source.folder / SERIES
        try:
            writer = SeriesWriter.continued(path)
            if writer.last <= source.after:
                return writer
            writer.close()  # a power cut took records that had their rows already
            return SeriesWriter.continued(rebuild(source.folder, block=self._block))
        except SeriesError:  # its writer was killed, or it is damaged
            return SeriesWriter.continued(rebuild(source.folder, block=self._block))

    def write(self, stored: Stored) -> None:
        """Adds a record's numbers as a row, if its kind has a table.

        Raises:
            SeriesError: The file cannot be written; or, once, metrics have no column in it.
        """
        writer = self._writer
        if writer is None or stored.kind not in TABLES or stored.seq <= writer.last:
            return
        found = row_of(stored.record)
        left: tuple[str, ...] = ()
        if found is not None:
            left = writer.append_what_fits(found[0], stored.seq, found[1])
        if stored.kind == RESUMED or monotonic() - self._written >= self._every:
            self.flush(0.0)
        if left and not self._told:
            self._told = True
            raise SeriesError(
                f"A table has at most {COLUMNS} columns: {left[0]!r:.80} and what else is new from "
                "here on is in the spool alone. Give metrics names that repeat."
            )

    def flush(self, deadline: float) -> None:
        """Writes what waits.

        Raises:
            SeriesError: The file cannot be written.
        """
        if self._writer is not None:
            self._writer.flush()
        self._written = monotonic()

    def close(self) -> None:
        """Writes what waits and closes the file."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None
