"""Multi-layer perceptrons, normalised streams, recurrent networks and an autoencoder."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from tests.zoo.case import Case, floats, tokens


def mlp() -> nn.Module:
    """Two hidden layers with ReLU."""
    return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 5), nn.ReLU(), nn.Linear(5, 3))


def tanh_mlp() -> nn.Module:
    """Smooth activations, and one layer without a bias."""
    return nn.Sequential(
        nn.Linear(6, 8, bias=False), nn.Tanh(), nn.Linear(8, 5), nn.GELU(), nn.Linear(5, 3)
    )


def mlp_batchnorm() -> nn.Module:
    """BatchNorm before the activation."""
    return nn.Sequential(
        nn.Linear(6, 8),
        nn.BatchNorm1d(8),
        nn.ReLU(),
        nn.Dropout(0.1),
        nn.Linear(8, 5),
        nn.BatchNorm1d(5),
        nn.SiLU(),
        nn.Linear(5, 3),
    )


class Residual(nn.Module):
    """A residual stream with a branch that widens and narrows again."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Linear(6, 8)
        self.up = nn.Linear(8, 10)
        self.down = nn.Linear(10, 8)
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.stem(x))
        x = x + self.down(torch.relu(self.up(x)))
        return self.head(x)


class Gated(nn.Module):
    """A gated linear unit: both halves of one layer move together."""

    def __init__(self) -> None:
        super().__init__()
        self.widen = nn.Linear(6, 16)
        self.narrow = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        value, gate = self.widen(x).chunk(2, dim=-1)
        return self.narrow(value * torch.sigmoid(gate))


class LayerNormStream(nn.Module):
    """A pre-norm residual stream under LayerNorm."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Linear(6, 8)
        self.first = nn.LayerNorm(8)
        self.up = nn.Linear(8, 12)
        self.down = nn.Linear(12, 8)
        self.last = nn.LayerNorm(8)
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = x + self.down(functional.gelu(self.up(self.first(x))))
        return self.head(self.last(x))


class RmsNormStream(nn.Module):
    """The same stream under a given RMS normalisation."""

    def __init__(self, norm: type[nn.Module]) -> None:
        super().__init__()
        self.stem = nn.Linear(6, 8)
        self.first = norm(8)
        self.gate = nn.Linear(8, 10, bias=False)
        self.up = nn.Linear(8, 10, bias=False)
        self.down = nn.Linear(10, 8, bias=False)
        self.last = norm(8)
        self.head = nn.Linear(8, 3, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        y = self.first(x)
        x = x + self.down(functional.silu(self.gate(y)) * self.up(y))
        return self.head(self.last(x))


class HandWrittenRmsNorm(nn.Module):
    """RMS normalisation as users write it."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.variance_epsilon = 1e-5

    def forward(self, x: Tensor) -> Tensor:
        variance = x.pow(2).mean(-1, keepdim=True)
        return self.weight * (x * torch.rsqrt(variance + self.variance_epsilon))


class SquaredRmsNorm(nn.Module):
    """The same, with a product for the square and a division by the root."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(size))
        self.eps = 1e-5

    def forward(self, x: Tensor) -> Tensor:
        return x / torch.sqrt((x * x).mean(dim=-1, keepdim=True) + self.eps) * self.gain


class HandWrittenLayerNorm(nn.Module):
    """Layer normalisation as users write it: mean, variance, root."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.bias = nn.Parameter(torch.zeros(size))
        self.eps = 1e-5

    def forward(self, x: Tensor) -> Tensor:
        mean = x.mean(-1, keepdim=True)
        variance = x.var(-1, keepdim=True, unbiased=False)
        return (x - mean) / torch.sqrt(variance + self.eps) * self.weight + self.bias


class Twice(nn.Module):
    """One module called twice: its input and its output are one axis."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Linear(6, 8)
        self.again = nn.Linear(8, 8)
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.stem(x))
        return self.head(torch.relu(self.again(torch.relu(self.again(x)))))


class Slopes(nn.Module):
    """PReLU with a slope per channel, and a gain of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Linear(6, 8)
        self.slopes = nn.PReLU(8)
        self.gain = nn.Parameter(torch.ones(8))
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.slopes(self.stem(x)) * self.gain)


