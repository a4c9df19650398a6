"""What is compiled and measured once per machine, told to whoever waits for it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from structure_net.core.compilations import watching_compilation
from structure_net.core.crossover_costs import watching_measurement


@contextmanager
def preparation_told() -> Iterator[None]:
    """Says once, on a terminal, that kernels are compiled or steps measured inside."""
    said: set[str] = set()

    def tell(line: str) -> None:
        if line not in said and sys.stderr.isatty():
            said.add(line)
            sys.stderr.write(f"structure-net: {line}; this happens once on this machine.\n")

    with (
        watching_compilation(lambda _: tell("compiling fast loops")),
        watching_measurement(lambda _: tell("measuring which storage of sparse layers pays")),
    ):
        yield
