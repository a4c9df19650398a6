"""Ordinary experiments of four families, none of them extreme in any way."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np

from structure_net.logging.search import ExperimentFacts

FAMILIES = {
    # name: model, data sets, inputs, outputs, loss
    "mlp": ("MLP", ("mnist", "fashion_mnist", "digits"), 784, 10, "cross_entropy"),
    "cnn": ("CNN", ("cifar10", "mnist", "fashion_mnist"), 3, 10, "cross_entropy"),
    "transformer": ("TransformerEncoder", ("agnews", "imdb"), 512, 4, "cross_entropy"),
    "regression": ("MLP", ("california_housing", "diabetes"), 10, 1, "mse"),
}
STRATEGIES = {
    "ExtremaGrowthStrategy": "AddNeurons",
    "NeuronSplitStrategy": "SplitNeurons",
    "PruningGrowthStrategy": "RemoveNeurons",
    "DepthGrowthStrategy": "InsertLayer",
    "ResidualBlockGrowthStrategy": "AddResidualBlock",
    "SparseEvolutionaryTraining": "AddConnections",
}


def exponential(rng: np.random.Generator, epochs: int, rate: float, noise: float) -> Any:
    """A loss that falls from about 2.3 towards a floor, ``rate`` times faster than the run."""
    t = np.arange(epochs) / (epochs - 1)
    floor = rng.uniform(0.1, 0.6)
    return floor + (2.3 - floor) * np.exp(-rate * t) + rng.normal(0, noise, epochs)


def ordinary_curve(rng: np.random.Generator, epochs: int) -> Any:
    """A loss as runs show it: most fall smoothly; some wobble, relapse a little or settle soon."""
    curve = exponential(rng, epochs, rng.uniform(3.0, 9.0), rng.choice([0.004, 0.01, 0.05]))
    t = np.arange(epochs) / (epochs - 1)
    kind = rng.uniform()
    if kind < 0.05:
        curve += rng.uniform(0.1, 0.4) * np.maximum(t - 0.6, 0)
    elif kind < 0.1:
        curve = exponential(rng, epochs, rng.uniform(9.0, 14.0), 0.01)
    elif kind < 0.13:
        curve[-2:] += rng.uniform(0.2, 0.6)
    return curve


def others(count: int, seed: int = 0) -> Iterator[ExperimentFacts]:
    """Ordinary experiments of all families, none of them extreme in the way a planted one is."""
    rng = np.random.default_rng(seed)
    for number in range(count):
        yield _ordinary(rng, number)


def _ordinary(rng: np.random.Generator, number: int) -> ExperimentFacts:
    model, datasets, inputs, outputs, loss = FAMILIES[str(rng.choice(list(FAMILIES)))]
    epochs = int(rng.integers(10, 60))
    depth = int(rng.integers(2, 6))
    hidden = [int(2 ** rng.uniform(5, 9)) for _ in range(depth)]
    factor = 1 + rng.exponential(0.4)
    density = float(10 ** rng.uniform(-1.5, 0))
    known = [name for name in STRATEGIES if model != "CNN" or name != "NeuronSplitStrategy"]
    strategies = rng.choice(known, size=int(rng.integers(1, 3)), replace=False)
    edits = {STRATEGIES[str(name)]: int(rng.integers(1, 8)) for name in strategies}
    curve = ordinary_curve(rng, epochs)
    accuracy = float(rng.uniform(0.6, 0.97))
    start = [inputs, *hidden, outputs]
    end = [inputs, *(int(width * factor) for width in hidden), outputs]
    curves = {"validation_loss": tuple(curve), "train_loss": tuple(curve * 0.9)}
    metrics = {}
    if loss != "mse":
        rising = accuracy - (curve - curve[-1]) / 4
        curves |= {"validation_accuracy": tuple(np.clip(rising, 0.05, 1))}
        curves |= {"train_accuracy": tuple(np.clip(rising + 0.02, 0.05, 1))}
        metrics = {"test_accuracy": accuracy - 0.01}
    return ExperimentFacts(
        name=f"runs/{number:05d}",
        model=model,
        dataset=str(rng.choice(list(datasets))),
        status="finished",
        created=f"2026-0{number % 9 + 1}-{number % 28 + 1:02d}T12:00:00+00:00",
        seed=int(rng.integers(0, 100)),
        start_density=density,
        density=density * float(rng.uniform(0.8, 1.2)),
        curves={name: tuple(map(float, values)) for name, values in curves.items()},
        edits=edits,
        edited_at={
            kind: tuple(np.sort(rng.uniform(0, 0.8, size)).tolist()) for kind, size in edits.items()
        },
        strategies={str(name): edits[STRATEGIES[str(name)]] for name in strategies},
        taken_back=int(rng.integers(0, 1 + sum(edits.values()))),
        metrics=metrics,
        settings={
            "learning_rate": float(10 ** rng.uniform(-4, -1.3)),
            "batch_size": int(2 ** rng.integers(4, 9)),
            "loss": loss,
        },
        seconds=float(10 ** rng.uniform(0.5, 3.5)),
        **sized(start, "start_", density),
        **sized(end, "", density),
    )


def sized(widths: list[int], prefix: str, density: float) -> dict[str, Any]:
    """Widths with the connections and parameters that belong to them."""
    pairs = pairwise(widths)
    connections = max(1, int(sum(a * b for a, b in pairs) * density))
    return {
        f"{prefix}widths": tuple(widths),
        f"{prefix}connections": connections,
        f"{prefix}parameters": connections + sum(widths[1:]),
    }
