"""A trial on a worker of a cluster: in a fresh process there, so that the worker outlives it.

So the same trial comes to the same end everywhere: what raises, hangs, fills memory or takes its
process along becomes a result on a cluster, too, and the cluster has only lost workers to care for.
"""

from __future__ import annotations

import sys
from dataclasses import replace

from neural_architecture_lab.runners.processes import ProcessRunner
from neural_architecture_lab.runners.protocol import Job, Limits, Result
from neural_architecture_lab.runners.working import measured, unpacked_job


def carry_out(packet: bytes, limits: Limits) -> bytes:
    """Runs a job that `neural_architecture_lab.runners.working.Packing` packed, under limits.

    Returns:
        The result, packed.
    """
    import cloudpickle

    answer: bytes = cloudpickle.dumps(_result(unpacked_job(packet), limits))
    return answer


def _result(job: Job, limits: Limits) -> Result:
    if sys.platform == "win32":  # no process to fork: the worker itself
        return measured(job, None)
    (result,) = ProcessRunner(1, limits).run([job])
    return result


def unpacked(answer: bytes) -> Result:
    """What `carry_out` returned, as a result."""
    import cloudpickle

    result: Result = cloudpickle.loads(answer)
    return result


def never_answered(job: Job, reason: BaseException) -> Result:
    """The result of a job that no worker brought to an end."""
    error = f"No worker brought it to an end: {type(reason).__name__}: {reason}"
    return replace(Result(job.trial, "lost", error=error), attempt=job.attempt)
