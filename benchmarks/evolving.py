"""A run of evolution against the same epochs in a plain loop."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.harness import Figure, interleaved, seconds
from structure_net import create_standard_network
from structure_net.data import Dataset, load_dataset
from structure_net.errors import DatasetError
from structure_net.evolution import NetworkContext
from structure_net.evolution.components import create_standard_evolution_system

ARCHITECTURE, DENSITY = [784, 256, 128, 10], 0.02
BATCH, ITERATIONS, EPOCHS = 128, 5, 3
Loader = Iterable[tuple[Tensor, Tensor]]


def _loaders(data: Dataset) -> tuple[Loader, Loader]:
    return data.train.batches(BATCH, shuffle=True), data.validation.batches(1024)


def evolve(data: Dataset) -> None:
    """The standard system, five iterations of three epochs."""
    train, validation = _loaders(data)
    network = create_standard_network(ARCHITECTURE, density=DENSITY, seed=0)
    context = NetworkContext(network, train, validation_loader=validation)
    create_standard_evolution_system(epochs=EPOCHS).evolve_network(context, ITERATIONS)


def plain(data: Dataset) -> None:
    """The start network trained for as many epochs, validated after each, as one would write it."""
    train, validation = _loaders(data)
    network = create_standard_network(ARCHITECTURE, density=DENSITY, seed=0)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01, fused=True)
    for _ in range(ITERATIONS * EPOCHS):
        network.train()
        for inputs, targets in train:
            optimizer.zero_grad()
            F.cross_entropy(network(inputs), targets).backward()
            optimizer.step()
        network.eval()
        with torch.no_grad():
            hits = [(network(x).argmax(1) == y).sum() for x, y in validation]
            torch.stack(hits).sum().item()


def figures() -> list[Figure]:
    """Evolution over the plain loop on MNIST; nothing where STRUCTURE_NET_DATA holds none."""
    try:
        data = load_dataset("mnist").flattened()
    except DatasetError:
        return []
    times = interleaved(
        {
            "evolve": lambda: seconds(lambda: evolve(data)),
            "plain": lambda: seconds(lambda: plain(data)),
        },
        repeats=3,
        warm_ups=0,
    )
    widths = "-".join(map(str, ARCHITECTURE))
    how = f"MNIST, {widths} at density {DENSITY}, batches of {BATCH}, validation after each epoch"
    return [
        Figure(
            f"evolution, {ITERATIONS} iterations of {EPOCHS} epochs, over a plain loop",
            times["evolve"] / times["plain"],
            "x",
            1.1,
            how,
        ),
        Figure("the plain loop", times["plain"], "s", None, f"{ITERATIONS * EPOCHS} epochs"),
    ]
