"""What the laws of storages share: networks that are born in the one or the other."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from torch import nn

from structure_net import StandardNetwork, create_standard_network
from structure_net.core.crossover import get_crossover, set_crossover
from structure_net.core.storage import StoredLayer

Storage = Literal["live", "masked"]
STORAGES: tuple[Storage, Storage] = ("live", "masked")


@contextmanager
def crossover(storage: Storage) -> Iterator[None]:
    """Layers that are made meanwhile are stored in this way."""
    before = get_crossover()
    set_crossover(storage)
    try:
        yield
    finally:
        set_crossover(before)


def network(storage: Storage, seed: int = 0) -> StandardNetwork:
    """12-20-16-4 at density .3, float64."""
    with crossover(storage):
        return create_standard_network(
            [12, 20, 16, 4], density=0.3, activation="tanh", seed=seed
        ).double()


def layers(model: nn.Module) -> list[StoredLayer]:
    """The sparse layers, in order."""
    return [module for module in model.modules() if isinstance(module, StoredLayer)]
