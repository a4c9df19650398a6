"""One fresh process for each trial, several at once: what one trial does, no other feels."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, replace
from multiprocessing.process import BaseProcess
from typing import Any

from neural_architecture_lab.errors import RunnerError
from neural_architecture_lab.runners.protocol import Job, Limits, Result, Runner, Status
from neural_architecture_lab.runners.working import Packing, work


@dataclass(frozen=True, slots=True)
class _Begun:
    job: Job
    process: BaseProcess
    at: float


class ProcessRunner(Runner):
    """Runs each trial in a process of its own, which ends with it.

    A process is a fork of a server that has torch imported, so that it is there in a fraction of a
    second and shares the server's memory. Each has a pipe of its own to the lab: one that is killed
    in the middle of a word costs its own trial, which is begun again, and no other. Each uses one
    thread, so that results do not depend on the number of workers. They end when the lab does.

    Scripts need no guard: no worker imports ``__main__``. An experiment that is defined there, or
    in a notebook, is sent by value.

    Args:
        workers: How many trials run at once.
        limits: What one trial may take.

    Raises:
        RunnerError: This system cannot fork, or cannot hold a process to a limit of memory.
    """

    name = "processes"

    def __init__(self, workers: int = 1, limits: Limits | None = None) -> None:
        if workers < 1:
            raise RunnerError(f"workers must be a whole number from 1 on; got {workers!r}.")
        if sys.platform == "win32":
            raise RunnerError(
                "ProcessRunner forks, which Windows cannot; use runner='serial' or runner='dask'."
            )
        self.workers = workers
        self.limits = limits or Limits()
        self._pack = Packing()
        if self.limits.memory is not None and sys.platform != "linux":
            raise RunnerError(
                "Only Linux holds a process to a limit of memory; leave Limits.memory at None."
            )

    def run(self, jobs: Iterable[Job]) -> Iterator[Result]:
        """The results as trials end; when the caller stops iterating, running trials are killed."""
        from neural_architecture_lab.runners.forking import Context

        context, waiting = Context(), iter(jobs)
        self._pack = Packing()
        running: dict[Future[bytes], _Begun] = {}
        try:
            self._fill(waiting, context, running)
            while running:
                ended, _ = wait(running, return_when=FIRST_COMPLETED)
                results = [self._result(future, running.pop(future)) for future in ended]
                lost = [job for _, job in results if job is not None]
                for job in lost:
                    self._begin(job, context, running)
                # Before more is taken: what comes next may depend on what has ended.
                yield from (result for result, again in results if again is None)
                self._fill(waiting, context, running)
        finally:
            for begun in running.values():
                begun.process.kill()
            wait(running)

    def _fill(
        self, waiting: Iterator[Job], context: Any, running: dict[Future[bytes], _Begun]
    ) -> None:
        while len(running) < self.workers and (job := next(waiting, None)) is not None:
            self._begin(job, context, running)

    def _begin(self, job: Job, context: Any, running: dict[Future[bytes], _Begun]) -> None:
        from pebble import concurrent

        packet, at = self._pack(job), time.perf_counter()
        started = concurrent.process(  # type: ignore[call-overload]  # pebble's
            name=job.trial.id, daemon=False, timeout=self.limits.seconds, context=context
        )(work)
        future = started(packet, self.limits.memory)
        running[future] = _Begun(job, context.last, at)

    def _result(self, future: Future[bytes], begun: _Begun) -> tuple[Result, Job | None]:
        """What came of a trial, and the job that is to be begun again instead, if one is."""
        import cloudpickle
        from pebble import ProcessExpired

        job, reason = begun.job, future.exception()
        if reason is None:
            return cloudpickle.loads(future.result()), None
        status: Status = "failed"  # by what a worker could not import
        trace = getattr(reason, "traceback", "")
        error = f"{type(reason).__name__}: {reason}\n\n{trace}".strip()
        if isinstance(reason, TimeoutError):
            status = "timed_out"
            error = f"It ran longer than the {self.limits.seconds:g} s that it may take."
        elif isinstance(reason, ProcessExpired):
            status = "lost"
            error = f"Its process ended {_how(reason.exitcode)} before it brought a result."
        seconds = time.perf_counter() - begun.at
        result = Result(job.trial, status, None, error, seconds, job.attempt)
        again = status == "lost" and job.attempt <= self.limits.retries
        return result, replace(job, attempt=job.attempt + 1) if again else None


def _how(code: int) -> str:
    if code >= 0:
        return f"with exit code {code}"
    try:
        return f"by {signal.Signals(-code).name}"
    except ValueError:
        return f"by signal {-code}"
