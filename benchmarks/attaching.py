"""What an attached session costs that never grows: a user's own loop with and without it."""

from __future__ import annotations

from functools import partial

import torch
from torch import nn
from torch.nn import functional as F

from benchmarks.harness import Figure, interleaved, seconds
from structure_net.data import TensorBatches
from structure_net.evolution import ComposableEvolutionSystem, EvolutionSession
from structure_net.evolution.components import ExtremaGrowthStrategy, StandardExtremaAnalyzer
from structure_net.evolution.triggers import All, EveryNSteps, MaxEvents, MetricAbove

SAMPLES, BATCH, EPOCHS = 12_800, 128, 1
NEVER = 1e9


def figures() -> list[Figure]:
    """Short epochs on images of MNIST's size; what they show does not change the cost."""
    drawn = torch.Generator().manual_seed(0)
    inputs = torch.randn(SAMPLES, 784, generator=drawn)
    targets = torch.randint(10, (SAMPLES,), generator=drawn)
    batches = TensorBatches(inputs, targets, BATCH, shuffle=True)
    found = []
    for name, never in {
        "an epoch trigger": MetricAbove("loss", NEVER),
        "a trigger asked at every step": All(
            EveryNSteps(1), MaxEvents(1), MetricAbove("loss", NEVER)
        ),
    }.items():
        system = ComposableEvolutionSystem().add_component(StandardExtremaAnalyzer())
        system.add_component(ExtremaGrowthStrategy(), when=never)
        times = interleaved(
            {
                "bare": partial(_time, batches, None),
                "attached": partial(_time, batches, system),
            },
            repeats=15,
        )
        how = f"{SAMPLES} images of MNIST's size, 784-256-256-10, batches of {BATCH}; {name}"
        ratio = times["attached"] / times["bare"]
        found.append(
            Figure("an epoch with a session attached that never grows", ratio, "x", 1.03, how)
        )
    return found


def _time(batches: TensorBatches, system: ComposableEvolutionSystem | None) -> float:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        hidden = [nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU()]
        model = nn.Sequential(*hidden, nn.Linear(256, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    session = None if system is None else system.attach(model, optimizer=optimizer)
    return seconds(lambda: _train(model, optimizer, batches, session))


def _train(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    batches: TensorBatches,
    session: EvolutionSession | None,
) -> None:
    for _ in range(EPOCHS):
        total = torch.zeros(())
        for inputs, targets in batches:
            optimizer.zero_grad()
            loss = F.cross_entropy(model(inputs), targets)
            loss.backward()
            optimizer.step()
            total += loss.detach()
            if session is not None:
                session.after_step(loss, samples=len(inputs))
        if session is not None:
            session.after_epoch({"loss": total.item() / len(batches)})
