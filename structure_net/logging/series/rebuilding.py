"""Time series that are made anew from a run's spool, which is the truth behind them."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from structure_net.errors import SeriesError
from structure_net.files import replacing
from structure_net.logging.reading import OnDamage, read
from structure_net.logging.series.rows import TABLES, row_of
from structure_net.logging.series.writing import BLOCK, SeriesWriter

SERIES: Final = "series.h5"
"""The name of the file of time series, beside the records that it comes from."""


def rebuild(folder: str | Path, *, block: int = BLOCK, on_damage: OnDamage | None = None) -> Path:
    """Writes the time series of a spool anew, whole or not at all, one record at a time in memory.

    Args:
        folder: The spool's folder; the file in it is replaced.
        block: Rows in a block.
        on_damage: Is told of every damaged or missing line, which is then left out.

    Returns:
        The file.

    Raises:
        SpoolError: There is no spool, or, without ``on_damage``, a line of it is damaged.
        SeriesError: The file cannot be written.
    """
    path = Path(folder) / SERIES
    try:
        with replacing(path) as draft, SeriesWriter(draft, tables=TABLES, block=block) as writer:
            catch_up(writer, folder, on_damage=on_damage)
    except OSError as error:
        raise SeriesError(f"{path} cannot be written: {error.strerror or error}.") from error
    return path


def catch_up(
    writer: SeriesWriter, folder: str | Path, *, on_damage: OnDamage | None = None
) -> None:
    """Appends what the spool in ``folder`` holds beyond the writer's last row.

    Metrics for which a table has no column left stay in the spool.

    Raises:
        SpoolError: There is no spool, or, without ``on_damage``, a line of it is damaged.
        SeriesError: The file cannot be written.
    """
    for stored in read(folder, after=max(writer.last, 0), on_damage=on_damage):
        if stored.kind in TABLES and (found := row_of(stored.record)) is not None:
            table, values = found
            writer.append_what_fits(table, stored.seq, values)
