"""A convolutional network divides its neurons while it learns, beside one that stays as it is.

Both start from the same weights and see the same batches, on the bundled digits, or on CIFAR-10::

    python examples/dnm_fixed_test.py
    python examples/dnm_fixed_test.py --dataset cifar10 --data-dir DATA --epochs 30

Without arguments it takes some seconds.
"""

from __future__ import annotations

import argparse
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from structure_net.data import Dataset, load_dataset
from structure_net.dnm import DNMFramework, collect_caches


class ConvNet(nn.Module):
    """Two convolutional stages and a linear classifier."""

    def __init__(self, channels: int, side: int, classes: int) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(channels, 4, 3, padding=1),
            nn.BatchNorm2d(4),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(4, 8, 3, padding=1),
            nn.BatchNorm2d(8),
            nn.ReLU(),
        )
        self.classifier = nn.Linear(8 * (side // 2) ** 2, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Maps ``(N, C, H, W)`` to ``(N, classes)``."""
        x = self.features(x)
        x = x.view(x.size(0), -1)
        scores: Tensor = self.classifier(x)
        return scores


def train_epoch(model: nn.Module, loader: Any, optimizer: torch.optim.Optimizer) -> float:
    """One epoch; the training accuracy."""
    model.train()
    right = seen = 0
    for inputs, targets in loader:
        optimizer.zero_grad()
        outputs = model(inputs)
        F.cross_entropy(outputs, targets).backward()
        optimizer.step()
        right += int((outputs.argmax(1) == targets).sum())
        seen += len(targets)
    return right / seen


@torch.no_grad()
def accuracy(model: nn.Module, loader: Any) -> float:
    """The fraction of a loader's samples that the model gets right."""
    model.eval()
    found = [(model(inputs).argmax(1) == targets).float() for inputs, targets in loader]
    return torch.cat(found).mean().item()


def run(model: nn.Module, data: Dataset, epochs: int, config: dict[str, Any] | None) -> float:
    """Trains the model, with morphogenesis where there is a configuration; the test accuracy."""
    loader = data.train.batches(128, shuffle=True, seed=0)
    held_out = data.validation.batches(512)
    optimizer = torch.optim.Adam(model.parameters(), lr=4e-3)
    dnm = None if config is None else DNMFramework(model, config)
    for epoch in range(epochs):
        loader.set_epoch(epoch)
        train_acc = train_epoch(model, loader, optimizer)
        val_acc = accuracy(model, held_out)
        if dnm is None:
            continue
        inputs, targets = next(iter(data.train.batches(256, shuffle=True, seed=1)))
        dnm.update_caches(*collect_caches(model, inputs, targets), targets, inputs=inputs)
        for event in dnm.record_performance(val_acc):
            print(f"  epoch {epoch + 1}: {event.location} taken back at {val_acc:.3f}")
        due, reasons = dnm.should_trigger_morphogenesis(
            epoch + 1, {"accuracy": train_acc}, {"accuracy": val_acc}
        )
        if due:
            print(f"  epoch {epoch + 1}: {reasons[0]}")
            for event in dnm.execute_morphogenesis(epoch + 1)["events"]:
                print(f"    {event.as_dict()['edit']}: {event.parameters_added:+,} parameters")
    return accuracy(model, data.test.batches(512))


def main() -> None:
    """Runs both networks and compares them."""
    parser = argparse.ArgumentParser(description="Morphogenesis beside a fixed architecture.")
    parser.add_argument("--dataset", default="digits")
    parser.add_argument("--data-dir")
    parser.add_argument("--epochs", type=int, default=12)
    asked = parser.parse_args()
    data = load_dataset(asked.dataset, data_dir=asked.data_dir, seed=0)
    channels, side, _ = data.input_shape
    torch.manual_seed(0)
    fixed = ConvNet(channels, side, data.outputs)
    growing = deepcopy(fixed)
    start = sum(parameter.numel() for parameter in fixed.parameters())

    print("Dynamic neural morphogenesis:")
    config = {"morphogenesis_interval": 3, "performance_improvement_threshold": 0.02}
    grown_accuracy = run(growing, data, asked.epochs, config)
    fixed_accuracy = run(fixed, data, asked.epochs, None)
    end = sum(parameter.numel() for parameter in growing.parameters())
    print(f"fixed:   {start:,} parameters, test accuracy {fixed_accuracy:.3f}")
    print(f"growing: {start:,} to {end:,} parameters, test accuracy {grown_accuracy:.3f}")


if __name__ == "__main__":
    main()
