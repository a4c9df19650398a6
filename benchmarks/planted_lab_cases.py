"""Two sets of twenty experiments that are planted among those of `planted_lab`.

Their questions stand in `planted_lab_questions`: by people who saw the experiments' facts and the
user's page about the search, and nothing of the index.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from benchmarks.planted_lab import networks, planted
from structure_net.logging.search import ExperimentFacts

Facts = Mapping[str, Any]


def curve(name: str, values: Any) -> dict[str, tuple[float, ...]]:
    """A curve by its name, to four digits."""
    return {name: tuple(round(float(value), 4) for value in values)}


def rise(start: float, end: float, epochs: int, rate: float) -> Any:
    """An accuracy, shape ``(epochs,)``, that nears its end ``rate`` times faster than the run."""
    return end - (end - start) * np.exp(-rate * np.linspace(0, 1, epochs))


def noise(size: int, scale: float) -> Any:
    """Normal noise, shape ``(size,)``, the same for the same size."""
    return np.random.default_rng(size).normal(0, scale, size)


def both(train: Any, held_out: Any) -> dict[str, tuple[float, ...]]:
    """The accuracies of training and of validation."""
    return curve("train_accuracy", train) | curve("validation_accuracy", held_out)


def step(epochs: int, place: int, low: float, high: float) -> Any:
    """``low`` for the first ``place`` epochs, then ``high``."""
    return np.where(np.arange(epochs) < place, low, high)


_NAN: Final = float("nan")

FIRST: Final[tuple[Facts, ...]] = (
    {
        "model": "CNN",
        "dataset": "svhn",
        "settings": {"learning_rate": 0.1, "optimizer": "sgd", "batch_size": 128},
        "edits": {"AddNeurons": 2},
        "edited_at": {"AddNeurons": (0.5, 0.6)},
        "strategies": {"GradMaxGrowth": 2},
        "curves": curve("validation_loss", [2.2, 1.7, 1.3, 1.1, 1.0, 0.95, *[_NAN] * 5]),
        "status": "failed",
        "reason": "the loss was not finite in epoch 7",
    },
    {
        "model": "MLP",
        "dataset": "mnist",
        **networks([784, 300, 100, 10], [784, 300, 100, 10], 0.008),
        "edits": {"AddConnections": 40, "RemoveConnections": 40},
        "strategies": {"RigL": 80},
        "curves": both([0.6, 0.87, 0.94, *[0.96] * 37], [0.6, 0.86, 0.93, *[0.951] * 37]),
        "metrics": {"test_accuracy": 0.95},
    },
    {
        "model": "TransformerEncoder",
        "dataset": "agnews",
        "start_parameters": 4_200_000,
        "parameters": 3_100_000,
        "edits": {"RemoveHeads": 6},
        "edited_at": {"RemoveHeads": (0.3, 0.3, 0.5, 0.5, 0.7, 0.7)},
        "strategies": {"HeadPruning": 6},
        "curves": both(rise(0.5, 0.93, 20, 8), rise(0.5, 0.905, 20, 8)),
        "metrics": {"test_accuracy": 0.903},
    },
    {
        "model": "ResNet",
        "dataset": "cifar10",
        "start_parameters": 270_000,
        "parameters": 850_000,
        "edits": {"AddResidualBlock": 5},
        "edited_at": {"AddResidualBlock": (0.2, 0.35, 0.5, 0.65, 0.8)},
        "strategies": {"ResidualBlockGrowthStrategy": 5},
        "curves": both(rise(0.3, 0.95, 100, 5), rise(0.3, 0.91, 100, 5)),
        "metrics": {"test_accuracy": 0.908},
    },
    {
        "model": "Autoencoder",
        "dataset": "fashion_mnist",
        **networks([784, 256, 4, 256, 784], [784, 256, 4, 256, 784], 1.0),
        "edits": {},
        "curves": curve("validation_loss", 0.02 + 0.08 * np.exp(-5 * np.linspace(0, 1, 30))),
        "settings": {"loss": "mse"},
    },
    {
        "model": "LSTM",
        "dataset": "imdb",
        "edits": {},
        "curves": both(
            rise(0.6, 0.995, 25, 6), [*rise(0.6, 0.865, 7, 3), *np.linspace(0.86, 0.81, 18)]
        ),
        "metrics": {"test_accuracy": 0.808},
        "settings": {"dropout": 0.0},
    },
    {
        "model": "MLP",
        "dataset": "wine",
        **networks([13, 6, 3], [13, 6, 3], 1.0),
        "curves": both(rise(0.4, 1.0, 50, 6), rise(0.4, 0.98, 50, 6)),
        "metrics": {"test_accuracy": 0.981},
        "edits": {},
        "seconds": 2.1,
    },
    {
        "model": "MLP",
        "dataset": "diabetes",
        **networks([10, 8, 1], [10, 24, 1], 1.0),
        "edits": {"AddNeurons": 4},
        "edited_at": {"AddNeurons": (0.2, 0.4, 0.6, 0.8)},
        "strategies": {"GradMaxGrowth": 4},
        "curves": curve("validation_loss", np.linspace(1.3, 0.5, 40)),
    },
    {
        "model": "CNN",
        "dataset": "speech_commands",
        "status": "interrupted",
        "reason": "interrupted by the user",
        "edits": {},
        "curves": curve("validation_loss", [2.4, 2.1, 1.9]),
        "settings": {"epochs": 100},
        "seconds": 340.0,
    },
    {
        "model": "MLP",
        "dataset": "digits",
        "settings": {"batch_size": 1024, "weight_decay": 1.0, "optimizer": "adamw"},
        "edits": {},
        "curves": both(rise(0.3, 1.0, 60, 20), step(60, 38, 0.14, 0.97) + noise(60, 0.004)),
        "metrics": {"test_accuracy": 0.966},
    },
    {
        "model": "MLP",
        "dataset": "mnist",
        **networks([784, 300, 100, 10], [784, 300, 100, 10], 1.0, 0.17),
        "edits": {"RemoveConnections": 8},
        "edited_at": {"RemoveConnections": tuple(k / 8 for k in range(8))},
        "strategies": {"IterativeMagnitudePruning": 8},
        "settings": {"trainer": "LotteryRewind", "rewind_to": "epoch 1"},
        "curves": both(rise(0.9, 0.995, 40, 6), rise(0.9, 0.978, 40, 6)),
        "metrics": {"test_accuracy": 0.977},
    },
    {
        "model": "MLP",
        "dataset": "california_housing",
        **networks([8, 32, 1], [8, *[32] * 13, 1], 1.0),
        "edits": {"InsertLayer": 12},
        "edited_at": {"InsertLayer": tuple(k / 13 for k in range(1, 13))},
        "strategies": {"DepthGrowthStrategy": 12},
        "curves": curve("validation_loss", 0.3 + 0.9 * np.exp(-4 * np.linspace(0, 1, 65))),
        "seconds": 7300.0,
    },
    {
        "model": "CNN",
        "dataset": "cifar10",
        "edits": {},
        "taken_back": 25,
        "strategies": {"NeuronSplitStrategy": 0, "ExtremaGrowthStrategy": 0},
        "settings": {"acceptance": "tournament"},
        "curves": both(rise(0.3, 0.8, 50, 6), rise(0.3, 0.72, 50, 6)),
        "metrics": {"test_accuracy": 0.715},
    },
    {
        "model": "MLP",
        "dataset": "mnist",
        **networks([784, 512, 10], [784, 512, 10], 1.0),
        "edits": {},
        "settings": {"optimizer": "adam", "activation": "gelu", "schedule": "cosine"},
        "curves": both(rise(0.92, 0.999, 20, 5), rise(0.92, 0.983, 20, 5)),
        "metrics": {"test_accuracy": 0.982},
        "text": "reference without any growth, for the table",
    },
    {
        "model": "CNN",
        "dataset": "svhn",
        "edits": {"RemoveNeurons": 1},
        "edited_at": {"RemoveNeurons": (0.5,)},
        "strategies": {"PruningGrowthStrategy": 1},
        "start_parameters": 400_000,
        "parameters": 200_000,
        "curves": curve(
            "validation_accuracy",
            [*rise(0.4, 0.93, 20, 5), 0.41, 0.6, 0.75, 0.84, 0.9, *rise(0.91, 0.93, 15, 5)],
        ),
        "metrics": {"test_accuracy": 0.927},
    },
    {
        "model": "TransformerEncoder",
        "dataset": "imdb",
        "start_parameters": 4_000_000,
        "parameters": 85_000_000,
        "edits": {"DoubleWidth": 4},
        "edited_at": {"DoubleWidth": (0.2, 0.4, 0.6, 0.8)},
        "strategies": {"WidthDoubling": 4},
        "curves": curve("validation_loss", [0.69, 0.6, 0.5, 0.45, 0.42]),
        "status": "failed",
        "reason": "torch.OutOfMemoryError: CUDA out of memory",
    },
    {
        "model": "MLP",
        "dataset": "fashion_mnist",
        **networks([784, *[128] * 6, 10], [784, *[96] * 3, 10], 1.0),
        "edits": {"RemoveLayer": 3, "MergeNeurons": 3},
        "edited_at": {"RemoveLayer": (0.3, 0.5, 0.7), "MergeNeurons": (0.35, 0.55, 0.75)},
        "strategies": {"LayerRemoval": 3, "NeuronMerging": 3},
        "curves": both(rise(0.6, 0.9, 40, 6), rise(0.6, 0.88, 40, 6)),
        "metrics": {"test_accuracy": 0.877},
    },
    {
        "model": "MLP",
        "dataset": "breast_cancer",
        "edits": {"ResetNeurons": 30},
        "edited_at": {"ResetNeurons": tuple(k / 31 for k in range(1, 31))},
        "strategies": {"ReDo": 30},
        "settings": {"activation": "tanh", "dropout": 0.5},
    },
    {
        "model": "ResNet",
        "dataset": "cifar10",
        "edits": {},
        "curves": both(rise(0.4, 0.999, 500, 6), rise(0.4, 0.945, 500, 6)),
        "metrics": {"test_accuracy": 0.943},
        "settings": {"schedule": "cosine", "optimizer": "sgd"},
        "seconds": 108_000.0,
    },
    {
        "model": "MLP",
        "dataset": "fashion_mnist",
        "density": 0.1,
        "start_density": 0.1,
        "edits": {"AddConnections": 20, "RemoveConnections": 20},
        "edited_at": {
            "AddConnections": tuple(k / 21 + 0.01 for k in range(1, 21)),
            "RemoveConnections": tuple(k / 21 for k in range(1, 21)),
        },
        "strategies": {"SparseEvolutionaryTraining": 40},
        "settings": {"batch_size": 4, "optimizer": "sgd"},
        "curves": curve("validation_accuracy", rise(0.5, 0.82, 45, 5) + noise(45, 0.06)),
    },
)


def experiments(cases: Sequence[Facts], first: int) -> tuple[ExperimentFacts, ...]:
    """The planted experiments of ``cases`` in order, drawn with seeds from ``first`` on."""
    return tuple(planted(seed, f"runs/x{seed}", one) for seed, one in enumerate(cases, first))
