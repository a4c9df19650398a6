"""The commands of ``nal``, their flags and their exit codes.

Exit codes: 0 all went well, whatever the verdict; 1 a trial failed, and its reason is in the
report; 2 the input or the store cannot be used, said in one line on standard error; 130 stopped by
Ctrl-C, and `nal resume` goes on.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, cast

import typer

from neural_architecture_lab.cli import commands, helps, searches
from neural_architecture_lab.cli.loading import loaded
from neural_architecture_lab.cli.telling import fail
from neural_architecture_lab.configuration import LabConfig, RunnerName
from neural_architecture_lab.errors import LabError
from neural_architecture_lab.runners.protocol import Limits
from structure_net.cli.console import said_of
from structure_net.cli.flags import Json
from structure_net.cli.groups import Command, Group, UsageError
from structure_net.cli.logs import PROJECT, Log, WandbMode, WandbProject, sinks_of
from structure_net.cli.parsing import count_of, positive_of, whole_of
from structure_net.errors import StructureNetError

app = typer.Typer(
    name="nal",
    cls=Group,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    help=helps.NAL,
    epilog="Start with **nal list**. Every command explains itself with --help.",
)

Names = Annotated[
    list[str],
    typer.Argument(
        metavar="FILE_OR_NAME",
        help="Names of the library (`nal list`), or files that hold hypotheses: FILE.py, or"
        " FILE.py:NAME for one of them.",
        show_default=False,
    ),
]
Ids = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="ID",
        help="Which, by id (`nal list --results DIR`); all that are there unless given.",
        show_default=False,
    ),
]
Results = Annotated[
    str, typer.Option("--results", metavar="DIR", help="The folder that holds all results.")
]
Parallel = Annotated[
    int, typer.Option("-j", "--parallel", parser=count_of, metavar="INT", help="Trials at once.")
]
Runner = Annotated[
    str,
    typer.Option(metavar="NAME", help="auto, serial, processes, replicas, dask or ray."),
]
Device = Annotated[str, typer.Option(metavar="DEVICE", help="cpu, cuda or cuda:N.")]
ParallelAgain = Annotated[
    int | None,
    typer.Option(
        "-j",
        "--parallel",
        parser=count_of,
        metavar="INT",
        help="Trials at once; as many as before unless given.",
    ),
]
RunnerAgain = Annotated[
    str | None,
    typer.Option("--runner", metavar="NAME", help="What runs them; as before unless given."),
]
DeviceAgain = Annotated[
    str | None, typer.Option("--device", metavar="DEVICE", help="Where; as before unless given.")
]
Seconds = Annotated[
    float | None,
    typer.Option(
        parser=positive_of, metavar="SECONDS", help="What one trial may take; any unless given."
    ),
]
Memory = Annotated[
    float | None,
    typer.Option(
        parser=positive_of,
        metavar="MIB",
        help="What one trial may take beyond what its process begins with; any unless given.",
    ),
]
Dataset = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Run hypotheses of the library on this data set; digits unless given. FILE.py:NAME for"
        " one that a file registers.",
    ),
]
DataDir = Annotated[
    str | None, typer.Option("--data-dir", metavar="DIR", help="The folder that holds it.")
]
Tracking = Annotated[
    str,
    typer.Option(
        "--wandb-tracking",
        metavar="NAME",
        help="batch: trials are rows of one run; trials: and runs of their own.",
    ),
]
RESULTS = "nal_results"
INTERRUPTED = 130


class Stopped(Exception):  # noqa: N818 - no error: the user's wish
    """A run was stopped by Ctrl-C; its words say how to go on."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code.

    Args:
        arguments: The words after the program's name; ``sys.argv`` is read if None.
    """
    words = sys.argv[1:] if arguments is None else list(arguments)
    try:
        code = app(words or ["--help"], standalone_mode=False, prog_name="nal")
    except UsageError as error:
        fail(error.format_message())
        return 2
    except (LabError, StructureNetError) as error:
        fail(str(error))
        return 2
    except OSError as error:
        fail(said_of(error))
        return 2
    except ImportError as error:  # an extra is missing, which it names
        fail(str(error))
        return 2
    except (Stopped, KeyboardInterrupt) as stopped:
        code = str(stopped)
    # Typer makes a code of Ctrl-C, of which nobody has been told then.
    if isinstance(code, str) or code == INTERRUPTED:
        fail(code if isinstance(code, str) and code else "stopped by Ctrl-C.")
        return INTERRUPTED
    return code if isinstance(code, int) else 0


@contextmanager
def _stoppable(results: str) -> Iterator[None]:
    """Says how to go on with a folder of results where Ctrl-C stops the block."""
    try:
        yield
    except KeyboardInterrupt:
        raise Stopped(
            "stopped by Ctrl-C; what ended is kept, and `nal resume --results"
            f" {shlex.quote(results)}` goes on from there."
        ) from None


def _config(
    results: str,
    parallel: int = 1,
    runner: str = "auto",
    device: str = "cpu",
    *,
    limits: tuple[float | None, float | None] = (None, None),
) -> LabConfig:
    return LabConfig(
        parallel, results, device, cast("RunnerName", runner), Limits(limits[0], limits[1])
    )


@app.command(cls=Command, help=helps.RUN)
def run(  # noqa: PLR0913, PLR0917 - one argument for each flag
    names: Names,
    results: Results = RESULTS,
    parallel: Parallel = 1,
    runner: Runner = "auto",
    device: Device = "cpu",
    seeds: Annotated[
        int | None,
        typer.Option(
            parser=whole_of, metavar="INT", help="Seeds of each arm; as planned unless given."
        ),
    ] = None,
    dataset: Dataset = None,
    data_dir: DataDir = None,
    log: Log = None,
    wandb_project: WandbProject = PROJECT,
    wandb_mode: WandbMode = "offline",
    wandb_tracking: Tracking = "batch",
    seconds: Seconds = None,
    memory: Memory = None,
    json: Json = False,
) -> int:
    """Runs hypotheses; see ``nal run --help``."""
    config = _config(results, parallel, runner, device, limits=(seconds, memory))
    sinks = sinks_of(log, project=wandb_project, mode=wandb_mode, tracking=wandb_tracking)
    found = loaded(names, seeds=seeds, dataset=dataset, data_dir=data_dir)
    with _stoppable(results):
        return commands.run(found, config, sinks=sinks, as_json=json)


@app.command(cls=Command, help=helps.SEARCH)
def search(  # noqa: PLR0913, PLR0917 - one argument for each flag
    files: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE",
            help="Files that hold searches: FILE.py, or FILE.py:NAME for one of them.",
            show_default=False,
        ),
    ],
    results: Results = RESULTS,
    parallel: Parallel = 1,
    runner: Runner = "auto",
    device: Device = "cpu",
    tries: Annotated[
        int | None,
        typer.Option(
            parser=count_of, metavar="INT", help="Settings to try; as the search says unless given."
        ),
    ] = None,
    seconds: Seconds = None,
    memory: Memory = None,
    json: Json = False,
) -> int:
    """Searches for settings that do well; see ``nal search --help``."""
    config = _config(results, parallel, runner, device, limits=(seconds, memory))
    with _stoppable(results):
        return searches.search(files, config, tries=tries, as_json=json)


@app.command(cls=Command, help=helps.RESUME)
def resume(  # noqa: PLR0913, PLR0917 - one argument for each flag
    results: Results = RESULTS,
    parallel: ParallelAgain = None,
    runner: RunnerAgain = None,
    device: DeviceAgain = None,
    log: Log = None,
    wandb_project: WandbProject = PROJECT,
    wandb_mode: WandbMode = "offline",
    wandb_tracking: Tracking = "batch",
    seconds: Seconds = None,
    memory: Memory = None,
    json: Json = False,
) -> int:
    """Goes on with what was left in a folder: no trial is lost, and none is run twice."""
    config = commands.resumed(Path(results), parallel, runner, device, limits=(seconds, memory))
    sinks = sinks_of(log, project=wandb_project, mode=wandb_mode, tracking=wandb_tracking)
    with _stoppable(results):
        return commands.resume(config, sinks=sinks, as_json=json)


@app.command("list", cls=Command, help=helps.LIST)
def list_(
    results: Annotated[
        str | None,
        typer.Option(
            "--results", metavar="DIR", help="List what this folder of results holds instead."
        ),
    ] = None,
    json: Json = False,
) -> int:
    """Prints the hypotheses that are ready to run, or what a folder of results holds."""
    return commands.listing(None if results is None else Path(results), as_json=json)


@app.command(cls=Command, help=helps.STATUS)
def status(results: Results = RESULTS, json: Json = False) -> int:
    """Prints how far each hypothesis and each search is; also while a lab runs."""
    return commands.status(Path(results), as_json=json)


@app.command(cls=Command, help=helps.REPORT)
def report(
    ids: Ids = None,
    results: Results = RESULTS,
    html: Annotated[
        bool,
        typer.Option(
            "--html", metavar="", help="Write one page with pictures, and print where it is."
        ),
    ] = False,
    out: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Where the page goes. [default: DIR/report.html]"),
    ] = None,
    keep: Annotated[
        bool,
        typer.Option(
            "--keep",
            metavar="",
            help="Keep the report of the whole folder among its records, too, from where trackers"
            " take it; not while a lab runs.",
        ),
    ] = False,
) -> int:
    """Prints the report as Markdown; also while a lab runs."""
    return commands.report(Path(results), ids or [], html=html, out=out, keep=keep)


@app.command(cls=Command, help=helps.COMPARE)
def compare(
    ids: Ids = None,
    results: Annotated[
        list[str] | None,
        typer.Option(
            "--results",
            metavar="DIR",
            help="A folder of results; give several to compare across them. [default: nal_results]",
        ),
    ] = None,
    json: Json = False,
) -> int:
    """Prints the effects of several hypotheses side by side, metric by metric, judged together."""
    folders = [Path(one) for one in results or [RESULTS]]
    return commands.compare(folders, ids or [], as_json=json)


@app.command(cls=Command, help=helps.PLAN)
def plan(  # noqa: PLR0913, PLR0917 - one argument for each flag
    names: Names,
    pilot: Annotated[
        int, typer.Option(parser=whole_of, metavar="INT", help="Seeds of the pilot, from 2 on.")
    ] = 2,
    parallel: Parallel = 1,
    runner: Runner = "auto",
    device: Device = "cpu",
    dataset: Dataset = None,
    data_dir: DataDir = None,
    json: Json = False,
) -> int:
    """Plans hypotheses; see ``nal plan --help``."""
    config = _config(RESULTS, parallel, runner, device)
    found = loaded(names, dataset=dataset, data_dir=data_dir)
    return commands.plan(list(found), config, pilot=pilot, as_json=json)