class VariationalAutoencoder(nn.Module):
    """Mean and log-variance heads, and a latent code; in eval mode the mean is the code."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Linear(6, 8)
        self.mean = nn.Linear(8, 4)
        self.logvar = nn.Linear(8, 4)
        self.decoder = nn.Linear(4, 8)
        self.out = nn.Linear(8, 6)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        hidden = torch.relu(self.encoder(x))
        mean, logvar = self.mean(hidden), self.logvar(hidden)
        code = mean
        if self.training:
            code = mean + torch.exp(0.5 * logvar) * torch.randn_like(mean)
        return self.out(torch.relu(self.decoder(code))), mean, logvar


class Recurrent(nn.Module):
    """Embedding, a recurrent network, a head on the last step."""

    def __init__(
        self, kind: type[nn.LSTM | nn.GRU], layers: int = 1, *, bidirectional: bool = False
    ) -> None:
        super().__init__()
        self.embed = nn.Embedding(11, 6)
        self.cell = kind(6, 8, num_layers=layers, batch_first=True, bidirectional=bidirectional)
        self.head = nn.Linear(16 if bidirectional else 8, 3)

    def forward(self, x: Tensor) -> Tensor:
        out, _ = self.cell(self.embed(x))
        return self.head(out[:, -1])


class ListLoop(nn.Module):
    """A loop over a module list, with a dictionary of modules besides."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(6 if i == 0 else 8, 8) for i in range(3))
        self.heads = nn.ModuleDict({"mean": nn.Linear(8, 3), "scale": nn.Linear(8, 3)})

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        for layer in self.layers:
            x = torch.relu(layer(x))
        return {name: head(x) for name, head in self.heads.items()}


CASES = (
    Case("mlp", mlp, floats(6), laws=True, outputs=("4",)),
    Case("tanh_mlp", tanh_mlp, floats(6), laws=True, outputs=("4",)),
    Case("mlp_batchnorm", mlp_batchnorm, floats(6), laws=True, outputs=("7",)),
    Case("residual", Residual, floats(6), laws=True, outputs=("head",)),
    Case("gated", Gated, floats(6), laws=True, outputs=("narrow",)),
    Case("layernorm_stream", LayerNormStream, floats(4, 6), laws=True, outputs=("head",)),
    Case(
        "rmsnorm_stream",
        lambda: RmsNormStream(nn.RMSNorm),
        floats(4, 6),
        laws=True,
        outputs=("head",),
    ),
    Case(
        "rmsnorm_written",
        lambda: RmsNormStream(HandWrittenRmsNorm),
        floats(4, 6),
        laws=True,
        outputs=("head",),
    ),
    Case("rmsnorm_squared", lambda: RmsNormStream(SquaredRmsNorm), floats(4, 6), outputs=("head",)),
    Case(
        "layernorm_written",
        lambda: RmsNormStream(HandWrittenLayerNorm),
        floats(4, 6),
        outputs=("head",),
    ),
    Case("twice", Twice, floats(6), laws=True, outputs=("head",)),
    Case("slopes", Slopes, floats(6), laws=True, outputs=("head",)),
    Case("vae", VariationalAutoencoder, floats(6), laws=True, outputs=("mean", "logvar", "out")),
    Case("lstm", lambda: Recurrent(nn.LSTM), tokens(5, 11), laws=True, outputs=("head",)),
    Case("gru", lambda: Recurrent(nn.GRU), tokens(5, 11), laws=True, outputs=("head",)),
    Case(
        "lstm_deep",
        lambda: Recurrent(nn.LSTM, 2, bidirectional=True),
        tokens(5, 11),
        outputs=("head",),
    ),
    Case("gru_deep", lambda: Recurrent(nn.GRU, 2), tokens(5, 11), outputs=("head",)),
    Case("list_loop", ListLoop, floats(6), laws=True, outputs=("heads.mean", "heads.scale")),
)
