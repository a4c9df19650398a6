"""What runs trials: here, in processes, on a cluster."""

from neural_architecture_lab.runners.dask import DaskRunner
from neural_architecture_lab.runners.processes import ProcessRunner
from neural_architecture_lab.runners.protocol import Job, Limits, Result, Runner
from neural_architecture_lab.runners.ray import RayRunner
from neural_architecture_lab.runners.replicas import ReplicaRunner
from neural_architecture_lab.runners.serial import SerialRunner

__all__ = [
    "DaskRunner",
    "Job",
    "Limits",
    "ProcessRunner",
    "RayRunner",
    "ReplicaRunner",
    "Result",
    "Runner",
    "SerialRunner",
]
