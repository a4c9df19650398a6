"""Experiments and hypotheses that are ready to run."""

from neural_architecture_lab.experiments.catalogue import (
    available_hypotheses,
    completed,
    default_of,
    ready_hypothesis,
)
from neural_architecture_lab.experiments.datasets import on_dataset
from neural_architecture_lab.experiments.evolving import described, evolve, growing
from neural_architecture_lab.experiments.placing import place

__all__ = [
    "available_hypotheses",
    "completed",
    "default_of",
    "described",
    "evolve",
    "growing",
    "on_dataset",
    "place",
    "ready_hypothesis",
]
