"""The commands of ``structure-net``, their flags and their exit codes.

Exit codes: 0 all went well; 1 `replay` found that something disagrees, or `validate` that something
is wrong; 2 the input or the run cannot be used, said in one line on standard error; 130 stopped by
Ctrl-C.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from structure_net import __version__
from structure_net.cli import commands
from structure_net.cli.analyzing import ANALYZE_HELP, analyze
from structure_net.cli.benching import BENCH_HELP, bench
from structure_net.cli.console import fail, said_of
from structure_net.cli.exporting import EXPORT_HELP, REBUILD_HELP, export, rebuild
from structure_net.cli.finding import FIND_HELP, SIMILAR_HELP, find, similar
from structure_net.cli.flags import DataDir, Json, Profile, Run, Trace
from structure_net.cli.groups import Command, Group, UsageError
from structure_net.cli.logs import PROJECT, Log, WandbMode, WandbProject, sinks_of
from structure_net.cli.parsing import (
    dataset_of,
    device_of,
    folder_of,
    number_of,
    pipeline_of,
    training_of,
    whole_of,
    widths_of,
)
from structure_net.cli.preparing import preparation_told
from structure_net.cli.stressing import STRESS_HELP, stress_command
from structure_net.cli.syncing import SYNC_HELP, sync
from structure_net.cli.validating import VALIDATE_HELP, validate
from structure_net.errors import StructureNetError
from structure_net.runs import RunRequest


class _InterruptedError(Exception):
    """Ctrl-C in a command that has nothing of its own to say about it."""


class _Program(Group):
    """The commands; what Ctrl-C does to them is told of by `main`, where Typer would be silent."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise _InterruptedError from None


