"""Trials on a Ray cluster: one that is started on this machine, or one that runs already."""

from __future__ import annotations

import builtins
from collections.abc import Iterable, Iterator
from importlib import import_module
from typing import Any, Final

from neural_architecture_lab.runners.protocol import Job, Limits, Result, Runner
from neural_architecture_lab.runners.remote import carry_out, never_answered, unpacked
from neural_architecture_lab.runners.working import Packing
from structure_net._optional import missing

_RETRIES: Final = 3


class RayRunner(Runner):
    """Runs trials as Ray's tasks, each in a fresh process of the worker that it comes to.

    Ray places trials, and gives those of a worker that died to another one. A trial has one CPU,
    and one GPU where it runs on ``"cuda"``. Ray knows one cluster for each process: one that this
    process is connected to already is used, and left as it is.

    Args:
        workers: How many trials run at once on this machine, where no cluster is named.
        limits: What one trial may take.
        address: The address of a cluster, as ``ray.init`` takes it.

    Raises:
        ImportError: The extra ``ray`` is not installed.
    """

    name = "ray"

    def __init__(
        self, workers: int = 1, limits: Limits | None = None, *, address: str | None = None
    ) -> None:
        try:
            self._ray: Any = import_module("ray")
        except ImportError as error:
            raise missing("ray", "ray", error) from error
        self.workers = workers
        self.limits = limits or Limits()
        self.address = address
        self.elsewhere = address is not None
        self._begun = False
        self._print = builtins.print
        self._pack = Packing()

    def run(self, jobs: Iterable[Job]) -> Iterator[Result]:
        """The results as trials end; when the caller stops, running trials are cancelled."""
        self._connect()
        room, waiting, self._pack = self._room(), iter(jobs), Packing()
        running: dict[Any, Job] = {}
        try:
            while True:
                while len(running) < room and (job := next(waiting, None)):
                    running[self._submit(job)] = job
                if not running:
                    return
                ended, _ = self._ray.wait(list(running), num_returns=1)
                for reference in ended:
                    yield self._result(reference, running.pop(reference))
        finally:
            for reference in running:
                self._ray.cancel(reference, force=True)

    def close(self) -> None:
        """Stops what this runner started."""
        if self._begun:
            self._ray.shutdown()
            # Ray puts one of its own in print's place, for its progress bars, and leaves it there.
            builtins.print = self._print
            self._begun = False

    def _connect(self) -> None:
        if self._ray.is_initialized():
            return
        told: dict[str, Any] = {"include_dashboard": False, "log_to_driver": False}
        if self.address is None:
            # Without an address of its own Ray looks for one on the network, which may be none.
            told |= {"num_cpus": self.workers, "_node_ip_address": "127.0.0.1"}
        self._print = builtins.print
        self._ray.init(address=self.address, **told)
        self._begun = True

    def _room(self) -> int:
        # One more than run at once, so that none waits while a result is being stored.
        return max(int(self._ray.cluster_resources().get("CPU", 1)), 1) + 1

    def _submit(self, job: Job) -> Any:
        gpus = 1 if job.device.startswith("cuda") else 0
        task = self._ray.remote(num_cpus=1, num_gpus=gpus, max_retries=_RETRIES)(carry_out)
        return task.remote(self._pack(job), self.limits)

    def _result(self, reference: Any, job: Job) -> Result:
        try:
            return unpacked(self._ray.get(reference))
        except self._ray.exceptions.RayError as reason:
            return never_answered(job, reason)
