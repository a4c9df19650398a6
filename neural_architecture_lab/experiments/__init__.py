"""Experiments that are ready to run."""

from neural_architecture_lab.experiments.catalogue import completed

__all__ = ["completed"]
