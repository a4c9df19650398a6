"""Arguments that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

Run = Annotated[str, typer.Argument(metavar="RUN", help="The folder of a run.")]
Json = Annotated[
    bool,
    typer.Option(
        "--json", metavar="", help="One JSON document on standard output; words to standard error."
    ),
]
Profile = Annotated[
    bool,
    typer.Option("--profile", metavar="", help="Measure where time and memory go, for the report."),
]
Trace = Annotated[
    bool,
    typer.Option(
        "--trace",
        metavar="",
        help="Besides, write a trace of the first 100 steps by torch.profiler; it slows them down.",
    ),
]
DataDir = Annotated[
    str | None,
    typer.Option(
        metavar="DATA", help="Where data sets lie. [default: STRUCTURE_NET_DATA, if it is set]"
    ),
]
