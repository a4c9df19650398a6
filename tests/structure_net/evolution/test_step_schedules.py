"""The schedules of the adaptive network's seed: every 100, 500 and 1000 steps of one's own loop."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from structure_net.core import create_standard_network
from structure_net.evolution import (
    Analyzer,
    ComposableEvolutionSystem,
    Cooldown,
    EveryNSteps,
    MetricBelow,
    NetworkContext,
)
from structure_net.evolution.components import (
    PruningGrowthStrategy,
    SparseEvolutionaryTraining,
    WidthGrowthStrategy,
)
from structure_net.evolution.growths import GREW
from structure_net.evolution.session import EvolutionSession


class Activity(Analyzer):
    """A constant score for the first layer."""

    def analyze(self, context: NetworkContext) -> Mapping[str, Any]:
        return {"activity": {"layers.0": 1.0}}


def trained(
    steps: int,
    system: ComposableEvolutionSystem,
    batch: int = 4,
    epochs: Mapping[int, float] | None = None,
) -> EvolutionSession:
    """The session after so many steps; ``epochs``: what is measured behind which step."""
    network = create_standard_network([6, 8, 8, 3], density=0.5, seed=0)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01)
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(batch, 6, generator=generator)
    targets = inputs[:, :3].argmax(1)
    session = system.attach(network, optimizer=optimizer, example=inputs[:2])
    for step in range(1, steps + 1):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(network(inputs), targets)
        loss.backward()
        optimizer.step()
        session.after_step(loss, samples=batch)
        if step in (epochs or {}):
            session.after_epoch({"activity_variance": (epochs or {})[step]})
    return session


def grown_at(session: EvolutionSession, name: str) -> list[int]:
    events = session.context.journal.events(GREW)
    return [event.detail["step"] for event in events if event.component == name]


def test_each_strategy_works_at_its_own_steps() -> None:
    system = ComposableEvolutionSystem([Activity()])
    system.add_component(SparseEvolutionaryTraining(), when=EveryNSteps(100))
    system.add_component(PruningGrowthStrategy({"density": 0.4}), when=EveryNSteps(500))
    growth = WidthGrowthStrategy("activity", count=2)
    system.add_component(growth, when=EveryNSteps(1000, min_samples=400))
    session = trained(1000, system)
    assert grown_at(session, "SparseEvolutionaryTraining") == list(range(100, 1001, 100))
    assert grown_at(session, "PruningGrowthStrategy")[0] == 500
    assert grown_at(session, "WidthGrowthStrategy") == [1000]


def test_growth_waits_until_enough_samples_were_seen() -> None:
    system = ComposableEvolutionSystem([Activity()])
    growth = WidthGrowthStrategy("activity", count=1)
    system.add_component(growth, when=EveryNSteps(20, min_samples=130))
    session = trained(100, system)  # 4 samples a step: 130 are seen after 33 steps
    assert grown_at(session, "WidthGrowthStrategy") == [40, 80]


def test_a_cooldown_holds_growth_back_and_statistics_are_smoothed() -> None:
    system = ComposableEvolutionSystem([Activity()])
    growth = WidthGrowthStrategy("activity", count=1)
    quiet = MetricBelow("activity_variance", 0.5, smoothing=0.9)
    system.add_component(growth, when=EveryNSteps(10) & Cooldown(steps=25) & quiet)
    # The moving averages are .4, .49 and .591: the last one is too loud from step 75 on.
    session = trained(100, system, epochs={35: 0.4, 55: 1.3, 75: 1.5})
    assert grown_at(session, "WidthGrowthStrategy") == [40, 70]
