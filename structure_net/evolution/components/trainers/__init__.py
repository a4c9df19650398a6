"""Trainers: they change weights, never shapes."""

from structure_net.evolution.components.trainers.rewinding import (
    LotteryRewind,
)
from structure_net.evolution.components.trainers.standard import StandardNetworkTrainer

__all__ = [
    "LotteryRewind",
    "StandardNetworkTrainer",
]
