"""``structure-net validate``: what is wrong with files."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from structure_net.cli.console import emit
from structure_net.cli.flags import Json
from structure_net.runs.validating import subjects
from structure_net.runs.validating import validate as problems_of

VALIDATE_HELP = """Says what is wrong with files: one line for each problem.

FILE is the folder of a run, a folder with runs in it, one of a run's files (run.json, journal.json,
history.json, checkpoint.safetensors, records/records.jsonl, records/series.h5, records/sync.json),
an analysis.json, or a JSON file that holds one record. Of a run's folder, missing files are told
too. Each line says where, what, and the rule. The exit code is 0 if nothing is wrong, 1 if
something is.

Files of other programs can be validated against `schemas/` alone.

Examples:

    structure-net validate runs/digits

    structure-net validate runs

    structure-net validate runs/*/records/records.jsonl
"""


def validate(
    files: Annotated[list[str], typer.Argument(metavar="FILE", help="Files, or runs' folders.")],
    json: Json = False,
) -> int:
    """Validates files; see ``structure-net validate --help``."""
    named = [str(one) for file in files for one in subjects(file)]
    found = {name: problems_of(name) for name in named}
    if json:
        emit({file: [_plain(asdict(one)) for one in all_] for file, all_ in found.items()})
        return int(any(found.values()))
    for file, problems in found.items():
        for problem in problems:
            typer.echo(str(problem))
        if not problems:
            typer.echo(f"{file}: nothing is wrong")
    return int(any(found.values()))


def _plain(problem: dict[str, object]) -> dict[str, str]:
    return {name: str(value) for name, value in problem.items()}
