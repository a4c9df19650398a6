"""A convolutional network and a loop of a user's own, as the tests run them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Optimizer

from structure_net.dnm import DNMFramework, collect_caches

CLASSES, SIDE = 4, 8


class SmallCNN(nn.Module):
    """Two convolutions with batch normalisation, flattened by hand."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.features = nn.Sequential(
                nn.Conv2d(1, 6, 3, padding=1),
                nn.ReLU(),
                nn.Conv2d(6, 8, 3, padding=1),
                nn.BatchNorm2d(8),
                nn.ReLU(),
                nn.AvgPool2d(2),
            )
            self.classifier = nn.Linear(8 * SIDE * SIDE // 4, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = self.features(x)
        x = x.view(x.size(0), -1)
        found: Tensor = self.classifier(x)
        return found


def batch(size: int = 32, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Images whose class is the quadrant that is bright."""
    generator = torch.Generator().manual_seed(seed)
    targets = torch.randint(CLASSES, (size,), generator=generator)
    images = 0.3 * torch.randn(size, 1, SIDE, SIDE, generator=generator)
    half = SIDE // 2
    for image, target in zip(images, targets.tolist(), strict=True):
        row, column = half * (target // 2), half * (target % 2)
        image[0, row : row + half, column : column + half] += 1
    return images, targets


def _for(model: nn.Module, seed: int) -> tuple[Tensor, Tensor]:
    inputs, targets = batch(seed=seed)
    return inputs.to(next(model.parameters()).dtype), targets


def step(model: nn.Module, optimizer: Optimizer, seed: int = 0) -> float:
    """One step on one batch; the loss."""
    inputs, targets = _for(model, seed)
    optimizer.zero_grad()
    loss = F.cross_entropy(model(inputs), targets)
    loss.backward()
    optimizer.step()
    return loss.item()


def feed(dnm: DNMFramework, seed: int = 0, **options: Any) -> None:
    """Caches from one batch."""
    inputs, targets = _for(dnm.model, seed)
    activations, gradients = collect_caches(dnm.model, inputs, targets)
    dnm.update_caches(activations, gradients, targets, **options)


def stalled(dnm: DNMFramework, optimizer: Optimizer, epochs: int = 3, start: int = 0) -> None:
    """Epochs in which the accuracy does not move."""
    for epoch in range(start, start + epochs):
        step(dnm.model, optimizer, epoch)
        dnm.record_performance(0.5)
    feed(dnm)


def contents(model: nn.Module) -> dict[str, Tensor]:
    """Everything that the model holds, copied."""
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}
