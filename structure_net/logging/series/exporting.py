"""Time series as Parquet or CSV, for other tools."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TYPE_CHECKING, Any

from structure_net._optional import missing
from structure_net.errors import SeriesError
from structure_net.files import replacing
from structure_net.logging.series.layout import present

if TYPE_CHECKING:
    from structure_net.logging.series.reading import Table


def export_parquet(table: Table, path: str | Path) -> None:
    """Writes a table as one Parquet file, whole or not at all, block by block.

    The file has the column ``seq`` and one column for each of the table; what was not recorded is
    null there, and a NaN that was measured stays one.

    Args:
        table: From an open `Series`.
        path: The file; one that exists is replaced.

    Raises:
        ImportError: pyarrow is not installed; it comes with the extra ``export``.
        SeriesError: The file cannot be written, or the table has a column called ``seq``.
    """
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise missing("pyarrow", "export", error) from error
    names = table.columns
    if "seq" in names:
        raise SeriesError("A column is called 'seq', as the number of the record; rename it.")
    schema = pa.schema([("seq", pa.int64()), *((name, pa.float64()) for name in names)])
    try:
        with replacing(path) as draft, pq.ParquetWriter(draft, schema) as writer:
            for seq, values in table.blocks(columns=names):
                writer.write_table(pa.table([seq, *_columns(pa, values)], schema=schema))
    except OSError as error:
        raise SeriesError(f"{path} cannot be written: {error.strerror or error}.") from error


def export_csv(table: Table, path: str | Path) -> None:
    """Writes a table as text, whole or not at all: names in the first line, then a line for a row.

    The first column is ``seq``. A number is written with all its digits, what was not recorded as
    an empty cell, and what is not finite as ``nan``, ``inf`` or ``-inf``.

    Args:
        table: From an open `Series`.
        path: The file; one that exists is replaced.

    Raises:
        SeriesError: The file cannot be written.
    """
    names = table.columns
    try:
        with replacing(path) as draft, draft.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(("seq", *names))
            for seq, values in table.blocks(columns=names):
                for number, row, there in zip(seq, values, present(values), strict=True):
                    cells = (
                        repr(float(x)) if is_ else "" for x, is_ in zip(row, there, strict=True)
                    )
                    writer.writerow((int(number), *cells))
    except OSError as error:
        raise SeriesError(f"{path} cannot be written: {error.strerror or error}.") from error


def _columns(pa: Any, values: Any) -> list[Any]:
    return [pa.array(column, mask=~present(column)) for column in values.T.copy()]
