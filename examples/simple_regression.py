"""A regression in which a network of 4-4 units grows whenever its loss stalls.

Run it with ``python examples/simple_regression.py``; it takes some seconds and writes
``simple_regression.png``.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from structure_net.den import DENTrainer, DynamicExpandableNetwork, LossBasedGrowth
from structure_net.den.utils import plot_training_history, print_growth_summary


def samples(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """A wave over the plane, with a little noise. Shapes ``(count, 2)`` and ``(count, 1)``."""
    generator = torch.Generator().manual_seed(seed)
    inputs = 4 * torch.rand(count, 2, generator=generator) - 2
    waves = torch.sin(3 * inputs[:, :1]) * torch.cos(2 * inputs[:, 1:])
    return inputs, waves + 0.05 * torch.randn(count, 1, generator=generator)


def trained(grows: bool) -> DENTrainer:
    """A trainer after 50 epochs, with growth or without."""
    order = torch.Generator().manual_seed(0)
    train = DataLoader(TensorDataset(*samples(1000, 0)), 50, shuffle=True, generator=order)
    held_out = DataLoader(TensorDataset(*samples(500, 1)), 500)
    network = DynamicExpandableNetwork(
        input_size=2, output_size=1, hidden_sizes=[4, 4], activation=nn.Tanh, seed=0
    )
    strategy = LossBasedGrowth(
        patience=3, cooldown=8, min_delta=0.01, width_growth_ratio=1.0, max_neurons_per_expansion=8
    )
    trainer = DENTrainer(network, strategy, optimizer=torch.optim.Adam, learning_rate=0.01)
    trainer.train(train, epochs=50, enable_growth=grows, val_loader=held_out)
    return trainer


def main() -> None:
    """Trains with growth and without, and says what came of it."""
    fixed, grown = trained(grows=False), trained(grows=True)
    for name, trainer in (("fixed", fixed), ("grown", grown)):
        sizes, loss = trainer.network.get_layer_sizes(), trainer.history["val_loss"][-1]
        print(f"{name}: layers {sizes}, held-out loss {loss:.4f}")
    print()
    print_growth_summary(grown.history)
    plot_training_history(grown.history, save_path="simple_regression.png", use_time=True)


if __name__ == "__main__":
    main()