app = typer.Typer(
    name="structure-net",
    cls=_Program,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    help="Grow, prune and rewire networks while they train.",
    epilog="Start with **structure-net demo**. Every command explains itself with --help.",
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code.

    Args:
        arguments: The words after the program's name; ``sys.argv`` is read if None.
    """
    words = sys.argv[1:] if arguments is None else list(arguments)
    try:
        with preparation_told():
            code = app(
                words or ["--help"], standalone_mode=False, prog_name="structure-net", obj=words
            )
    except UsageError as error:
        fail(error.format_message())
        return 2
    except StructureNetError as error:
        fail(str(error))
        return 2
    except OSError as error:
        fail(said_of(error))
        return 2
    except (KeyboardInterrupt, _InterruptedError):
        fail("stopped by Ctrl-C.")
        return 130
    return code if isinstance(code, int) else 0


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"structure-net {__version__}")
        raise typer.Exit


@app.callback()
def _program(
    _: Annotated[
        bool,
        typer.Option(
            "--version",
            metavar="",
            is_eager=True,
            callback=_print_version,
            help="Print the version and exit.",
        ),
    ] = False,
) -> None:
    """Holds the flags of the program itself."""


def _typed(context: typer.Context) -> tuple[str, ...]:
    """The command line, word by word."""
    return ("structure-net", *context.obj)


_EVOLVE_HELP = """Evolves a sparse network on a data set.

Each iteration looks at the network, edits it, trains it, saves it, and prints one line: the sizes,
the accuracies (of a regression the losses), the time, and the edits with the reason for each.
Everything is written to one folder, whose path is printed last. A run that was stopped goes on with
`structure-net resume RUN`.

Examples:

    structure-net evolve

    structure-net evolve --dataset mnist --data-dir DATA --out runs/mnist \\
        --architecture 784,256,128,10 --density 0.02 --iterations 5

    structure-net evolve --dataset mine.npz --system pipeline.py:system

    structure-net evolve --dataset spirals --dry-run
"""


@app.command(cls=Command, help=_EVOLVE_HELP)
def evolve(  # noqa: PLR0913, PLR0917 - one argument for each flag
    context: typer.Context,
    dataset: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="digits, mnist, fashion_mnist, cifar10, mnist1d, california_housing, parity, "
            "spirals, one that the file of --system registers, or an `.npz` file with x and y.",
        ),
    ] = "digits",
    data_dir: DataDir = None,
    download: Annotated[
        bool, typer.Option("--download", metavar="", help="Fetch the data set if it is not there.")
    ] = False,
    architecture: Annotated[
        str | None,
        typer.Option(
            metavar="WIDTHS",
            help="From input to output, such as 784,256,128,10. [default: by data]",
        ),
    ] = None,
    density: Annotated[
        float,
        typer.Option(
            parser=number_of,
            metavar="FLOAT",
            help="The fraction of connections that exist at birth, in (0, 1].",
        ),
    ] = 0.02,
    iterations: Annotated[
        int,
        typer.Option(
            parser=whole_of, metavar="INT", help="Rounds of looking, editing and training."
        ),
    ] = 5,
    epochs: Annotated[
        int | None,
        typer.Option(
            parser=whole_of,
            metavar="INT",
            help="Epochs of training in each iteration. [default: 3]",
        ),
    ] = None,
    batch_size: Annotated[
        int, typer.Option(parser=whole_of, metavar="INT", help="Samples in each step.")
    ] = 64,
    learning_rate: Annotated[
        float | None,
        typer.Option(
            parser=number_of, metavar="FLOAT", help="Of the standard trainer. [default: 0.01]"
        ),
    ] = None,
    seed: Annotated[
        int,
        typer.Option(
            parser=whole_of,
            metavar="INT",
            help="Decides the split, the weights, the order and the new connections.",
        ),
    ] = 0,
    device: Annotated[
        str, typer.Option(metavar="DEVICE", help="auto, cpu, cuda, cuda:N or mps.")
    ] = "cpu",
    system: Annotated[
        str | None,
        typer.Option(
            metavar="FILE.py:NAME",
            help="A pipeline of your own: a ComposableEvolutionSystem, or a function that returns "
            "one. It brings its own trainer, so --epochs and --learning-rate are refused.",
        ),
    ] = None,
    out: Annotated[
        str | None,
        typer.Option(metavar="RUN", help="The folder to make. [default: runs/DATASET-DATE-TIME]"),
    ] = None,
    baseline: Annotated[
        bool,
        typer.Option(
            "--baseline",
            metavar="",
            help="Also train the start network, and the final architecture from scratch, for as "
            "many epochs, and compare the three.",
        ),
    ] = False,
    log: Log = None,
    wandb_project: WandbProject = PROJECT,
    wandb_mode: WandbMode = "offline",
    profile: Profile = False,
    trace: Trace = False,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", metavar="", help="Print what would be edited first; write nothing."
        ),
    ] = False,
    json: Json = False,
) -> int:
    """Evolves a network; see ``structure-net evolve --help``."""
    request = RunRequest(
        dataset=dataset_of(dataset),
        data_dir=folder_of(data_dir),
        download=download,
        architecture=widths_of(architecture),
        density=density,
        iterations=iterations,
        batch_size=batch_size,
        seed=seed,
        device=device_of(device),
        baseline=baseline,
        **training_of(pipeline_of(system), epochs=epochs, learning_rate=learning_rate),
    )
    if dry_run:
        return commands.dry_run(request, as_json=json)
    return commands.evolve(
        request,
        _typed(context),
        out=out,
        as_json=json,
        profiled=(profile or trace, trace),
        sinks=sinks_of(log, project=wandb_project, mode=wandb_mode),
    )


@app.command(cls=Command)
def demo(
    context: typer.Context,
    out: Annotated[
        str | None,
        typer.Option(metavar="RUN", help="The folder to make. [default: runs/demo-DATE-TIME]"),
    ] = None,
    seed: Annotated[
        int, typer.Option(parser=whole_of, metavar="INT", help="Another seed, another network.")
    ] = 0,
    json: Json = False,
) -> int:
    """Evolves a 2 %-dense network on handwritten digits, in under two minutes.

    The digits come with the package: nothing is downloaded. The start network and the final
    architecture from scratch are trained as well, for comparison.
    """
    return commands.demo(_typed(context), seed=seed, out=out, as_json=json)


@app.command(cls=Command)
def resume(  # noqa: PLR0913, PLR0917 - one argument for each flag
    run: Run,
    iterations: Annotated[
        int | None,
        typer.Option(
            parser=whole_of,
            metavar="INT",
            help="Iterations in all, to go on beyond what was asked for at first.",
        ),
    ] = None,
    data_dir: DataDir = None,
    baseline: Annotated[
        bool,
        typer.Option(
            "--baseline", metavar="", help="Compare at the end, as `evolve --baseline` does."
        ),
    ] = False,
    log: Log = None,
    wandb_project: WandbProject = PROJECT,
    wandb_mode: WandbMode = "offline",
    profile: Profile = False,
    trace: Trace = False,
    json: Json = False,
) -> int:
    """Goes on with a run that was stopped, from its last finished iteration.

    A resumed run ends as it would have ended without the stop: with the same weights, bit for bit,
    on the same machine.
    """
    return commands.resume(
        run,
        iterations=iterations,
        data_dir=folder_of(data_dir),
        baseline=baseline,
        as_json=json,
        profiled=(profile or trace, trace),
        sinks=sinks_of(log, project=wandb_project, mode=wandb_mode),
    )


@app.command(cls=Command)
def show(run: Run, json: Json = False) -> int:
    """Prints what was asked of a run and what happened in it."""
    return commands.show(run, as_json=json)


@app.command(cls=Command)
def replay(run: Run, json: Json = False) -> int:
    """Rebuilds a run's network from its journal, loads its tensors, and says whether all agrees.

    The exit code is 0 if it does and 1 if it does not.
    """
    return commands.replay(run, as_json=json)


@app.command(cls=Command)
def diff(
    run_a: Annotated[str, typer.Argument(metavar="RUN_A", help="The folder of a run.")],
    run_b: Annotated[str, typer.Argument(metavar="RUN_B", help="The folder of another run.")],
    json: Json = False,
) -> int:
    """Compares two lineages: what they share, then what each did by itself."""
    return commands.diff(run_a, run_b, as_json=json)


app.command(cls=Command, help=ANALYZE_HELP)(analyze)
app.command(cls=Command, help=BENCH_HELP)(bench)
app.command(cls=Command, help=VALIDATE_HELP)(validate)
app.command(cls=Command, help=REBUILD_HELP)(rebuild)
app.command(cls=Command, help=EXPORT_HELP)(export)
app.command(cls=Command, help=FIND_HELP)(find)
app.command(cls=Command, help=SIMILAR_HELP)(similar)
app.command(cls=Command, help=SYNC_HELP)(sync)
app.command("stress", cls=Command, help=STRESS_HELP)(stress_command)
