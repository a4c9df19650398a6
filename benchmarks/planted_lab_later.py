"""The second twenty experiments that are planted among those of `planted_lab`."""

from __future__ import annotations

from typing import Final

import numpy as np

from benchmarks.planted_lab import networks
from benchmarks.planted_lab_cases import Facts, both, curve, noise, rise

_T: Final = np.linspace(0, 1, 40)

SECOND: Final[tuple[Facts, ...]] = (
    {
        "model": "CNN",
        "dataset": "mnist",
        **networks([784, 16, 16, 10], [784, 128, 128, 10], 1.0),
        "edits": {"SplitNeurons": 3},
        "edited_at": {"SplitNeurons": (0.25, 0.5, 0.75)},
        "strategies": {"NeuronSplitStrategy": 3},
        "curves": both(rise(0.9, 0.999, 24, 5), rise(0.9, 0.991, 24, 5)),
        "metrics": {"test_accuracy": 0.991},
    },
    {
        "model": "MLP",
        "dataset": "svhn",
        **networks([3072, 32, 10], [3072, 96, 10], 1.0),
        "edits": {"AddNeurons": 5, "RemoveNeurons": 7},
        "edited_at": {
            "AddNeurons": (0.05, 0.1, 0.2, 0.3, 0.4),
            "RemoveNeurons": (0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85),
        },
        "strategies": {"ExtremaGrowthStrategy": 5, "PruningGrowthStrategy": 7},
    },
    {
        "model": "MLP",
        "dataset": "california_housing",
        "settings": {"loss": "huber", "optimizer": "rmsprop", "learning_rate": 0.003},
        "edits": {},
        "curves": curve("validation_loss", 0.4 + 0.02 * np.exp(-8 * _T)),
        "seconds": 8.0,
    },
    {
        "model": "MLP",
        "dataset": "fashion_mnist",
        **networks([784, 512, 32, 512, 10], [784, 512, 32, 512, 10], 1.0),
        "edits": {},
    },
    {
        "model": "MLP",
        "dataset": "cifar10",
        **networks([3072, 2048, 1024, 512, 256, 10], [3072, 2048, 1024, 512, 256, 10], 1.0),
        "edits": {},
        "curves": both(rise(0.3, 0.98, 60, 5), rise(0.3, 0.55, 60, 14)),
        "metrics": {"test_accuracy": 0.548},
    },
    {
        "model": "CNN",
        "dataset": "speech_commands",
        "edits": {"AddSkipConnection": 4},
        "edited_at": {"AddSkipConnection": (0.03, 0.06, 0.09, 0.12)},
        "strategies": {"SkipConnectionGrowth": 4},
        "curves": both(rise(0.2, 0.96, 30, 6), rise(0.2, 0.94, 30, 6)),
        "metrics": {"test_accuracy": 0.938},
    },
    {
        "model": "TransformerEncoder",
        "dataset": "agnews",
        "status": "stopped",
        "reason": "the time limit of 3600 s was reached",
        "seconds": 3605.0,
        "edits": {"InsertLayer": 2},
        "edited_at": {"InsertLayer": (0.4, 0.8)},
        "strategies": {"DepthGrowthStrategy": 2},
        "curves": both(rise(0.4, 0.85, 9, 2), rise(0.4, 0.84, 9, 2)),
    },
    {
        "model": "ResNet",
        "dataset": "svhn",
        "settings": {"learning_rate": 0.5, "optimizer": "sgd", "schedule": "constant"},
        "edits": {},
        "curves": both(
            [*rise(0.4, 0.9, 12, 4), *[0.2] * 18], [*rise(0.4, 0.88, 12, 4), *[0.19] * 18]
        ),
        "metrics": {"test_accuracy": 0.19},
    },
    {
        "model": "MLP",
        "dataset": "digits",
        **networks([64, 10], [64, 10], 1.0),
        "edits": {},
        "curves": both(rise(0.5, 0.95, 30, 6), rise(0.5, 0.94, 30, 6)),
        "metrics": {"test_accuracy": 0.936},
        "text": "linear model to compare with",
    },
    {
        "model": "MLP",
        "dataset": "mnist",
        **networks([784, 200, 200, 10], [784, 200, 200, 10], 0.02, 0.3),
        "edits": {"AddConnections": 14},
        "edited_at": {"AddConnections": tuple(k / 15 for k in range(1, 15))},
        "strategies": {"ConnectionGrowth": 14},
        "curves": both(rise(0.7, 0.99, 45, 5), rise(0.7, 0.972, 45, 5)),
        "metrics": {"test_accuracy": 0.97},
    },
    {
        "model": "LSTM",
        "dataset": "agnews",
        "kind": "trial",
        "text": "gradient noise: does noise in the gradient help generalisation? arm treatment",
        "settings": {"gradient_noise": 0.01},
        "tags": ("noise", "appendix"),
    },
    {
        "model": "MLP",
        "dataset": "mnist",
        **networks([784, 10_000, 10], [784, 10_000, 10], 1.0),
        "edits": {},
        "settings": {"trainer": "ReadoutOnly", "frozen": "hidden layer"},
        "text": "random features, only the last layer is trained",
        "curves": both(rise(0.8, 0.97, 15, 5), rise(0.8, 0.962, 15, 5)),
        "metrics": {"test_accuracy": 0.96},
    },
    {
        "model": "CNN",
        "dataset": "fashion_mnist",
        "settings": {"dropout": 0.8},
        "edits": {},
        "curves": both(rise(0.3, 0.7, 35, 5), rise(0.4, 0.83, 35, 5)),
        "metrics": {"test_accuracy": 0.828},
    },
    {
        "model": "CNN",
        "dataset": "cifar10",
        **networks([3072, 32, 64, 10], [3072, 128, 256, 10], 1.0),
        "edits": {"DoubleWidth": 2},
        "edited_at": {"DoubleWidth": (0.25, 0.5)},
        "strategies": {"Net2Net": 2},
        "curves": both(rise(0.4, 0.93, 40, 5), rise(0.4, 0.84, 40, 5)),
        "metrics": {"test_accuracy": 0.838},
    },
    {
        "model": "ResNet",
        "dataset": "cifar10",
        "seed": 1234,
        "settings": {"optimizer": "adamw", "weight_decay": 0.3, "schedule": "warmup"},
        "edits": {},
        "curves": both(
            [*np.linspace(0.3, 0.92, 70), *[0.92] * 20], [*np.linspace(0.3, 0.88, 70), *[0.88] * 20]
        ),
        "metrics": {"test_accuracy": 0.879},
    },
    {
        "model": "LSTM",
        "dataset": "speech_commands",
        **networks([640, 512, 12], [640, 512, 12], 1.0),
        "edits": {},
        "curves": both([0.7, 0.955, *[0.97] * 28], [0.7, 0.95, *[0.955] * 28]),
        "metrics": {"test_accuracy": 0.953},
    },
    {
        "model": "MLP",
        "dataset": "digits",
        "edits": {"AddConnections": 170, "RemoveConnections": 170},
        "strategies": {"RigL": 340},
        "start_density": 0.25,
        "density": 0.25,
        "curves": both(rise(0.6, 0.99, 200, 9), rise(0.6, 0.96, 200, 9)),
        "metrics": {"test_accuracy": 0.958},
    },
    {
        "model": "MLP",
        "dataset": "diabetes",
        "status": "failed",
        "reason": "FileNotFoundError: diabetes.csv",
        "edits": {},
        "curves": {},
        "metrics": {},
        "seconds": 0.4,
    },
    {
        "model": "MLP",
        "dataset": "digits",
        **networks([64, 26, 10], [64, 26, 10], 1.0),
        "edits": {"RemoveNeurons": 2},
        "edited_at": {"RemoveNeurons": (0.1, 0.2)},
        "strategies": {"PruningGrowthStrategy": 2},
        "curves": both(rise(0.7, 1.0, 50, 6), rise(0.7, 0.994, 50, 6)),
        "metrics": {"test_accuracy": 0.992},
    },
    {
        "model": "TransformerEncoder",
        "dataset": "imdb",
        "settings": {"schedule": "cyclic", "learning_rate": 0.002},
        "edits": {},
        "curves": both(
            rise(0.5, 0.95, 40, 5) - 0.12 * (np.arange(40) % 8 < 3),
            rise(0.5, 0.88, 40, 5) - 0.12 * (np.arange(40) % 8 < 3) + noise(40, 0.003),
        ),
        "metrics": {"test_accuracy": 0.875},
    },
)
