"""Flags that say where records go besides the run's folder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Final, cast

import typer

from structure_net.errors import RunError

if TYPE_CHECKING:
    from structure_net.logging import Sink
    from structure_net.logging.sinks.wandb_orders import Mode, Tracking

PROJECT: Final = "structure-net"
NAMES: Final = ("console", "series", "tensorboard", "wandb")

Log = Annotated[
    list[str] | None,
    typer.Option(
        "--log",
        metavar="NAME",
        help=f"Where records go besides the run's folder: {', '.join(NAMES)}. May be repeated.",
    ),
]
WandbProject = Annotated[
    str, typer.Option("--wandb-project", metavar="NAME", help="The project in W&B.")
]
WandbMode = Annotated[
    str,
    typer.Option(
        "--wandb-mode",
        metavar="MODE",
        help="offline, online (needs `wandb login`) or disabled. What stays offline is sent by "
        "`structure-net sync`.",
    ),
]


def sinks_of(
    names: Sequence[str] | None,
    *,
    project: str = PROJECT,
    mode: str = "offline",
    tracking: str = "batch",
) -> tuple[Sink, ...]:
    """The sinks of these names, each once.

    Raises:
        RunError: There is no such sink, mode or tracking, or W&B takes no project of that name.
        TrackingError: Online without a key.
    """
    found = tuple(dict.fromkeys(names or ()))
    for name in found:
        if name not in NAMES:
            raise RunError(f"--log must be one of {', '.join(NAMES)}; got {name!r}.")
    return tuple(_sink(name, project, mode, tracking) for name in found)


def _sink(name: str, project: str, mode: str, tracking: str) -> Sink:
    from structure_net.logging.sinks import (
        ConsoleSink,
        SeriesSink,
        TensorBoardSink,
        WandbSink,
        WandbTarget,
    )
    from structure_net.logging.sinks.credentials import require_key

    if name == "wandb":
        try:
            kept = cast("Tracking", tracking)
            target = WandbTarget(project=project, mode=cast("Mode", mode), tracking=kept)
        except ValueError as error:
            raise RunError(str(error)) from error
        if mode == "online":
            require_key()
        return WandbSink(target)
    if name == "tensorboard":
        return TensorBoardSink()
    return SeriesSink() if name == "series" else ConsoleSink()
