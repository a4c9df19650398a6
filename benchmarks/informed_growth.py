"""What an informed growth step costs: statistics, solving and the edit, over an epoch of training.

Random images stand for MNIST's 60,000: the cost does not depend on what they show. An epoch is
timed by some of its steps.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.harness import Figure, interleaved, seconds
from structure_net.graph import graph_of
from structure_net.surgery import (
    AddNeurons,
    Applied,
    GradMax,
    Initialiser,
    OptimalUnits,
    ZeroOutgoing,
    apply,
)

BATCH, STEPS, EPOCH, UNITS = 128, 20, 469, 8
WAYS: dict[str, Initialiser] = {
    "GradMax": GradMax(),
    "OptimalUnits": OptimalUnits(),
    "plain": ZeroOutgoing(),
}


def dense() -> nn.Sequential:
    """784-256-256-10."""
    return nn.Sequential(
        nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 10)
    )


def convolutional() -> nn.Sequential:
    """Two convolutions and a linear layer on 28 x 28."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(1568, 10),
    )


class Trained:
    """A network in training, and growth that is taken back."""

    def __init__(self, make: Callable[[], nn.Sequential], *shape: int) -> None:
        torch.manual_seed(0)
        self.model = make()
        self.optimizer = torch.optim.Adam(self.model.parameters(), fused=True)
        self.inputs = torch.randn(1024, *shape)
        self.targets = torch.randint(10, (1024,))
        self.train()
        graph_of(self.model, self.inputs[:2])

    def train(self) -> None:
        """Some steps of an epoch."""
        for step in range(STEPS):
            rows = slice(step % 8 * BATCH, (step % 8 + 1) * BATCH)
            self.optimizer.zero_grad()
            F.cross_entropy(self.model(self.inputs[rows]), self.targets[rows]).backward()
            self.optimizer.step()

    def grow(self, layer: str, start: Initialiser) -> float:
        """The seconds of one growth, statistics included; it is undone afterwards."""
        rows = start.probe_size or 1
        probe: tuple[Tensor, Tensor, Callable[..., Tensor]] = (
            self.inputs[:rows],
            self.targets[:rows],
            F.cross_entropy,
        )
        done: list[Applied] = []

        def run() -> None:
            done.append(
                apply(
                    self.model,
                    AddNeurons(layer, UNITS),
                    self.inputs[:2],
                    optimizer=self.optimizer,
                    initialiser=start,
                    probe=probe,
                )
            )

        spent = seconds(run)
        done[0].undo()
        return spent


def figures() -> list[Figure]:
    """Growth of each hidden layer, each way, over an epoch of the same network."""
    networks = {
        "784-256-256-10": (Trained(dense, 784), ("0", "2")),
        "two convolutions": (Trained(convolutional, 1, 28, 28), ("0", "3")),
    }
    found = []
    for name, (trained, layers) in networks.items():
        turns: dict[str, Callable[[], float]] = {"steps": partial(seconds, trained.train)}
        for layer in layers:
            for way, start in WAYS.items():
                turns[f"{way} {layer}"] = partial(trained.grow, layer, start)
        times = interleaved(turns, repeats=5)
        epoch = times["steps"] * EPOCH / STEPS
        for place, layer in enumerate(layers, 1):
            for way, start in WAYS.items():
                goal = 0.1 if start.probe_size else None
                how = f"{UNITS} units, a probe of {start.probe_size}" if goal else "zero fan-out"
                ratio = times[f"{way} {layer}"] / epoch
                title = f"growth by {way} in layer {place} of {name}, over an epoch"
                found.append(Figure(title, ratio, "x", goal, how))
    return found
