"""A network that grows up: infant, child and adult learn one after the other ever harder functions.

Active layers get new units, weak units are pruned. Run it with
``python examples/biological_growth_example.py``; it takes some seconds and writes
``biological_growth_example.png`` and ``biological_growth_network.png``.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from structure_net.den import BiologicalGrowth, DENTrainer, DynamicExpandableNetwork
from structure_net.den.utils import (
    plot_training_history,
    print_growth_summary,
    visualize_network_architecture,
)


def simple(x: Tensor) -> Tensor:
    """An infant's world: sums."""
    return x[:, :1] - 0.5 * x[:, 1:2]


def structured(x: Tensor) -> Tensor:
    """A child's: things that depend on each other."""
    return simple(x) + x[:, 2:3] * x[:, 3:4]


def abstract(x: Tensor) -> Tensor:
    """An adult's: relations of relations."""
    return structured(x) + torch.sin(2 * x[:, :1] * x[:, 2:3])


STAGES: tuple[tuple[str, Callable[[Tensor], Tensor], int], ...] = (
    ("infant", simple, 10),
    ("child", structured, 20),
    ("adult", abstract, 30),
)


def main() -> None:
    """Lives through the three stages, and shows what became of the network."""
    inputs = torch.randn(2000, 6, generator=torch.Generator().manual_seed(0))
    unseen = torch.randn(400, 6, generator=torch.Generator().manual_seed(1))
    network = DynamicExpandableNetwork(6, 1, [8, 8], seed=0)
    strategy = BiologicalGrowth(
        patience=3,
        cooldown=4,
        min_delta=0.01,
        pruning_threshold=0.15,
        max_neurons_per_expansion=8,
        max_layers=3,
    )
    trainer = DENTrainer(network, strategy, learning_rate=0.005)
    for name, world, epochs in STAGES:
        trainer.continual_learning(inputs, world(inputs), epochs)
        score = trainer.evaluate([(unseen, world(unseen))])["loss"]
        cost = strategy.energy_cost(network.get_num_parameters())
        sizes = network.get_layer_sizes()
        print(f"{name}: held-out loss {score:.4f}, layers {sizes}, energy {cost:.1f}")
    print()
    print_growth_summary(trainer.history)
    plot_training_history(trainer.history, save_path="biological_growth_example.png")
    visualize_network_architecture(network, save_path="biological_growth_network.png")


if __name__ == "__main__":
    main()
