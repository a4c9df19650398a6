"""Many replicas of an experiment in this process: compiled on threads, or stacked in one program.

An experiment that describes its trials (`neural_architecture_lab.replicas`) leaves open how they
are trained. What a plain PyTorch loop spends on calls, where networks are small, is spent once.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from copy import deepcopy
from dataclasses import replace
from typing import TYPE_CHECKING

from neural_architecture_lab.errors import LabError, OutOfTimeError, RunnerError
from neural_architecture_lab.runners.protocol import Job, Limits, Result, Runner, settled
from neural_architecture_lab.trials import Trial

if TYPE_CHECKING:
    from neural_architecture_lab.replicas.grouping import Group
    from neural_architecture_lab.replicas.plan import ReplicaPlan
    from neural_architecture_lab.replicas.starting import Start
    from neural_architecture_lab.replicas.trained import Trained


class ReplicaRunner(Runner):
    """Trains the replicas that an experiment describes, many at once, in this process.

    Multilayer perceptrons with ReLU, leaky ReLU or no activation are trained on the CPU by a
    compiled step, each on a thread of its own: in float32 their numbers are the same bit for bit,
    however many replicas and threads there are. All others, and all on CUDA, are stacked: one
    program of tensors trains up to 64 that fit together. Float64 equals the plain loop to rounding.

    Replicas share this process, so that none can be held to a limit of memory, and one that takes
    the process along takes all.

    Args:
        workers: How many threads train; a stack counts as one.
        limits: What one trial may take; of a stack, what is its share.

    Raises:
        RunnerError: ``workers`` is below 1, or there is a limit of memory.
    """

    name = "replicas"

    def __init__(self, workers: int = 1, limits: Limits | None = None) -> None:
        if workers < 1:
            raise RunnerError(f"workers must be a whole number from 1 on; got {workers!r}.")
        self.workers = workers
        self.limits = limits or Limits()
        if self.limits.memory is not None:
            raise RunnerError(
                "Replicas share one process, which holds none of them to a limit of memory; leave"
                " Limits.memory at None, or use runner='processes'."
            )

    def run(self, jobs: Iterable[Job]) -> Iterator[Result]:
        """The results as replicas end; when the caller stops iterating, training stops.

        Raises:
            RunnerError: An experiment, or one of its trials, is not described.
        """
        from neural_architecture_lab.replicas.grouping import grouped

        stop = threading.Event()
        failed: list[Result] = []
        groups = grouped(_planned(jobs, failed))
        pool = ThreadPoolExecutor(self.workers, thread_name_prefix="replicas")
        running: set[Future[list[Result]]] = set()
        try:
            while True:
                # One more than there are threads, so that none waits while a result is stored.
                while len(running) <= self.workers and (group := next(groups, None)) is not None:
                    running.add(pool.submit(_trained, group, self.limits.seconds, stop))
                while failed:
                    yield failed.pop(0)
                if not running:
                    return
                ended, running = wait(running, return_when=FIRST_COMPLETED)
                for future in ended:
                    yield from future.result()
        finally:
            stop.set()
            pool.shutdown(wait=True, cancel_futures=True)


def _planned(jobs: Iterable[Job], failed: list[Result]) -> Iterator[tuple[Job, ReplicaPlan, str]]:
    """Jobs with their plans; those whose plan cannot be made go to ``failed``."""
    from neural_architecture_lab.replicas.experiment import plan_of

    for job in jobs:
        made: list[ReplicaPlan] = []

        def describe(job: Job = job, made: list[ReplicaPlan] = made) -> dict[str, float]:
            plan = plan_of(job.experiment, deepcopy(job.trial), job.device)
            made.extend([] if plan is None else [plan])
            return {"described": 1.0}

        result = settled(job, describe)
        if result.status != "finished":
            failed.append(result)
        elif made:
            yield job, made[0], job.device
        else:
            raise not_described(job.trial)


def not_described(trial: Trial) -> RunnerError:
    """What to say of a trial without a plan."""
    return RunnerError(
        f"The trial {trial.id!r} cannot run as a replica, since its experiment does not"
        " describe it: use runner='processes', or give the experiment a method"
        " `replica(trial) -> ReplicaPlan`, as `neural_architecture_lab.ReplicaExperiment` has one."
    )


def _trained(group: Group, seconds: float | None, stop: threading.Event) -> list[Result]:
    """The results of a group's jobs, on a thread, whatever the last job there left switched off."""
    import torch

    with torch.inference_mode(mode=False), torch.enable_grad():
        return _of_group(group, seconds, stop)


