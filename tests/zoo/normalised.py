"""Normalisations as users write them: of weights, and of streams of channels."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations

from tests.zoo.case import Case, floats, together

Wrap = Callable[[nn.Module], nn.Module]


def hooked(layer: nn.Module) -> nn.Module:
    """The weight norm of old, which computes the weight in a hook before the forward pass."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        return nn.utils.weight_norm(layer)


def hooked_spectral(layer: nn.Module) -> nn.Module:
    """The spectral norm of old."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        return nn.utils.spectral_norm(layer)


class TemporalBlock(nn.Module):
    """Two dilated causal convolutions beside a shortcut."""

    def __init__(self, sizes: tuple[int, int], dilation: int, wrap: Wrap) -> None:
        super().__init__()
        inside, outside = sizes
        self.chomp = 2 * dilation
        space = {"padding": 2 * dilation, "dilation": dilation}
        self.conv1 = wrap(nn.Conv1d(inside, outside, 3, **space))
        self.conv2 = wrap(nn.Conv1d(outside, outside, 3, **space))
        self.down = nn.Conv1d(inside, outside, 1) if inside != outside else None

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(self.conv1(x)[:, :, : -self.chomp].contiguous())
        y = torch.relu(self.conv2(y)[:, :, : -self.chomp].contiguous())
        return torch.relu(y + (x if self.down is None else self.down(x)))


class TemporalNet(nn.Module):
    """A temporal convolutional network."""

    def __init__(self, wrap: Wrap) -> None:
        super().__init__()
        sizes = ((3, 6), (6, 6), (6, 8))
        self.blocks = nn.Sequential(
            *(TemporalBlock(size, 2**i, wrap) for i, size in enumerate(sizes))
        )
        self.head = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.blocks(x)[:, :, -1])


class Gates(nn.Module):
    """The gated convolutions of a flow-based vocoder, with a condition for all of them at once."""

    def __init__(self, wrap: Wrap, width: int = 6, layers: int = 2) -> None:
        super().__init__()
        self.width, self.layers = width, layers
        self.start = wrap(nn.Conv1d(4, width, 1))
        self.end = nn.Conv1d(width, 5, 1)
        self.cond = wrap(nn.Conv1d(3, 2 * width * layers, 1))
        self.gates = nn.ModuleList(
            wrap(nn.Conv1d(width, 2 * width, 3, dilation=2**i, padding=2**i)) for i in range(layers)
        )
        self.rests = nn.ModuleList(
            wrap(nn.Conv1d(width, 2 * width if i < layers - 1 else width, 1)) for i in range(layers)
        )

    def forward(self, audio: Tensor, spectrum: Tensor) -> Tensor:
        audio, condition = self.start(audio), self.cond(spectrum)
        output = torch.zeros_like(audio)
        for i in range(self.layers):
            offset = i * 2 * self.width
            gate = self.gates[i](audio) + condition[:, offset : offset + 2 * self.width]
            acts = torch.tanh(gate[:, : self.width]) * torch.sigmoid(gate[:, self.width :])
            rest = self.rests[i](acts)
            if i < self.layers - 1:
                audio = audio + rest[:, : self.width]
                output = output + rest[:, self.width :]
            else:
                output = output + rest
        return self.end(output)


class Vocoder(nn.Module):
    """Transposed convolutions, whose gains belong to what they read."""

    def __init__(self, wrap: Wrap) -> None:
        super().__init__()
        self.pre = wrap(nn.Conv1d(5, 8, 7, padding=3))
        self.ups = nn.ModuleList(
            wrap(nn.ConvTranspose1d(*sizes, 4, 2, 1)) for sizes in ((8, 6), (6, 4))
        )
        self.blocks = nn.ModuleList(wrap(nn.Conv1d(c, c, 3, padding=1)) for c in (6, 4))
        self.post = wrap(nn.Conv1d(4, 1, 7, padding=3))

    def forward(self, x: Tensor) -> Tensor:
        x = self.pre(x)
        for up, block in zip(self.ups, self.blocks, strict=True):
            x = up(F.leaky_relu(x, 0.1))
            x = x + block(F.leaky_relu(x, 0.1))
        return torch.tanh(self.post(F.leaky_relu(x)))


class Positions(nn.Module):
    """A grouped convolution over positions, as in wav2vec 2.0: normalised along its kernel."""

    def __init__(self) -> None:
        super().__init__()
        self.project = nn.Linear(5, 8)
        conv = nn.Conv1d(8, 8, 4, padding=2, groups=2)
        self.position = parametrizations.weight_norm(conv, name="weight", dim=2)
        self.up, self.down = nn.Linear(8, 12), nn.Linear(12, 8)
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.project(x)
        x = x + F.gelu(self.position(x.transpose(1, 2))[:, :, :-1]).transpose(1, 2)
        return self.head(x + self.down(F.gelu(self.up(x))))


class Perceptron(nn.Module):
    """Three layers."""

    def __init__(self, wrap: Wrap) -> None:
        super().__init__()
        self.first, self.second = wrap(nn.Linear(5, 7)), wrap(nn.Linear(7, 6))
        self.head = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.relu(self.second(torch.relu(self.first(x)))))


class Critic(nn.Module):
    """The discriminator of a spectrally normalised adversarial network."""

    def __init__(self, wrap: Wrap) -> None:
        super().__init__()
        self.first = wrap(nn.Conv2d(3, 6, 3, padding=1))
        self.second = wrap(nn.Conv2d(6, 8, 4, 2, 1))
        self.third = wrap(nn.Conv2d(8, 10, 3, 1, 1))
        self.head = wrap(nn.Linear(10 * 4 * 4, 1))

    def forward(self, x: Tensor) -> Tensor:
        for layer in (self.first, self.second, self.third):
            x = F.leaky_relu(layer(x), 0.1)
        return self.head(x.flatten(1))


def along(dim: int | None) -> Wrap:
    """Weight norm with a gain for each entry of an axis, or one for the whole weight."""
    return lambda layer: parametrizations.weight_norm(layer, dim=dim)


CASES = [
    Case("tcn", lambda: TemporalNet(parametrizations.weight_norm), floats(3, 16),
         outputs=("head",)),
    Case("waveglow", lambda: Gates(parametrizations.weight_norm),
         together(floats(4, 10), floats(3, 10)), outputs=("end",)),
    Case("hifigan", lambda: Vocoder(parametrizations.weight_norm), floats(5, 6),
         outputs=("post",)),
    Case("wav2vec_positions", Positions, floats(6, 5), outputs=("head",)),
    Case("weight_norm_of_columns", lambda: Perceptron(along(1)), floats(5), outputs=("head",)),
    Case("weight_norm_of_all", lambda: Perceptron(along(None)), floats(5), outputs=("head",)),
]  # fmt: skip
