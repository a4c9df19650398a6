"""Handwritten digits by a network that starts with 6-6 units and finds its own size.

Run it with ``python examples/classification_example.py``; it takes some seconds and writes
``classification_example.png`` and ``classification_network.png``.
"""

from __future__ import annotations

from structure_net.data import load_dataset
from structure_net.den import AdaptiveGrowth, DENTrainer, DynamicExpandableNetwork
from structure_net.den.utils import (
    analyze_layer_importance,
    plot_training_history,
    print_growth_summary,
    visualize_network_architecture,
)


def main() -> None:
    """Trains with growth, and shows what grew."""
    digits = load_dataset("digits", seed=0).flattened()
    network = DynamicExpandableNetwork(64, 10, [6, 6], task_type="classification", seed=0)
    strategy = AdaptiveGrowth(
        patience=2, cooldown=5, loss_threshold=0.02, max_layers=3, max_network_size=4000
    )
    trainer = DENTrainer(network, strategy, learning_rate=0.005)
    history = trainer.train(
        digits.train.batches(64, shuffle=True, seed=0),
        epochs=40,
        val_loader=digits.validation.batches(512),
    )
    print_growth_summary(history)
    print(f"test accuracy {trainer.evaluate(digits.test.batches(512))['accuracy']:.3f}")
    for layer, importance in analyze_layer_importance(network).items():
        print(f"importance of {layer}: {importance:.2f}")
    plot_training_history(history, save_path="classification_example.png")
    visualize_network_architecture(network, save_path="classification_network.png")


if __name__ == "__main__":
    main()
