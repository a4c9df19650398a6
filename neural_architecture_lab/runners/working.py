"""What a worker process does with the one trial that it gets, and how that gets there and back."""

from __future__ import annotations

import multiprocessing
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing.connection import wait
from pathlib import Path
from typing import Final

from neural_architecture_lab.errors import RunnerError
from neural_architecture_lab.runners.protocol import (
    Job,
    Result,
    carried_out,
    headline,
    told_of,
)
from structure_net.data import DatasetRequest, RawDataset
from structure_net.data.registry import registered, take_over
from structure_net.data.requests import Awaited, Registration
from structure_net.errors import DatasetError

MIB: Final = 1 << 20


class Packing:
    """Makes jobs of one run bytes that any process can read.

    What can be imported travels by its name. What cannot, such as an experiment that is defined in
    a script or a notebook, travels by value, with the globals that it uses. Data sets that were
    registered before the first job travel along in the same way, as what loads them: packed once,
    and read where a trial asks for them.
    """

    def __init__(self) -> None:
        self._sets: tuple[Awaited, ...] | None = None

    def __call__(self, job: Job) -> bytes:
        """The job as bytes.

        Raises:
            RunnerError: The experiment holds on to something that cannot leave its process.
        """
        import cloudpickle

        if self._sets is None:
            self._sets = tuple(map(_sendable, registered()))
        try:
            packet: bytes = cloudpickle.dumps((job, self._sets))
        except Exception as error:
            raise RunnerError(
                f"The experiment {job.experiment!r} cannot be sent to another process ({error})."
                " Define it in a module, without open files, locks or generators in what it refers"
                " to, or use runner='serial'."
            ) from error
        return packet


def unpacked_job(packet: bytes) -> Job:
    """The job that `Packing` packed; data sets that were registered there are known here then."""
    import cloudpickle

    job: Job
    job, registrations = cloudpickle.loads(packet)
    take_over(registrations)
    return job


@dataclass(frozen=True, slots=True)
class Unsent:
    """Stands for what loads a data set, where that could not leave its process.

    Args:
        reason: Why not.
    """

    reason: str

    def __call__(self, request: DatasetRequest) -> RawDataset:
        """Says so.

        Raises:
            DatasetError: Always.
        """
        raise DatasetError(
            f"What loads the data set {request.name!r} cannot be sent to another process"
            f" ({self.reason}). Register a function that stands at the top of a module, or use"
            " runner='serial'."
        )


def _sendable(registration: Registration) -> Awaited:
    import cloudpickle

    try:
        held: bytes = cloudpickle.dumps(registration)
    except Exception as error:  # noqa: BLE001 - whatever the user's loader holds may fail in any way
        held = cloudpickle.dumps(replace(registration, loader=Unsent(headline(told_of(error)))))
    return Awaited(registration.name, partial(_arrived, registration.name, held))


def _arrived(name: str, held: bytes) -> Registration:
    import cloudpickle

    try:
        registration: Registration = cloudpickle.loads(held)
    except Exception as error:  # noqa: BLE001 - as where it was packed
        return Registration(name, Unsent(headline(told_of(error))), {})
    return registration


def work(packet: bytes, memory: float | None) -> bytes:
    """Runs a packed job in this process, on one thread, which ends when the lab does.

    Args:
        packet: What `Packing` made.
        memory: MiB that the trial may take beyond what the process has now; None for any.

    Returns:
        The result, packed.
    """
    import cloudpickle

    _end_with_the_lab()
    use_one_thread()
    job = unpacked_job(packet)
    result = measured(job, memory)
    try:
        answer: bytes = cloudpickle.dumps(result)
    except Exception as reason:  # noqa: BLE001 - what the user's outcome holds may fail in any way
        error = f"Its outcome cannot leave its process: {told_of(reason)}"
        failed = Result(
            job.trial, "failed", None, error, result.seconds, job.attempt, result.memory
        )
        answer = cloudpickle.dumps(failed)
    return answer


def measured(job: Job, memory: float | None) -> Result:
    """Runs a job here, held to ``memory`` MiB beyond what this process has; says what it took."""
    try:
        with holding_to(memory):
            result = carried_out(job)
    except MemoryError:  # there was not even room to say so
        result = Result(job.trial, "out_of_memory", attempt=job.attempt)
    if result.status == "out_of_memory" and memory is not None:
        words = f"It asked for more than the {memory:g} MiB that it may take."
        result = replace(result, error=f"{words}\n{result.error}".strip())
    return replace(result, memory=peak_memory())


@contextmanager
def holding_to(memory: float | None) -> Iterator[None]:
    """Lets this process take ``memory`` MiB of its own beyond what it has; any if None.

    What is shared with other processes, such as a mapped file, does not count.
    """
    if memory is None:
        yield
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    wanted = int(_data_now() + memory * MIB)
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (wanted, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def peak_memory() -> float | None:
    """The most memory that this process held, in MiB; None on systems that do not tell."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / MIB if sys.platform == "darwin" else most / 1024


def use_one_thread() -> None:
    """Leaves this process one thread for arithmetic.

    Sums then never depend on how many workers there are, and workers do not crowd each other out.
    """
    import torch
    from threadpoolctl import threadpool_limits

    torch.set_num_threads(1)
    threadpool_limits(1)


def _data_now() -> int:
    """Bytes of this process's own memory that it may write, as Linux counts them."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmData:"))


def _end_with_the_lab() -> None:
    lab = multiprocessing.parent_process()
    assert lab is not None  # this is a worker

    def watch() -> None:
        wait([lab.sentinel])
        os._exit(1)

    threading.Thread(target=watch, name="lab-watch", daemon=True).start()
