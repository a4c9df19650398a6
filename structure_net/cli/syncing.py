"""``structure-net sync``: sends what runs have recorded to a tracker, and sees that it arrives."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from structure_net.cli.console import emit, fail, people
from structure_net.cli.flags import Json
from structure_net.cli.parsing import number_of, spool_of
from structure_net.errors import RunError

if TYPE_CHECKING:
    from structure_net.logging.sinks import WandbTarget
    from structure_net.logging.sinks.wandb_orders import Tracking

SYNC_HELP = """Sends what a run has recorded to W&B, and checks there that it arrived.

FOLDER is the folder of a run, of a lab's results, or of a spool. What arrived is noted beside the
records, so that the next call sends the rest; it can be stopped, or killed, at any moment. What
W&B refuses several times is set aside with the reason; `--again` takes it back. The exit code is 0
if everything has arrived, and 1 if something has not.

Sending needs a key: `wandb login`, or WANDB_API_KEY.

Examples:

    structure-net sync runs/digits

    structure-net sync runs/digits runs/mnist --project growth --deadline 60

    structure-net sync runs/digits --status

    structure-net sync runs/digits --report

    structure-net sync nal_results --project lab --trials --report
"""

Folders = Annotated[list[str], typer.Argument(metavar="FOLDER", help="Runs, or labs' results.")]


def sync(  # noqa: PLR0913, PLR0917 - one argument for each flag
    folders: Folders,
    to: Annotated[str, typer.Option(metavar="NAME", help="The tracker; there is wandb.")] = "wandb",
    project: Annotated[
        str, typer.Option(metavar="NAME", help="The project there.")
    ] = "structure-net",
    entity: Annotated[
        str | None, typer.Option(metavar="NAME", help="Whose project. [default: the account's]")
    ] = None,
    status: Annotated[
        bool, typer.Option("--status", metavar="", help="Say what waits; send nothing.")
    ] = False,
    deadline: Annotated[
        float | None,
        typer.Option(
            parser=number_of, metavar="SECONDS", help="For each folder; what is left then is kept."
        ),
    ] = None,
    again: Annotated[
        bool, typer.Option("--again", metavar="", help="Also try again what was set aside.")
    ] = False,
    trials: Annotated[
        bool,
        typer.Option(
            "--trials", metavar="", help="Send each trial of a lab as a run of its own as well."
        ),
    ] = False,
    report: Annotated[
        bool,
        typer.Option(
            "--report", metavar="", help="Then make a W&B Report about them, and print its address."
        ),
    ] = False,
    json: Json = False,
) -> int:
    """Sends records; see ``structure-net sync --help``."""
    if to != "wandb":
        raise RunError(f"There is no tracker {to!r} to send to; there is wandb.")
    if deadline is not None and not deadline > 0:
        raise RunError(f"deadline must be positive; got {deadline}.")
    places = [spool_of(folder) for folder in folders]
    if status:
        found = [_known(place) for place in places]
    else:
        target = _target(project, entity, trials=trials)
        found = _sent(places, target, deadline=deadline, again=again, quiet=json)
    flat = [one for every in found for one in every]
    address = None
    if report and not status:
        address = _reported(places, _target(project, entity, trials=trials))
    if json:
        emit({"queues": [_plain(one) for one in flat], "report": address})
    else:
        for one in flat:
            _say(one)
        if address is not None:
            typer.echo(address)
    return int(not all(one.complete for one in flat))


def _target(project: str, entity: str | None, *, trials: bool) -> WandbTarget:
    from structure_net.logging.sinks import WandbTarget

    tracking: Tracking = "trials" if trials else "batch"
    try:
        return WandbTarget(project=project, entity=entity, mode="online", tracking=tracking)
    except ValueError as error:
        raise RunError(str(error)) from error


def _sent(
    places: list[Path],
    target: WandbTarget,
    *,
    deadline: float | None,
    again: bool,
    quiet: bool,
) -> list[list[Any]]:
    from structure_net.logging.sending import Sender, WandbDestination

    destination = WandbDestination(target)
    console = people(quiet=quiet)
    found = []
    for place in places:
        sender = Sender(place, destination)
        if again:
            sender.again()
        with console.status(f"{place}: sending ...") as shown:
            end = sender.drain(deadline=deadline, progress=lambda one: shown.update(str(one)))
        found.append([end])
    return found


def _reported(places: list[Path], target: WandbTarget) -> str:
    from structure_net.logging.reports import publish_report

    title = f"Runs of {', '.join(_name(place) for place in places)}"
    try:
        return publish_report(places, target, title=title)
    except ImportError as error:
        raise RunError(str(error)) from error


def _name(place: Path) -> str:
    return (place.parent if place.name == "records" else place).resolve().name


def _known(place: Path) -> list[Any]:
    """The queues of a spool; without any, what would be sent."""
    from structure_net.logging.sending import destinations, read_status

    return [read_status(place, name) for name in destinations(place) or ("wandb",)]


def _say(status: Any) -> None:
    typer.echo(str(status))
    for letter in status.state.dead:
        typer.echo(f"  record {letter.seq} was set aside: {letter.reason}")
    if status.pending and status.state.failures:
        fail(f"{status.folder}: not everything was sent. {status.state.error}")


def _plain(status: Any) -> dict[str, Any]:
    found = {**asdict(status), "folder": str(status.folder)}
    return {**found, "pending": status.pending, "complete": status.complete}
