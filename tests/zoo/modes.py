"""Models that run more than evaluation uses: auxiliary heads, sampling, layers without a reader."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from tests.zoo.case import Case, floats


class AuxiliaryHead(nn.Module):
    """A second head behind a pooled feature map, in training only."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.deep = nn.Conv2d(8, 6, 3, padding=1)
        self.squeeze = nn.Conv2d(8, 4, 1)
        self.auxiliary = nn.Linear(4 * 2 * 2, 3)
        self.head = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        x = functional.dropout(torch.relu(self.norm(self.stem(x))), 0.5, self.training)
        out = self.head(torch.relu(self.deep(x)).mean((2, 3)))
        if not self.training:
            return out
        small = functional.adaptive_avg_pool2d(self.squeeze(x).relu(), 2)
        return out, self.auxiliary(small.flatten(1))


class Sampler(nn.Module):
    """A variational autoencoder that samples in training and uses the mean otherwise."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Linear(6, 8)
        self.mean = nn.Linear(8, 4)
        self.spread = nn.Linear(8, 4)
        self.decoder = nn.Linear(4, 7)
        self.head = nn.Linear(7, 6)

    def forward(self, x: Tensor) -> Tensor:
        hidden = torch.relu(self.encoder(x))
        mean, spread = self.mean(hidden), self.spread(hidden)
        code = mean
        if self.training:
            code = mean + torch.randn_like(spread) * (0.5 * spread).exp()
        return self.head(torch.relu(self.decoder(code)))


class TrainingLiteral(nn.Module):
    """Noise of a width that is written out, in training only."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden = nn.Linear(6, 8)
        self.wide = nn.Linear(8, 9)
        self.head = nn.Linear(9, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.hidden(x)
        if self.training:
            x = x + torch.randn(x.shape[0], 8, dtype=x.dtype)
        return self.head(self.wide(x.relu()).relu())


class Unread(nn.Module):
    """Gated residual blocks with skips, as in WaveNet: nobody reads the last residual layer."""

    def __init__(self) -> None:
        super().__init__()
        self.start = nn.Conv1d(3, 6, 1)
        self.gates = nn.ModuleList(nn.Conv1d(6, 8, 3, padding=1) for _ in range(2))
        self.residuals = nn.ModuleList(nn.Conv1d(8, 6, 1) for _ in range(2))
        self.skips = nn.ModuleList(nn.Conv1d(8, 5, 1) for _ in range(2))
        self.head = nn.Conv1d(5, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        x, total = self.start(x), 0.0
        for gate, residual, skip in zip(self.gates, self.residuals, self.skips, strict=True):
            hidden = torch.tanh(gate(x))
            total = total + skip(hidden)
            x = x + residual(hidden)
        return self.head(torch.relu(total))


class Undecided(nn.Module):
    """Training takes a path that depends on a drawn number, so that it cannot be traced."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden = nn.Linear(6, 8)
        self.extra = nn.Linear(8, 3)
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.hidden(x))
        if self.training and torch.rand(()).item() < 2.0:
            return self.head(x) + self.extra(x)
        return self.head(x)


CASES = (
    Case(
        "auxiliary_head", AuxiliaryHead, floats(3, 4, 4), trap=True, outputs=("head", "auxiliary")
    ),
    Case("sampler", Sampler, floats(6), trap=True, laws=True, outputs=("head",)),
    Case("training_literal", TrainingLiteral, floats(6), trap=True, refused=("hidden",)),
    Case("unread", Unread, floats(3, 5), trap=True, laws=True, outputs=("head",)),
    Case("undecided", Undecided, floats(6), trap=True, refused=("hidden",)),
)
