"""What it costs to find the channel groups of a deep network."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from benchmarks.harness import Figure, interleaved, seconds
from structure_net.graph import trace


class Block(nn.Module):
    """``x + conv(relu(norm(conv(relu(norm(x))))))``."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *(
                layer
                for _ in range(2)
                for layer in (
                    nn.BatchNorm2d(channels),
                    nn.ReLU(),
                    nn.Conv2d(channels, channels, 3, padding=1),
                )
            )
        )

    def forward(self, inputs: Tensor) -> Tensor:
        """Keeps the shape."""
        found: Tensor = inputs + self.body(inputs)
        return found


def residual() -> nn.Module:
    """50 layers with weights: a convolution, 24 residual blocks of two, and a linear head."""
    blocks = [Block(16) for _ in range(24)]
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10)]
    return nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), *blocks, *head)


def plain() -> nn.Module:
    """50 linear layers of 64 units with ReLU."""
    return nn.Sequential(*(layer for _ in range(50) for layer in (nn.Linear(64, 64), nn.ReLU())))


def figures() -> list[Figure]:
    """Seconds of a trace, and as a multiple of the export that it starts with."""
    return [
        _figure("a plain network of 50 layers", plain(), torch.randn(2, 64)),
        _figure("a residual network of 50 layers", residual(), torch.randn(2, 3, 16, 16)),
    ]


def _figure(name: str, model: nn.Module, example: Tensor) -> Figure:
    model.eval()
    times = interleaved(
        {
            "trace": lambda: seconds(lambda: trace(model, example)),
            "export": lambda: seconds(lambda: torch.export.export(model, (example,))),
        },
        repeats=5,
    )
    ratio = times["trace"] / times["export"]
    return Figure(f"trace of {name}", times["trace"], "s", None, f"{ratio:.2f} of one export")
