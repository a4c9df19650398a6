"""The command ``structure-net stress``: does memory stay flat over many networks?"""

from __future__ import annotations

import math
import shlex
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from structure_net.cli.console import emit, fail, people
from structure_net.cli.flags import DataDir, Json
from structure_net.cli.parsing import dataset_of, folder_of, number_of, whole_of
from structure_net.runs.stressing import StressRequest, stress
from structure_net.runs.stressing.folder import stress_folder
from structure_net.runs.stressing.reporting import report_stress

STRESS_HELP = """Runs a tournament of many small networks, and says whether memory stays flat.

Each network is read from the disk, trained a little on data that are mapped and shared, judged, and
written back; the worse half gives way to offspring of the better half, made by edits. The folder
holds the records, the networks, a curve of the memory and the verdict, with the slope and its
interval. Stopped by Ctrl-C or finished, the same command goes on with it.

Examples:

    structure-net stress --minutes 10 --out runs/stress

    structure-net stress --minutes 120 --networks 256 --dataset mnist --data-dir DATA
"""


def stress_command(  # noqa: PLR0913, PLR0917 - one argument for each flag
    minutes: Annotated[
        float,
        typer.Option(parser=number_of, metavar="FLOAT", help="In all, earlier sittings counted."),
    ] = 10.0,
    networks: Annotated[
        int, typer.Option(parser=whole_of, metavar="INT", help="How many take part.")
    ] = 64,
    dataset: Annotated[
        str, typer.Option(metavar="NAME", help="As for `structure-net evolve`.")
    ] = "digits",
    data_dir: DataDir = None,
    steps: Annotated[
        int,
        typer.Option(parser=whole_of, metavar="INT", help="Training steps in each generation."),
    ] = 30,
    seed: Annotated[
        int, typer.Option(parser=whole_of, metavar="INT", help="Decides networks and edits.")
    ] = 0,
    out: Annotated[
        str | None,
        typer.Option(metavar="FOLDER", help="The folder. [default: runs/stress-DATE-TIME]"),
    ] = None,
    json: Json = False,
) -> int:
    """Runs a tournament; see ``structure-net stress --help``."""
    if not (math.isfinite(minutes) and minutes > 0):
        raise typer.BadParameter(f"must be positive; got {minutes}.", param_hint="--minutes")
    request = StressRequest(networks, dataset_of(dataset), steps, seed=seed)
    name = f"stress-{datetime.now().astimezone():%Y%m%d-%H%M%S}" if out is None else ""
    folder, standing = stress_folder(out or Path("runs") / name, request)
    console = people(quiet=json)

    def told(generation: int, turn: int, memory: float) -> None:
        if turn == networks:
            console.print(f"generation {generation}: {memory:.1f} MiB", markup=False)

    try:
        standing = stress(folder, standing, 60 * minutes, data_dir=folder_of(data_dir), told=told)
    except KeyboardInterrupt:
        fail(
            "interrupted; the same command with"
            f" --out {shlex.quote(str(folder.path))} goes on with it."
        )
        return 130
    found = report_stress(folder, standing)
    if json:
        emit({"folder": str(folder.path), "generations": standing.generation, **asdict(found)})
    else:
        console.print(found.in_words(), markup=False)
        console.print(str(folder.path), soft_wrap=True, markup=False)
    return 0
