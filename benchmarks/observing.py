"""What a look at a network costs: one pass for all analyzers, and a second look after an edit."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.harness import Figure, interleaved, seconds
from structure_net import create_standard_network
from structure_net.evolution import (
    Analyzer,
    ComposableEvolutionSystem,
    EditingStrategy,
    EvolutionSession,
    NetworkContext,
    observe,
)
from structure_net.evolution.components import (
    GraphAnalyzer,
    HomologicalAnalyzer,
    StandardExtremaAnalyzer,
    TopologicalAnalyzer,
    create_standard_evolution_system,
)
from structure_net.surgery.edits import AddNeurons, Edit

BATCHES, BATCH = 10, 128
Batches = list[tuple[Tensor, Tensor]]


def _data(*shape: int) -> Batches:
    generator = torch.Generator().manual_seed(0)
    return [
        (
            torch.randn(BATCH, *shape, generator=generator),
            torch.randint(10, (BATCH,), generator=generator),
        )
        for _ in range(BATCHES)
    ]


def sparse() -> tuple[nn.Module, Batches]:
    """A sparse network on vectors of 784."""
    return create_standard_network([784, 256, 128, 10], density=0.02, seed=0), _data(784)


def sparse_large() -> tuple[nn.Module, Batches]:
    """A sparse network on vectors of 3072."""
    widths = [3072, 1024, 1024, 1024, 10]
    return create_standard_network(widths, density=0.01, seed=0), _data(3072)


def dense() -> tuple[nn.Module, Batches]:
    """A dense network on vectors of 784."""
    return _dense([784, 512, 512, 10]), _data(784)


def dense_large() -> tuple[nn.Module, Batches]:
    """A dense network on vectors of 3072."""
    return _dense([3072, 1024, 1024, 1024, 10]), _data(3072)


def _dense(widths: Sequence[int]) -> nn.Module:
    torch.manual_seed(0)
    layers = [(nn.Linear(read, written), nn.ReLU()) for read, written in pairwise(widths)]
    return nn.Sequential(*[one for pair in layers for one in pair][:-1])


def convolutional() -> tuple[nn.Module, Batches]:
    """Three convolutions on images of 3 x 32 x 32."""
    torch.manual_seed(0)
    widths = [3, 32, 64, 64]
    layers: list[nn.Module] = []
    for read, written in pairwise(widths):
        layers += [
            nn.Conv2d(read, written, 3, padding=1),
            nn.BatchNorm2d(written),
            nn.ReLU(),
            nn.MaxPool2d(2),
        ]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(1024, 10)), _data(3, 32, 32)


NETWORKS: dict[str, Callable[[], tuple[nn.Module, Batches]]] = {
    "784-256-128-10 at density 0.02": sparse,
    "3072-1024-1024-1024-10 at density 0.01": sparse_large,
    "784-512-512-10, dense": dense,
    "3072-1024-1024-1024-10, dense": dense_large,
    "3 convolutions on 32 x 32": convolutional,
}


def passes(network: nn.Module, data: Batches) -> None:
    """Ten plain forward and backward passes."""
    network.train()
    for inputs, targets in data:
        network.zero_grad()
        F.cross_entropy(network(inputs), targets).backward()


def forwards(network: nn.Module, data: Batches) -> None:
    """Ten plain forward passes."""
    network.eval()
    with torch.no_grad():
        for inputs, _ in data:
            network(inputs)


def standard() -> list[Analyzer]:
    """The analyzers of the standard system."""
    system = create_standard_evolution_system()
    return [component for component in system.components if isinstance(component, Analyzer)]


def look(analyzers: Sequence[Analyzer], context: NetworkContext) -> None:
    """One analysis, without what is computed when it is read."""
    ComposableEvolutionSystem(analyzers).analyze(context)


def _figures(name: str, repeats: int) -> list[Figure]:
    network, data = NETWORKS[name]()
    context = NetworkContext(network, data)
    analyzers, extrema = standard(), [StandardExtremaAnalyzer()]
    times = interleaved(
        {
            "look": lambda: seconds(lambda: look(analyzers, context)),
            "passes": lambda: seconds(lambda: passes(network, data)),
            "forwards": lambda: seconds(lambda: forwards(network, data)),
            "extrema": lambda: seconds(lambda: look(extrema, context)),
            "units": lambda: seconds(lambda: observe(network, data)),
        },
        repeats=repeats,
    )
    how = f"{name}, {BATCHES} batches of {BATCH}"
    return [
        Figure(
            "analyzers of the standard system over forward and backward passes",
            times["look"] / times["passes"],
            "x",
            1.2,
            how,
        ),
        *(
            Figure(f"{what} over forward passes", times[key] / times["forwards"], "x", None, how)
            for key, what in (
                ("look", "the same"),
                ("extrema", "extrema analyzer alone"),
                ("units", "statistics of units alone"),
            )
        ),
    ]


class _Widen(EditingStrategy):
    """Widens one layer by four units."""

    def __init__(self, layer: str) -> None:
        self._layer = layer

    def propose(self, context: NetworkContext, analysis: Any) -> list[Edit]:
        return [AddNeurons(self._layer, 4)]


def _read(session: EvolutionSession) -> dict[str, float]:
    """The seconds of one look with every value read: of the pass, and by the analyzer's prefix."""
    found: dict[str, float] = {}

    def pass_over() -> None:
        found.update(dict.fromkeys(session.analyze(), 0.0))

    spent = {"pass": seconds(pass_over)}
    analysis = session.analyze()
    for key in found:
        prefix = key.split("_")[0]
        spent[prefix] = spent.get(prefix, 0.0) + seconds(partial(analysis.__getitem__, key))
    return spent


def two_looks(layer: str) -> tuple[dict[str, float], dict[str, float]]:
    """A full look, and the next one after an edit of one layer."""
    network = create_standard_network([784, 128, 128, 128, 10], density=0.1, seed=0)
    analyzers = TopologicalAnalyzer(), HomologicalAnalyzer(), GraphAnalyzer()
    system = ComposableEvolutionSystem([*analyzers, _Widen(layer)])
    session = system.attach(network, data_loader=_data(784))
    first = _read(session)
    session.iterate()
    return first, _read(session)


def _second_look() -> list[Figure]:
    two_looks("layers.2")  # compiles
    looks = [two_looks("layers.2") for _ in range(2)]
    how = "784-128-128-128-10 at density 0.1, one layer widened by 4, every value read"
    found = [
        Figure(
            f"second look over the first: {name}",
            statistics.median(second[name] / first[name] for first, second in looks),
            "x",
            None,
            how,
        )
        for name in looks[0][0]
    ]
    whole = statistics.median(sum(b.values()) / sum(a.values()) for a, b in looks)
    return [*found, Figure("second look over the first: all of these", whole, "x", 0.5, how)]


def figures() -> list[Figure]:
    """The standard system's look at each network, and a second look after an edit."""
    return [*(one for name in NETWORKS for one in _figures(name, 15)), *_second_look()]
