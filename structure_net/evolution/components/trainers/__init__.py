"""Trainers: they change weights, never shapes."""

from structure_net.evolution.components.trainers.standard import StandardNetworkTrainer

__all__ = ["StandardNetworkTrainer"]
