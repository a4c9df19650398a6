"""The twenty questions, each with the experiment that it means."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.planted import Case, planted, sized
from structure_net.logging.search import ExperimentFacts


def _accuracy(*values: float) -> dict[str, tuple[float, ...]]:
    return {"validation_accuracy": tuple(map(float, values))}


def _loss(values: Any) -> dict[str, tuple[float, ...]]:
    return {"validation_loss": tuple(map(float, values))}


def _networks(start: list[int], end: list[int], density: float) -> dict[str, Any]:
    return {
        **sized(start, "start_", density),
        **sized(end, "", density),
        "start_density": density,
        "density": density,
    }


_T = np.linspace(0, 1, 30)
_FALLING = 0.3 + 2 * np.exp(-6 * _T)
_MLP = [784, 256, 128, 10]

CASES = (
    Case(
        "sparse nets that plateaued early",
        {
            **_networks(_MLP, _MLP, 0.01),
            "curves": _accuracy(0.4, 0.7, 0.86, *[0.91] * 27),
            "metrics": {},
        },
    ),
    Case(
        "network that got much deeper while training",
        {
            **_networks([784, 64, 64, 10], [784, *[64] * 7, 10], 0.2),
            "edits": {"InsertLayer": 5},
            "strategies": {"DepthGrowthStrategy": 5},
        },
    ),
    Case("wide shallow network", _networks([784, 4096, 10], [784, 4096, 10], 1.0)),
    Case(
        "training blew up",
        {"curves": _loss([2.3, 2.1, *[float("nan")] * 7]), "metrics": {}},
    ),
    Case(
        "runs on fashion images that overfit",
        {
            "dataset": "fashion_mnist",
            "curves": {
                "train_accuracy": tuple(np.linspace(0.7, 0.99, 30).tolist()),
                "validation_accuracy": (
                    *np.linspace(0.7, 0.91, 20).tolist(),
                    *np.linspace(0.905, 0.86, 10).tolist(),
                ),
            },
            "metrics": {},
        },
    ),
    Case(
        "neurons were pruned to a third of the parameters",
        {
            "start_parameters": 100_000,
            "parameters": 33_000,
            "start_connections": 99_000,
            "connections": 32_400,
            "edits": {"RemoveNeurons": 12},
            "strategies": {"PruningGrowthStrategy": 12},
            "curves": _loss(_FALLING),
        },
    ),
    Case(
        "convolutional nets grown by splitting neurons",
        {
            "model": "CNN",
            "dataset": "cifar10",
            "edits": {"SplitNeurons": 9},
            "strategies": {"NeuronSplitStrategy": 9},
            "start_parameters": 20_000,
            "parameters": 61_000,
        },
    ),
    Case(
        "tiny network on handwritten digits",
        {
            "dataset": "digits",
            **_networks([64, 16, 10], [64, 16, 10], 1.0),
            "parameters": 1210,
            "start_parameters": 1210,
        },
    ),
    Case(
        "rewired with RigL at two percent",
        {
            **_networks(_MLP, _MLP, 0.02),
            "edits": {"AddConnections": 30, "RemoveConnections": 30},
            "strategies": {"RigL": 60},
        },
    ),
    Case(
        "residual blocks added late",
        {
            "edits": {"AddResidualBlock": 3},
            "edited_at": {"AddResidualBlock": (0.8, 0.9, 0.95)},
            "strategies": {"ResidualBlockGrowthStrategy": 3},
        },
    ),
    Case("most edits were rejected", {"edits": {"AddNeurons": 3}, "taken_back": 17}),
    Case(
        "still improving when it stopped",
        {"curves": _loss(np.linspace(2.3, 0.4, 30)), "metrics": {}},
    ),
    Case(
        "transformer with heads removed",
        {
            "model": "TransformerEncoder",
            "dataset": "agnews",
            "edits": {"RemoveHeads": 4},
            "strategies": {"HeadPruning": 4},
        },
    ),
    Case(
        "regression on housing prices",
        {
            "dataset": "california_housing",
            "settings": {"loss": "mse"},
            "curves": _loss(_FALLING),
            "metrics": {},
            "text": "predicts median house prices by district",
        },
    ),
    Case(
        "never grew",
        {
            **_networks(_MLP, _MLP, 0.2),
            "edits": {},
            "edited_at": {},
            "strategies": {"ExtremaGrowthStrategy": 0, "NeuronSplitStrategy": 0},
            "taken_back": 0,
            "curves": _loss(_FALLING),
        },
    ),
    Case("very deep narrow network", _networks([784, *[16] * 20, 10], [784, *[16] * 20, 10], 0.5)),
    Case(
        "reached 98 percent on mnist with few connections",
        {
            "dataset": "mnist",
            **_networks(_MLP, _MLP, 0.02),
            "curves": _accuracy(*(0.981 - 0.5 * np.exp(-6 * _T))),
            "metrics": {"validation_accuracy": 0.981},
        },
    ),
    Case(
        "accuracy collapsed after an edit and recovered",
        {
            "curves": _accuracy(
                *(0.95 - 0.5 * np.exp(-0.6 * np.arange(15))),
                *(0.60, 0.75, 0.85, 0.90, 0.925, 0.94),
                *(0.94, 0.945, 0.945, 0.95),
            ),
            "edits": {"RemoveNeurons": 1},
            "edited_at": {"RemoveNeurons": (0.6,)},
            "metrics": {},
        },
    ),
    Case(
        "lottery ticket rewinding",
        {
            "settings": {"trainer": "LotteryRewind"},
            "edits": {"RemoveConnections": 10},
            "strategies": {"MagnitudePruning": 10},
            "start_density": 1.0,
            "density": 0.05,
        },
    ),
    Case(
        "learning rate far too high, loss oscillates",
        {
            "settings": {"learning_rate": 1.0},
            "curves": _loss(np.where(np.arange(30) % 2, 2.2, 1.1)),
            "metrics": {},
        },
    ),
)


LATER = (
    Case(
        "autoencoder that doubled its bottleneck",
        {
            "model": "VariationalAutoencoder",
            "dataset": "mnist",
            **_networks([784, 128, 8, 128, 784], [784, 128, 16, 128, 784], 0.5),
            "edits": {"AddNeurons": 1},
            "strategies": {"WidthGrowthStrategy": 1},
        },
    ),
    Case(
        "nothing learned, accuracy at chance",
        {"curves": _accuracy(*(0.10 + 0.01 * (np.arange(20) % 2))), "metrics": {}},
    ),
    Case(
        "quick win: good after one epoch",
        {"curves": _accuracy(0.97, *np.linspace(0.972, 0.98, 19)), "metrics": {}},
    ),
    Case(
        "connections grown back after pruning",
        {
            "edits": {"RemoveConnections": 3, "AddConnections": 2},
            "edited_at": {"RemoveConnections": (0.1, 0.2, 0.3), "AddConnections": (0.6, 0.7)},
            "strategies": {"PruneAndRegrow": 5},
            "start_density": 0.05,
            "density": 0.04,
        },
    ),
    Case(
        "the biggest model we have",
        {"start_parameters": 40_000_000, "parameters": 60_000_000, "connections": 59_900_000},
    ),
    Case(
        "GELU network on text",
        {"dataset": "text", "settings": {"activation": "gelu"}},
    ),
    Case(
        "dead units reset by ReDo",
        {"edits": {"ResetNeurons": 8}, "strategies": {"ReDo": 8}},
    ),
    Case(
        "dense baseline on cifar",
        {
            "dataset": "cifar10",
            **_networks([3072, 512, 10], [3072, 512, 10], 1.0),
            "edits": {},
            "edited_at": {},
            "strategies": {},
            "taken_back": 0,
        },
    ),
    Case(
        "ended early by Ctrl-C",
        {
            "status": "interrupted",
            "settings": {"epochs": 50},
            "curves": _loss([2.3, 1.9, 1.6, 1.4]),
            "metrics": {},
        },
    ),
    Case(
        "width doubled every five epochs",
        {
            **_networks([784, 32, 32, 10], [784, 256, 256, 10], 0.5),
            "edits": {"AddNeurons": 3},
            "edited_at": {"AddNeurons": (0.25, 0.5, 0.75)},
            "strategies": {"WidthGrowthStrategy": 3},
            "curves": _loss(0.3 + 2 * np.exp(-6 * np.linspace(0, 1, 20))),
        },
    ),
)
"""Ten more, written when the index stood, which was not changed for them before it was measured."""


def experiments(cases: Sequence[Case], first: int) -> tuple[ExperimentFacts, ...]:
    """The planted experiments of ``cases`` in order, drawn with seeds from ``first`` on."""
    return tuple(
        planted(seed, f"runs/x{seed}", case.facts) for seed, case in enumerate(cases, first)
    )
