"""Experiments that describe their trials, and what trains many of them at once."""

from neural_architecture_lab.replicas.experiment import ReplicaExperiment
from neural_architecture_lab.replicas.plan import ReplicaPlan
from neural_architecture_lab.replicas.trained import Score, Trained

__all__ = ["ReplicaExperiment", "ReplicaPlan", "Score", "Trained"]
