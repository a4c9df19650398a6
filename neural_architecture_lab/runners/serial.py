"""One trial after the other, in this process: what a debugger can follow."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from neural_architecture_lab.runners.protocol import Job, Result, Runner, carried_out


class SerialRunner(Runner):
    """Runs jobs in turn, in this process.

    It holds no trial to a limit of time or memory, since nobody is there who could.
    """

    name = "serial"

    def run(self, jobs: Iterable[Job]) -> Iterator[Result]:
        """The results, in the order of ``jobs``."""
        for job in jobs:
            yield carried_out(job)
