"""Trials on a Dask cluster: workers of this machine, or of any cluster that Dask can reach."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable, Iterator
from importlib import import_module
from typing import Any, Final

from neural_architecture_lab.errors import RunnerError
from neural_architecture_lab.runners.protocol import Job, Limits, Result, Runner
from neural_architecture_lab.runners.remote import carry_out, never_answered, unpacked
from neural_architecture_lab.runners.working import Packing
from structure_net._optional import missing

_IDLE: Final = "5 minutes"


class DaskRunner(Runner):
    """Runs trials on the workers of a Dask cluster, each in a fresh process there.

    Dask places trials, and gives those of a worker that died to another one. The experiments are
    those of any runner; what they import must be there on the workers.

    Args:
        workers: How many workers are started on this machine, where no cluster is given.
        limits: What one trial may take.
        cluster: Where trials run instead: the address of a scheduler, or a cluster as
            `dask_jobqueue` (SLURM) and `dask_kubernetes` make them. It is left running.

    Raises:
        ImportError: The extra ``cluster`` is not installed.
        RunnerError: Dask cannot start workers on this system.
    """

    name = "dask"

    def __init__(
        self, workers: int = 1, limits: Limits | None = None, *, cluster: Any = None
    ) -> None:
        self._dask = _distributed("distributed")
        if cluster is None and sys.platform == "win32":
            raise RunnerError(
                "On Windows Dask cannot start workers from a script without a guard; start a"
                " cluster, and give it: DaskRunner(cluster='tcp://...')."
            )
        self.workers = workers
        self.limits = limits or Limits()
        self._given = cluster
        self.elsewhere = cluster is not None
        self._made: Any = None
        self._client: Any = None

    def run(self, jobs: Iterable[Job]) -> Iterator[Result]:
        """The results as trials end; when the caller stops, waiting trials are cancelled."""
        client, waiting, pack = self._connected(), iter(jobs), Packing()
        running: dict[Any, Job] = {}
        ended = self._dask.as_completed(loop=client.loop)
        try:
            while True:
                while len(running) < self._room(client) and (job := next(waiting, None)):
                    future = client.submit(carry_out, pack(job), self.limits, pure=False)
                    running[future] = job
                    ended.add(future)
                if not running:
                    return
                future = next(ended)
                yield _result(future, running.pop(future))
        finally:
            client.cancel(list(running))

    def close(self) -> None:
        """Stops the workers that this runner started, and what they run."""
        if self._client is not None:
            self._client.close()
        if self._made is not None:
            self._made.close()
        self._client = self._made = None

    def _connected(self) -> Any:
        if self._client is None:
            if self._given is None:
                self._made = _local_cluster(self.workers)
            self._client = self._dask.Client(self._given or self._made, set_as_default=False)
        return self._client

    def _room(self, client: Any) -> int:
        # One more than there are threads, so that none waits while a result is being stored.
        threads = int(sum(client.ncores().values()))
        return max(threads, 1) + 1


def _result(future: Any, job: Job) -> Result:
    reason = future.exception()
    return unpacked(future.result()) if reason is None else never_answered(job, reason)


def _local_cluster(workers: int) -> Any:
    """Workers that are started by Dask's own command, so that none imports ``__main__``."""
    # Another process finds modules where this one does.
    found = f"import sys; sys.path += [one for one in {sys.path!r} if one not in sys.path]"
    return _distributed("distributed.deploy.subprocess").SubprocessCluster(
        n_workers=workers,
        threads_per_worker=1,
        dashboard_address=None,
        silence_logs=logging.CRITICAL,
        # A lab that is killed cannot stop them.
        scheduler_kwargs={"idle_timeout": _IDLE},
        worker_kwargs={"memory_limit": 0, "preload": [found]},
    )


def _distributed(module: str) -> Any:
    try:
        return import_module(module)
    except ImportError as error:
        raise missing("distributed", "cluster", error) from error
