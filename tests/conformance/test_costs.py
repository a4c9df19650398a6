"""No component makes a matrix of a layer that is stored as its live connections.

Each runs once on a network whose largest layer is 110 x 130 at 1 %, on so few samples that nothing
else has as many numbers. Sizes from which on a component works in blocks, or says that a value is
not available, are scaled down with the network: below them it may take a matrix.
"""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import structure_net
from structure_net.core import create_standard_network, place_sums
from structure_net.evolution import (
    Analyzer,
    ComposableEvolutionSystem,
    EpochRecord,
    GrowthStrategy,
    NetworkContext,
    TrainingHistory,
)
from structure_net.evolution.components import (
    ConnectionCandidateAnalyzer,
    DepthGrowthStrategy,
    PruningGrowthStrategy,
    RigL,
    SensitivityAnalyzer,
    WidthGrowthStrategy,
)
from structure_net.evolution.components.analyzers import hebbian as hebbian_analyzer
from structure_net.evolution.metrics import chains, hebbian, ranks
from structure_net.evolution.reductions import coactivation, inputs
from tests.conformance.test_components import BY_NAME, GIVEN

WIDTHS: Final = (12, 130, 110, 4)
MATRIX: Final = 110 * 130
SCALED: Final = (
    (hebbian, "_AT_ONCE", 1000),
    (hebbian_analyzer, "_AT_ONCE", 1000),
    (hebbian_analyzer, "MOST_UNITS", 50),
    (coactivation, "MOST_UNITS", 50),
    (inputs, "MOST_INPUTS", 50),
    (chains, "MOST_ENTRIES", 5000),
    (place_sums, "MOST_ENTRIES", 5000),
    (ranks, "_MOST_SIDE", 50),
)

EXCEPT: Final[Mapping[str, str]] = {
    "ConnectionAnalyzer": "what it reports is the gradient at every place of the layers",
    "RigL": "it compares the gradient at every place; with candidates at some of them",
    "SparseMomentum": "it compares the momentum at every place",
}
"""Components that take numbers for all places of a layer, with the reason."""

IDLE: Final[Mapping[str, str]] = {
    "FadeInStrategy": "nothing fades in",
    "HybridGrowthStrategy": "what it tries does not help",
    "InformationFlowGrowthStrategy": "there is no bottleneck",
}
"""Strategies that look and then leave the network alone."""

OTHERS: Final[Mapping[str, tuple[Any, tuple[Analyzer, ...]]]] = {
    "PruningGrowthStrategy": (PruningGrowthStrategy({"density": 0.008}), ()),
    "PruningGrowthStrategy by flow": (
        PruningGrowthStrategy({"density": 0.008}, score="synflow"),
        (),
    ),
    "PruningGrowthStrategy by units": (
        PruningGrowthStrategy({"parameters": 400}, what="units", score="gradient"),
        (SensitivityAnalyzer(),),
    ),
    "RigL with candidates": (RigL(candidates=50), (ConnectionCandidateAnalyzer(50),)),
    "DepthGrowthStrategy": (DepthGrowthStrategy("gradient_norm"), GIVEN["DepthGrowthStrategy"][1]),
    # GradMax takes second derivatives, which no product has while operations are watched.
    "WidthGrowthStrategy": (WidthGrowthStrategy("gradient_norm"), GIVEN["WidthGrowthStrategy"][1]),
}


class Large(TorchDispatchMode):
    """Notes which operations make a tensor of as many entries as a layer has places."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch's
        self.made: dict[str, None] = {}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        found = func(*args, **(kwargs or {}))
        for one in tree_leaves(found):
            # What is expanded only looks as if it had so many.
            many = isinstance(one, Tensor) and one.numel() >= MATRIX
            if many and one.untyped_storage().nbytes() >= MATRIX:
                self.made[f"{func.name()} in {_caller()}"] = None
        return found


def _caller() -> str:
    own = Path(structure_net.__file__).parent
    frames = [one for one in traceback.extract_stack() if Path(one.filename).is_relative_to(own)]
    return ", ".join(f"{Path(one.filename).stem}.{one.name}" for one in frames[-3:])


@pytest.fixture
def _scaled(monkeypatch: pytest.MonkeyPatch) -> None:
    for module, name, value in SCALED:
        assert getattr(module, name) > value
        monkeypatch.setattr(module, name, value)


def context() -> NetworkContext:
    """Three batches of eight samples; half of the first layer's units are dead."""
    generator = torch.Generator().manual_seed(0)
    data = [
        (torch.randn(8, WIDTHS[0], generator=generator), torch.arange(8) % WIDTHS[-1])
        for _ in range(3)
    ]
    network = create_standard_network(WIDTHS, density=0.01, seed=0)
    with torch.no_grad():
        network.get_parameter("layers.0.bias")[:8] = -100.0
    history = TrainingHistory([EpochRecord(1, 0, 100, {}, 0, 0)])
    return NetworkContext(network, data, validation_loader=data, seed=0, history=history)


def run(component: Any, lookers: tuple[Analyzer, ...], given: NetworkContext) -> NetworkContext:
    """Lets a component do all that it does, once."""
    if isinstance(component, Analyzer):
        analysis = ComposableEvolutionSystem([component]).analyze(given)
        for key in analysis:
            analysis[key]
        return given
    return ComposableEvolutionSystem([*lookers, component]).evolve_network(given, 1)


@pytest.mark.usefixtures("live_storage", "_scaled")
@pytest.mark.parametrize("name", sorted({*BY_NAME, *OTHERS} - {*EXCEPT}))
def test_no_component_makes_a_matrix_of_a_live_layer(name: str) -> None:
    component, lookers = {**GIVEN, **OTHERS}.get(name) or (BY_NAME[name](), ())
    given, large = context(), Large()
    with large:
        after = run(component, lookers, given)
    assert not large.made, "\n".join(large.made)
    if isinstance(component, GrowthStrategy) and name not in IDLE:
        assert after.journal.edits


@pytest.mark.usefixtures("live_storage", "_scaled")
@pytest.mark.parametrize("name", sorted(EXCEPT))
def test_what_is_excepted_makes_one(name: str) -> None:
    component, lookers = GIVEN[name] if name in GIVEN else (BY_NAME[name](), ())
    given, large = context(), Large()
    with large:
        run(component, lookers, given)
    assert large.made


@pytest.mark.usefixtures("masked")
def test_a_matrix_is_noticed_where_there_is_one() -> None:
    given, large = context(), Large()
    with large:
        given.network(torch.randn(2, WIDTHS[0]))
    assert large.made
