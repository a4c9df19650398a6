"""Ten thousand experiments of a whole laboratory: many data sets, models, settings and outcomes.

They are more various than those of `ordinary`: one in twenty fails, one in ten overfits, some sets
are seen by recurrent networks, and every setting that people speak of has several values. A planted
experiment is told from them by what it combines, seldom by one fact alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from benchmarks.ordinary import sized
from structure_net.logging.search import ExperimentFacts


@dataclass(frozen=True, slots=True)
class Family:
    """Data sets that the same models see."""

    datasets: tuple[str, ...]
    models: tuple[str, ...]
    inputs: int
    outputs: int
    regression: bool = False


FAMILIES: Final = (
    Family(("mnist", "fashion_mnist"), ("MLP", "MLP", "CNN", "Autoencoder"), 784, 10),
    Family(("digits",), ("MLP",), 64, 10),
    Family(("cifar10", "svhn"), ("CNN", "ResNet", "MLP"), 3072, 10),
    Family(("agnews", "imdb"), ("TransformerEncoder", "LSTM"), 512, 4),
    Family(("speech_commands",), ("CNN", "LSTM"), 640, 12),
    Family(("california_housing", "diabetes"), ("MLP",), 10, 1, regression=True),
    Family(("wine", "breast_cancer"), ("MLP",), 20, 3),
)
STRATEGIES: Final[Mapping[str, tuple[str, ...]]] = {
    "ExtremaGrowthStrategy": ("AddNeurons",),
    "GradMaxGrowth": ("AddNeurons",),
    "NeuronSplitStrategy": ("SplitNeurons",),
    "PruningGrowthStrategy": ("RemoveNeurons",),
    "MagnitudePruning": ("RemoveConnections",),
    "DepthGrowthStrategy": ("InsertLayer",),
    "ResidualBlockGrowthStrategy": ("AddResidualBlock",),
    "SparseEvolutionaryTraining": ("RemoveConnections", "AddConnections"),
    "RigL": ("RemoveConnections", "AddConnections"),
    "ReDo": ("ResetNeurons",),
    "NeuronMerging": ("MergeNeurons",),
    "SkipConnectionGrowth": ("AddSkipConnection",),
}
GROUPS: Final = (
    "width study", "depth study", "sparsity sweep", "seeds for the paper", "normalisation",
    "optimizer comparison", "growth schedule", "pruning schedule", "initialisation", "smoke test",
    "data augmentation", "activation functions", "",
)  # fmt: skip
_CREATED: Final = "2026-{month:02d}-{day:02d}T{hour:02d}:30:00+00:00"


def laboratory(count: int, seed: int = 1) -> Iterator[ExperimentFacts]:
    """Ordinary experiments of all families."""
    rng = np.random.default_rng(seed)
    for number in range(count):
        yield ordinary(rng, f"runs/{number:05d}")


def falling(rng: np.random.Generator, epochs: int, rate: float, noise: float) -> Any:
    """A loss, shape ``(epochs,)``, that falls from about 2.3 towards a floor."""
    t = np.linspace(0, 1, epochs)
    floor = rng.uniform(0.1, 0.6)
    return floor + (2.3 - floor) * np.exp(-rate * t) + rng.normal(0, noise, epochs)


def curves_of(rng: np.random.Generator, epochs: int, *, accuracy: float | None) -> dict[str, Any]:
    """Losses, and accuracies where there are classes, of one of the ways in which runs go."""
    noise = float(rng.choice([0.003, 0.01, 0.04]))
    held_out = falling(rng, epochs, rng.uniform(2.5, 12.0), noise)
    train = held_out * rng.uniform(0.75, 0.98)
    t = np.linspace(0, 1, epochs)
    way = rng.uniform()
    if way < 0.1:  # overfits
        held_out = held_out + rng.uniform(0.2, 0.7) * np.maximum(t - rng.uniform(0.3, 0.6), 0)
        train = train * (1 - 0.7 * t)
    elif way < 0.13:  # breaks down once
        place = int(epochs * rng.uniform(0.4, 0.8))
        held_out[place : place + 2] += rng.uniform(0.2, 0.6)
    elif way < 0.15:
        held_out[int(epochs * rng.uniform(0.3, 0.9)) :] = np.nan
    elif way < 0.18:
        held_out = 2.2 + rng.normal(0, 0.02, epochs)
        train, accuracy = held_out * 0.99, accuracy and 0.2
    curves = {"validation_loss": held_out, "train_loss": train}
    if accuracy is not None:
        last = held_out[np.isfinite(held_out)][-1]
        curves["validation_accuracy"] = np.clip(accuracy - (held_out - last) / 3, 0.03, 1)
        curves["train_accuracy"] = np.clip(accuracy + 0.02 - (train - train[-1]) / 3, 0.03, 1)
    return {name: tuple(map(float, values)) for name, values in curves.items()}


def _edited(rng: np.random.Generator, model: str) -> dict[str, Any]:
    """Edits of up to two strategies; one run in five has none."""
    if rng.uniform() < 0.2:
        return {"edits": {}, "edited_at": {}, "strategies": {}, "taken_back": 0}
    names = [str(name) for name in rng.choice(list(STRATEGIES), int(rng.integers(1, 3)), False)]
    kinds = {kind for name in names for kind in STRATEGIES[name]}
    if model == "TransformerEncoder" and rng.uniform() < 0.2:
        kinds, names = kinds | {"RemoveHeads"}, [*names, "HeadPruning"]
    edits = {kind: int(rng.integers(1, 9)) for kind in sorted(kinds)}
    times = {kind: np.sort(rng.uniform(0, 0.9, size)) for kind, size in edits.items()}
    return {
        "edits": edits,
        "edited_at": {kind: tuple(map(float, places)) for kind, places in times.items()},
        "strategies": {
            name: sum(edits[kind] for kind in STRATEGIES.get(name, ("RemoveHeads",)))
            for name in names
        },
        "taken_back": int(rng.integers(0, 1 + sum(edits.values()))),
    }


def _ended(rng: np.random.Generator) -> dict[str, Any]:
    chance = rng.uniform()
    if chance < 0.93:
        return {"status": "finished", "reason": ""}
    if chance < 0.96:
        return {"status": "interrupted", "reason": "interrupted by the user"}
    reasons = ("RuntimeError: shapes cannot be multiplied", "ValueError: no batch", "out of time")
    return {"status": "failed", "reason": str(rng.choice(reasons))}


def _settings(rng: np.random.Generator, epochs: int, *, regression: bool) -> dict[str, Any]:
    return {
        "learning_rate": round(float(10 ** rng.uniform(-4, -1.2)), 5),
        "batch_size": int(2 ** rng.integers(4, 10)),
        "epochs": epochs,
        "optimizer": str(rng.choice(["adam", "adam", "adamw", "sgd", "sgd", "rmsprop"])),
        "activation": str(rng.choice(["relu", "relu", "gelu", "tanh", "silu"])),
        "schedule": str(rng.choice(["constant", "cosine", "step", "warmup"])),
        "weight_decay": float(rng.choice([0.0, 0.0, 1e-4, 1e-3, 1e-2])),
        "dropout": float(rng.choice([0.0, 0.0, 0.1, 0.2, 0.5])),
        "loss": "mse" if regression else "cross_entropy",
    }


def _grown(widths: list[int], edits: Mapping[str, int], factor: float) -> list[int]:
    """The widths behind edits of these kinds."""
    wider = {"AddNeurons", "SplitNeurons"} & set(edits)
    narrower = {"RemoveNeurons", "MergeNeurons"} & set(edits)
    factor = factor if wider else 1 / factor if narrower else 1.0
    hidden = [max(2, int(width * factor)) for width in widths[1:-1]]
    hidden += [hidden[-1]] * min(edits.get("InsertLayer", 0), 3)
    return [widths[0], *hidden, widths[-1]]


def ordinary(rng: np.random.Generator, name: str, model: str = "") -> ExperimentFacts:
    """An ordinary experiment; of a family with ``model`` if one is named."""
    known = [family for family in FAMILIES if not model or model in family.models]
    family = known[int(rng.integers(len(known)))]
    model = model or str(rng.choice(list(family.models)))
    epochs = int(rng.integers(8, 80))
    middle = [int(2 ** rng.uniform(4, 9)) for _ in range(int(rng.integers(1, 6)))]
    outputs = family.inputs if model == "Autoencoder" else family.outputs
    density = float(rng.choice([1.0, 1.0, 10 ** rng.uniform(-1.7, 0)]))
    edited = _edited(rng, model)
    factor = float(1 + rng.exponential(0.6))
    start = [family.inputs, *middle, outputs]
    end = _grown(start, edited["edits"], factor)
    accuracy = None if family.regression or outputs > 20 else float(rng.uniform(0.55, 0.97))
    curves = curves_of(rng, epochs, accuracy=accuracy)
    held_out = curves.get("validation_accuracy", (float("nan"),))[-1]
    metrics = {} if accuracy is None or np.isnan(held_out) else {"test_accuracy": held_out - 0.01}
    month, day, hour = (int(rng.integers(1, top)) for top in (12, 29, 24))
    return ExperimentFacts(
        name=name,
        model=model,
        dataset=str(rng.choice(list(family.datasets))),
        created=_CREATED.format(month=month, day=day, hour=hour),
        seed=int(rng.integers(0, 100)),
        start_density=density,
        density=density,
        curves=curves,
        metrics=metrics,
        settings=_settings(rng, epochs, regression=family.regression or outputs > 20),
        seconds=float(10 ** rng.uniform(0.7, 4.0)),
        text=str(rng.choice(list(GROUPS))),
        **_ended(rng),
        **edited,
        **sized(start, "start_", density),
        **sized(end, "", density),
    )
