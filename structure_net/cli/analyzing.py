"""The command ``structure-net analyze``: its flags, its progress, its last line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from structure_net.cli.console import emit, people
from structure_net.cli.flags import DataDir, Json
from structure_net.cli.parsing import dataset_of, device_of, folder_of, whole_of
from structure_net.runs.analysis import (
    TOPICS,
    DataChoice,
    free_place,
    pictures_of,
    subject_of,
    topics_of,
    write_report,
)
from structure_net.runs.analysis.topics import BATCHES, Told

if TYPE_CHECKING:
    from rich.console import Console

ANALYZE_HELP = f"""Looks at a network with every analyzer, and writes pictures, numbers and a page.

The network is that of a run, or of a checkpoint's file; a run knows its data itself. Nothing of it
is changed. The report is one new folder: `report.md` with the pictures, and `analysis.json`.

Topics: {", ".join(TOPICS)}.

Examples:

    structure-net analyze runs/mnist

    structure-net analyze runs/mnist --only graph,topology --out report

    structure-net analyze net.safetensors --dataset digits --out report
"""


def analyze(  # noqa: PLR0913, PLR0917 - one argument for each flag
    context: typer.Context,
    subject: Annotated[
        str,
        typer.Argument(
            metavar="RUN_OR_CHECKPOINT", help="The folder of a run, or a checkpoint's file."
        ),
    ],
    dataset: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="What to look at it on: a name as in `evolve`, or a `.npz` file. "
            "[default: the run's; a checkpoint needs it]",
        ),
    ] = None,
    data_dir: DataDir = None,
    download: Annotated[
        bool, typer.Option("--download", metavar="", help="Fetch the data set if it is not there.")
    ] = False,
    out: Annotated[
        str | None,
        typer.Option(
            metavar="REPORT", help="The folder to make. [default: reports/NAME-DATE-TIME]"
        ),
    ] = None,
    only: Annotated[
        str | None,
        typer.Option(metavar="TOPICS", help="Some topics, separated by commas. [default: all]"),
    ] = None,
    batches: Annotated[
        int,
        typer.Option(
            parser=whole_of, metavar="INT", help="How many training batches are looked at."
        ),
    ] = BATCHES,
    batch_size: Annotated[
        int | None,
        typer.Option(
            parser=whole_of, metavar="INT", help="Samples in a batch. [default: the run's, or 64]"
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(
            parser=whole_of,
            metavar="INT",
            help="Decides the split, the batches and every draw. [default: the run's, or 0]",
        ),
    ] = None,
    device: Annotated[
        str, typer.Option(metavar="DEVICE", help="auto, cpu, cuda, cuda:N or mps.")
    ] = "cpu",
    json: Json = False,
) -> int:
    """Analyzes a network; see ``structure-net analyze --help``."""
    topics = topics_of(None if only is None else [one.strip() for one in only.split(",")])
    place = free_place(_default_place(subject) if out is None else out)
    choice = DataChoice(
        dataset=None if dataset is None else dataset_of(dataset),
        data_dir=folder_of(data_dir),
        download=download,
        batch_size=batch_size,
        seed=seed,
        device=device_of(device),
    )
    looked_at = subject_of(subject, choice)
    console = people(quiet=json)
    drawn = (one.title for one in pictures_of(topics, looked_at.context.journal))
    with _progress(console, ("one pass over the data", *topics, *drawn)) as told:
        report = write_report(
            looked_at,
            place,
            topics=topics,
            batches=batches,
            command=("structure-net", *context.obj),
            told=told,
        )
    if json:
        emit({"report": str(place), **report.document})
    else:
        console.print(str(report.page), soft_wrap=True, markup=False)
    return 0


def _default_place(subject: str) -> str:
    """A folder under ``reports/`` that is named after the subject and the time."""
    path = Path(subject).resolve()
    stem = path.stem if path.is_file() else path.name
    return str(Path("reports") / f"{stem}-{datetime.now().astimezone():%Y%m%d-%H%M%S}")


@contextmanager
def _progress(console: Console, steps: Sequence[str]) -> Iterator[Told]:
    """A bar on a terminal that names the step it is at; one line for each topic elsewhere."""
    if not console.is_terminal:
        yield _lines(console)
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns: Sequence[Any] = (
        TextColumn("analyzing"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=len(steps), note=steps[0])
        following = iter(steps[1:])

        def told(_: str, __: float) -> None:
            bar.update(task, advance=1, note=next(following, ""))

        yield told


def _lines(console: Console) -> Told:
    def told(what: str, seconds: float) -> None:
        if not what.startswith("picture "):
            console.print(f"{what}: {seconds:.1f} s", soft_wrap=True, markup=False)

    return told
