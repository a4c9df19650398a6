"""Whether a file of time series can be read, and says what the spool beside it says."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from structure_net.errors import RecordError, SeriesError, SpoolError
from structure_net.logging.checking import Problem
from structure_net.logging.reading import SPOOL, read
from structure_net.logging.series.layout import COLUMNS, anew, is_written, present
from structure_net.logging.series.reading import Series, Table
from structure_net.logging.series.rows import row_of
from structure_net.logging.series.sealing import is_sealed

_ROWS = 1024


def check_series(path: Path) -> Iterator[Problem]:
    """What is wrong with a file of time series: one line for each table that is damaged.

    Its rows are compared with the spool in the same folder, if there is a whole one. A file that
    ends before the spool does is not wrong: its writer is at work, or was killed.

    Args:
        path: The file.
    """
    try:
        if not is_written(path) and is_sealed(path) is False:
            yield Problem(path, "", f"its bytes have changed since it was closed; {anew(path)}")
            return
        with Series(path, superseded=True) as series:
            for name in series.tables:
                said = _wrong_with(series[name], path)
                if said:
                    yield Problem(path, f"table {name}", f"{said}; {anew(path)}")
    except SeriesError as error:
        said = str(error).removeprefix(f"{path} ").rstrip(".")
        yield Problem(path, "", said)
    except (OSError, RuntimeError, KeyError) as error:
        yield Problem(path, "", f"it is damaged ({error}); {anew(path)}")


def _wrong_with(table: Table, path: Path) -> str:
    try:
        rows = _rows(table)
        return _first_difference(table, rows, path.parent) or _unread(rows)
    except (OSError, RuntimeError) as error:
        return f"it cannot be read ({error})"


def _rows(table: Table) -> Iterator[tuple[int, dict[str, float]]]:
    for seq, values in table.blocks(_ROWS):
        there = present(values)
        for number, row, has in zip(seq, values, there, strict=True):
            named = zip(table.columns, row, has, strict=True)
            yield int(number), {name: float(value) for name, value, is_ in named if is_}


def _unread(rows: Iterator[tuple[int, dict[str, float]]]) -> str:
    last = 0
    for number, _ in rows:
        if number <= last:
            return f"row {number} stands behind row {last}"
        last = number
    return ""


def _first_difference(
    table: Table, rows: Iterator[tuple[int, dict[str, float]]], folder: Path
) -> str:
    """How the rows differ from the spool's; empty where they agree, or no spool can tell."""
    kind = table.name
    full = frozenset(table.columns) if len(table.columns) == COLUMNS else None
    if not (folder / SPOOL).is_file():
        return ""
    try:
        for stored in read(folder):
            if stored.kind != kind or (made := row_of(stored.record)) is None:
                continue
            number, found = next(rows, (0, {}))
            if not number:
                return ""
            if number != stored.seq:
                return f"row {number} stands where record {stored.seq} should"
            wanted = made[1]
            if full is not None:  # what had no room is in the spool alone
                wanted = {name: value for name, value in wanted.items() if name in full}
            if said := _unlike(found, wanted):
                return f"row {number}: {said}"
    except (SpoolError, RecordError):  # what is wrong there, a look at the spool tells
        return ""
    number, _ = next(rows, (0, {}))
    return f"row {number} comes from no record of the spool" if number else ""


def _unlike(found: dict[str, float], wanted: dict[str, float]) -> str:
    if found.keys() != wanted.keys():
        return f"column {min(found.keys() ^ wanted.keys())!r} is in only one of file and spool"
    for name, value in wanted.items():
        if not np.array_equal(found[name], value, equal_nan=True):
            return f"column {name!r} is {found[name]!r}, and the spool says {value!r}"
    return ""
