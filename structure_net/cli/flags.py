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
DataDir = Annotated[
    str | None,
    typer.Option(
        metavar="DATA", help="Where data sets lie. [default: STRUCTURE_NET_DATA, if it is set]"
    ),
]