def _of_group(group: Group, seconds: float | None, stop: threading.Event) -> list[Result]:
    if not group.fused:
        return _stacked(group, seconds, stop)
    from neural_architecture_lab.replicas.experiment import brought_back
    from neural_architecture_lab.replicas.fused import prepare, train_fused

    (job, plan) = group.members[0]
    prepare(plan)
    watch = _Watch(seconds, stop)
    return [settled(job, lambda: brought_back(job.experiment, job.trial, train_fused(plan, watch)))]


def _stacked(group: Group, seconds: float | None, stop: threading.Event) -> list[Result]:
    from neural_architecture_lab.replicas.stacked import train_stacked

    failed: list[Result] = []
    members = [
        one for one in (_started(*one, group.device, failed) for one in group.members) if one
    ]
    if not members:
        return failed
    begun = time.perf_counter()
    try:
        plans = [(plan, start) for _, plan, start in members]
        found = train_stacked(plans, group.device, _Watch(seconds, stop, len(members)))
    except Exception as reason:  # noqa: BLE001 - the same end for all, and a record of each
        share = (time.perf_counter() - begun) / len(members)
        ended = [_ended(job, reason, share) for job, _, _ in members]
        if ended[0].status != "out_of_memory" or len(members) == 1:
            return failed + ended
    else:
        pairs = zip(members, found, strict=True)
        return failed + [_settled_share(job, one) for (job, _, _), one in pairs]
    middle = len(members) // 2
    halves = (group.members[:middle], group.members[middle:])
    return [
        result
        for half in halves
        for result in _stacked(replace(group, members=half), seconds, stop)
    ]


def _started(
    job: Job, plan: ReplicaPlan, device: str, failed: list[Result]
) -> tuple[Job, ReplicaPlan, Start] | None:
    """A member of a stack with what is drawn for it, unless that fails."""
    from neural_architecture_lab.replicas.material import material_of
    from neural_architecture_lab.replicas.starting import drawn

    starts: list[Start] = []

    def start() -> dict[str, float]:
        material_of(plan, device)
        starts.append(drawn(plan))
        return {"drawn": 1.0}

    result = settled(job, start)
    if not starts:
        failed.append(result)
        return None
    return job, plan, starts[0]


def _ended(job: Job, reason: Exception, seconds: float) -> Result:
    def fail() -> None:
        raise reason

    return replace(settled(job, fail), seconds=seconds)


def _settled_share(job: Job, trained: Trained) -> Result:
    from neural_architecture_lab.replicas.experiment import brought_back

    result = settled(job, lambda: brought_back(job.experiment, job.trial, trained))
    return replace(result, seconds=trained.seconds)


class _Watch:
    """Ends a training when its time is up, or the runner's caller has gone."""

    def __init__(self, seconds: float | None, stop: threading.Event, share: int = 1) -> None:
        self._seconds, self._stop = seconds, stop
        self._until = None if seconds is None else time.perf_counter() + seconds * share

    def __call__(self) -> None:
        if self._stop.is_set():
            raise LabError("Nobody waits for it any more.")
        if self._until is not None and time.perf_counter() > self._until:
            raise OutOfTimeError(f"It ran longer than the {self._seconds:g} s that it may take.")
