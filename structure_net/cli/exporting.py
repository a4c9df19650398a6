"""``structure-net rebuild`` and ``export``: the time series of a run, made from its records."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from structure_net.cli.console import emit, fail
from structure_net.cli.flags import Json
from structure_net.cli.parsing import spool_of
from structure_net.errors import RunError

if TYPE_CHECKING:
    from structure_net.logging.reading import Damage
    from structure_net.logging.series import Table

REBUILD_HELP = """Makes the time series of a run anew from its records.

Writes `records/series.h5`, whole or not at all; the records stay as they are. It serves where the
file was damaged, where its writer was killed, or where the run was not told to write one. Damaged
records are left out and told of; the exit code is then 1.

Example:

    structure-net rebuild runs/digits
"""
EXPORT_HELP = """Writes a table of a run's time series as a file for other tools.

The tables are epoch, iteration, analysis, trial, profile and resumed, as far as the run has them. A
row stands for a record; what a resumed run superseded is left out, and so are damaged records,
which are told of (exit code 1). The table is read from the records, so that no other file is
needed. Parquet needs `pip install 'structure-net[export]'`; CSV needs nothing.

Examples:

    structure-net export runs/digits --parquet epochs.parquet

    structure-net export runs/digits --csv epochs.csv

    structure-net export nal_results --table trial --parquet trials.parquet
"""
Place = Annotated[
    str, typer.Argument(metavar="RUN", help="The folder of a run, or of a lab's results.")
]


def rebuild(run: Place, json: Json = False) -> int:
    """Makes time series anew; see ``structure-net rebuild --help``."""
    from structure_net.logging.locking import unwritten
    from structure_net.logging.reading import spool_file
    from structure_net.logging.series import Series
    from structure_net.logging.series import rebuild as rebuilt

    damage: list[Damage] = []
    folder = spool_of(run)
    with unwritten(spool_file(folder)):
        path = rebuilt(folder, on_damage=_told_to(damage))
    with Series(path) as series:
        rows = {name: len(series[name]) for name in series.tables if len(series[name])}
    if json:
        emit({"file": str(path), "rows": rows, "damage": [str(one) for one in damage]})
    else:
        said = ", ".join(f"{count} of {name}" for name, count in rows.items()) or "none"
        typer.echo(f"{path}: rows: {said}")
    return int(bool(damage))


def export(
    run: Place,
    parquet: Annotated[
        str | None, typer.Option(metavar="FILE", help="The file to write, as Parquet.")
    ] = None,
    csv: Annotated[
        str | None, typer.Option(metavar="FILE", help="The file to write, as CSV.")
    ] = None,
    table: Annotated[str, typer.Option(metavar="NAME", help="Which table.")] = "epoch",
    json: Json = False,
) -> int:
    """Writes a table; see ``structure-net export --help``."""
    if (parquet is None) == (csv is None):
        raise RunError("Name one file to write: --parquet FILE or --csv FILE.")
    target = str(parquet or csv)
    damage: list[Damage] = []
    with ExitStack() as stack:
        found = _table(spool_of(run), table, _told_to(damage), stack)
        rows, columns = len(found), found.columns
        _write(found, target, as_csv=parquet is None)
    if json:
        said = [str(one) for one in damage]
        emit({"file": target, "rows": rows, "columns": list(columns), "damage": said})
    else:
        typer.echo(f"{target}: {rows} rows of {table}, {len(columns)} columns")
    return int(bool(damage))


def _told_to(found: list[Damage]) -> Callable[[Damage], None]:
    def tell(damage: Damage) -> None:
        found.append(damage)
        fail(f"{damage}; it is left out")

    return tell


def _table(spool: Path, name: str, tell: Callable[[Damage], None], stack: ExitStack) -> Table:
    """A table of the records, from a file that is gone when the stack is closed.

    Raises:
        RunError: The run has no such table.
    """
    from structure_net.logging.series import TABLES, Series, SeriesWriter, catch_up

    path = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "series.h5"
    with SeriesWriter(path, tables=TABLES) as writer:
        catch_up(writer, spool, on_damage=tell)
    series = stack.enter_context(Series(path))
    if name not in series.tables or not len(series[name]):
        known = ", ".join(one for one in series.tables if len(series[one])) or "none"
        raise RunError(f"{spool} has no rows of {name!r}; it has rows of: {known}.")
    return series[name]


def _write(table: Table, path: str, *, as_csv: bool) -> None:
    from structure_net.logging.series import export_csv, export_parquet

    if not Path(path).absolute().parent.is_dir():
        raise RunError(f"{path} cannot be written: its folder does not exist.")
    try:
        (export_csv if as_csv else export_parquet)(table, path)
    except ImportError as error:
        raise RunError(str(error)) from error
