"""What runs trials: here, in processes, as replicas in one program, on a cluster."""

from neural_architecture_lab.runners.processes import ProcessRunner
from neural_architecture_lab.runners.protocol import Job, Limits, Result, Runner
from neural_architecture_lab.runners.serial import SerialRunner

__all__ = ["Job", "Limits", "ProcessRunner", "Result", "Runner", "SerialRunner"]
