"""What is timed is the same training in every way."""

from __future__ import annotations

from itertools import count

import pytest
import torch

from structure_net.core.crossover import get_crossover, set_crossover
from structure_net.runs.benching import (
    FUSED,
    MASKED,
    OURS,
    Clock,
    layer_cost,
    network_cost,
    ways,
)

WIDTHS = (12, 20, 3)


def ticks() -> Clock:
    """A clock that tells one second more each time."""
    numbers = count()
    return lambda: float(next(numbers))


@pytest.mark.parametrize("density", [0.2, 1.0])
def test_every_way_is_the_same_training(density: float) -> None:
    inputs = torch.randn(16, 12, generator=torch.Generator().manual_seed(0))
    targets = torch.arange(16) % 3
    ends = {}
    for name, way in ways(WIDTHS, density, seed=1).items():
        for _ in range(5):
            way.step(inputs, targets)
        ends[name] = way.network(inputs).detach()
    assert {MASKED, FUSED, OURS} <= set(ends)
    for end in ends.values():
        # Five steps of rate .001 in float32: Adam turns the rounding of small gradients into parts
        # of a step.
        torch.testing.assert_close(end, ends[MASKED], rtol=0, atol=1e-4)


def test_a_pre_masked_weight_stays_zero_off_its_pattern() -> None:
    way = ways(WIDTHS, 0.2)[FUSED]
    layer = next(iter(way.network.children()))
    absent = layer.weight == 0
    way.step(torch.ones(4, 12), torch.zeros(4, dtype=torch.int64))
    assert bool((layer.weight[absent] == 0).all())


def test_the_memory_of_a_masked_layer_counts_both_of_its_masks(masked: None) -> None:
    """Weight, its mask in bool and float32, and two moments: 17 bytes a place; 4 of gradients."""
    way, places, biases = ways(WIDTHS, 0.2)[OURS], 12 * 20 + 20 * 3, 20 + 3
    way.step(torch.ones(4, 12), torch.zeros(4, dtype=torch.int64))
    steps = sum(
        value.numel() * value.element_size()
        for state in way.optimizer.state.values()
        for name, value in state.items()
        if name == "step"
    )
    full = [layer for layer in way.network.modules() if getattr(layer, "density", 0) == 1]
    spared = 4 * sum(layer.weight.numel() for layer in full)
    assert way.memory() == 21 * places + 16 * biases + steps - spared


def test_a_cost_is_the_median_of_turns_with_what_is_held() -> None:
    cost = network_cost(WIDTHS, 0.25, clock=ticks(), batch=8)
    assert set(cost.seconds) == set(cost.memory) >= {MASKED, FUSED, OURS}
    assert set(cost.seconds.values()) == {1.0}
    assert cost.speed(MASKED) == 1
    assert cost.connections == 60 + 15
    assert len(cost.storages) == 2
    # Weights, gradients and two moments of 323 numbers, two step counts a layer, and the masks.
    assert cost.memory[MASKED] == 4 * (4 * 323 + 4 + 300)


def test_a_layers_cost_has_both_storages_and_the_choice() -> None:
    before = get_crossover()
    set_crossover(0.4)
    try:
        cost = layer_cost((40, 50), (0.05, 1.0), rounds=1, clock=ticks())
    finally:
        set_crossover(before)
    assert (cost.masked, cost.live) == (1.0, ((0.05, 1.0), (1.0, 1.0)))
    assert cost.chosen == ("live", "masked")
    assert 0 <= cost.crossover <= 1
