"""Three tasks, one after the other: what is forgotten with and without a memory of old samples.

Each task shows the digits with its pixels in another order. Run it with
``python examples/continual_learning.py``; it takes some seconds and writes
``continual_learning.png`` and ``continual_learning_history.png``.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from structure_net.data import load_dataset
from structure_net.den import DENTrainer, DynamicExpandableNetwork, LossBasedGrowth
from structure_net.den.utils import plot_training_history

TASKS = 3


@dataclass(frozen=True)
class Task:
    """The digits in one order of the pixels."""

    inputs: Tensor
    targets: Tensor
    test: DataLoader[tuple[Tensor, ...]]


def tasks() -> list[Task]:
    """The first task leaves the pixels where they are."""
    digits = load_dataset("digits", seed=0).flattened()
    generator = torch.Generator().manual_seed(0)
    orders = [torch.arange(64)] + [
        torch.randperm(64, generator=generator) for _ in range(TASKS - 1)
    ]
    train, test = digits.train, digits.test
    return [
        Task(
            train.inputs[:, order],
            train.targets,
            DataLoader(TensorDataset(test.inputs[:, order], test.targets), 512),
        )
        for order in orders
    ]


def learned(memory_size: int) -> tuple[list[list[float]], DENTrainer]:
    """The test accuracy on every task after each of them, and the trainer."""
    network = DynamicExpandableNetwork(64, 10, [16, 16], task_type="classification", seed=0)
    strategy = LossBasedGrowth(patience=2, cooldown=6, min_delta=0.02, depth_threshold=9)
    trainer = DENTrainer(network, strategy, learning_rate=0.005, memory_size=memory_size)
    found, all_tasks = [], tasks()
    for task in all_tasks:
        trainer.continual_learning(task.inputs, task.targets, epochs=12, batch_size=64)
        found.append([trainer.evaluate(one.test)["accuracy"] for one in all_tasks])
    return found, trainer


def plot(results: dict[str, list[list[float]]], path: str) -> None:
    """Draws the accuracy on each task over the tasks that were learned."""
    figure = Figure(figsize=(8, 3.4), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    for ax, (title, found) in zip(figure.subplots(1, 2, sharey=True), results.items(), strict=True):
        for task in range(TASKS):
            places = list(range(task + 1, TASKS + 1))
            accuracies = [found[place - 1][task] for place in places]
            ax.plot(places, accuracies, marker="os^"[task], label=f"task {task + 1}")
        ax.set_title(title, loc="left")
        ax.set_xlabel("tasks learned")
        ax.set_xticks(range(1, TASKS + 1))
        ax.set_ylim(0, 1.02)
        ax.spines[["top", "right"]].set_visible(False)
    figure.axes[0].set_ylabel("test accuracy")
    figure.axes[0].legend(loc="lower left", frameon=False)
    figure.savefig(path)


def main() -> None:
    """Learns the tasks without a memory and with one."""
    results: dict[str, list[list[float]]] = {}
    for title, size in (("no memory", 0), ("a memory of 300 samples", 300)):
        results[title], trainer = learned(size)
        print(f"{title}: layers {trainer.network.get_layer_sizes()} in the end")
        for number, accuracies in enumerate(results[title]):
            said = ", ".join(f"{accuracy:.3f}" for accuracy in accuracies[: number + 1])
            print(f"  after task {number + 1}: test accuracy {said}")
    plot(results, "continual_learning.png")
    plot_training_history(trainer.history, save_path="continual_learning_history.png")


if __name__ == "__main__":
    main()
