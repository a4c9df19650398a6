"""Strategies that rank places propose edits that surgery takes, on every test model."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from structure_net.evolution import EditingStrategy, NetworkContext
from structure_net.evolution.components import (
    DepthGrowthStrategy,
    NeuronSplitStrategy,
    SkipConnectionGrowthStrategy,
    WidthGrowthStrategy,
)
from structure_net.graph import graph_of
from tests.laws.subjects import LAWFUL, example, prepared, run, subject

STRATEGIES = {
    "width": WidthGrowthStrategy("score", places=2),
    "depth": DepthGrowthStrategy("score", max_layers=99),
    "split": NeuronSplitStrategy("gradient_based", score="score", places=2, noise=0.0),
    "skip": SkipConnectionGrowthStrategy("score"),
}


def analysis(name: str) -> dict[str, Any]:
    """Scores for all layers, frozen ones first."""
    graph = graph_of(prepared(name), example(name))
    frozen = dict.fromkeys(graph.frozen, 100.0)
    scores = frozen | {layer: float(n + 1) for n, layer in enumerate(graph.editable)}
    units = {layer: torch.arange(g.size) for layer, g in graph.editable.items()}
    return {"score": scores, "split_gradient_scores": units, "split_activation_scores": units}


@pytest.mark.parametrize("kind", STRATEGIES)
@pytest.mark.parametrize("name", LAWFUL)
def test_what_is_proposed_is_carried_out_and_keeps_the_function(name: str, kind: str) -> None:
    strategy: EditingStrategy = STRATEGIES[kind]
    model, inputs = subject(name), example(name)
    before = run(model, inputs)
    context = NetworkContext(model, [(inputs, torch.zeros(2))], example=inputs)
    proposed = strategy.proposals(context, analysis(name))
    strategy.grow(context, analysis(name))
    assert len(context.journal.edits) == len(proposed)
    after: tuple[Tensor, ...] = run(model, inputs)
    for old, new in zip(before, after, strict=True):
        torch.testing.assert_close(new, old, rtol=0, atol=1e-10)
