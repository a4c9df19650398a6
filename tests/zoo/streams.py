"""Residual streams under norms that users write themselves."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.zoo.case import Case, floats

EPSILON = 1e-2
"""Large, so that a slip would show."""


class Llama(nn.Module):
    """As in Llama, Mistral and T5."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.rand(width) + 0.5)
        self.variance_epsilon = EPSILON

    def forward(self, x: Tensor) -> Tensor:
        variance = x.pow(2).mean(-1, keepdim=True)
        return self.weight * (x * torch.rsqrt(variance + self.variance_epsilon)).to(x.dtype)


class Gemma(nn.Module):
    """As in Gemma: the gain is stored as its difference from one."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.eps = EPSILON
        self.weight = nn.Parameter(torch.rand(width) - 0.5)

    def _norm(self, x: Tensor) -> Tensor:
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.eps)

    def forward(self, x: Tensor) -> Tensor:
        return (self._norm(x) * (1.0 + self.weight)).type_as(x)


class Literal(nn.Module):
    """With the epsilon in the code."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.rand(width) + 0.5)

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-2) * self.gain


class ShiftedLiteral(Literal):
    """Both at once."""

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-2) * (1 + self.gain)


class ShiftedLayer(nn.Module):
    """As in Nemotron: LayerNorm, with the gain stored as its difference from one."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.eps = EPSILON
        self.weight = nn.Parameter(torch.rand(width) - 0.5)
        self.bias = nn.Parameter(torch.randn(width))

    def forward(self, x: Tensor) -> Tensor:
        return F.layer_norm(x, self.weight.shape, self.weight + 1, self.bias, self.eps)


class Behind(Literal):
    """With the epsilon behind the root."""

    def forward(self, x: Tensor) -> Tensor:
        return x / (x.pow(2).mean(-1, keepdim=True).sqrt() + EPSILON) * self.gain


class Clamped(Literal):
    """With a bound in the epsilon's place."""

    def forward(self, x: Tensor) -> Tensor:
        return x / x.square().mean(-1, keepdim=True).clamp(min=0.3).sqrt() * self.gain


class Functional(Literal):
    """As a function."""

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x, self.gain.shape, self.gain, 1e-2)


class Unit(nn.Module):
    """A direction of length ``sqrt(width)``, as it was at birth."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.scale = width**0.5
        self.gain = nn.Parameter(torch.rand(width) + 0.5)

    def forward(self, x: Tensor) -> Tensor:
        return F.normalize(x, dim=-1) * self.scale * self.gain


class Written(nn.Module):
    """LayerNorm, written out."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.rand(width) + 0.5)
        self.bias = nn.Parameter(torch.randn(width))

    def forward(self, x: Tensor) -> Tensor:
        centred = x - x.mean(-1, keepdim=True)
        variance = x.var(-1, keepdim=True, unbiased=False)
        return centred / (variance + 1e-2).sqrt() * self.weight + self.bias


class Annotated(Written):
    """LayerNorm as the Annotated Transformer has it: by an unbiased standard deviation."""

    def forward(self, x: Tensor) -> Tensor:
        mean, deviation = x.mean(-1, keepdim=True), x.std(-1, keepdim=True)
        return self.weight * (x - mean) / (deviation + EPSILON) + self.bias


class Stream(nn.Module):
    """A residual stream with a gated branch, all of it behind norms."""

    def __init__(self, norm: type[nn.Module], width: int = 8) -> None:
        super().__init__()
        self.stem = nn.Linear(5, width)
        self.first, self.last = norm(width), norm(width)
        self.gate, self.up = nn.Linear(width, 12), nn.Linear(width, 12)
        self.down = nn.Linear(12, width)
        self.head = nn.Linear(width, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        inner = self.first(x)
        x = x + self.down(F.silu(self.gate(inner)) * self.up(inner))
        return self.head(self.last(x))


class Bare(nn.LayerNorm):
    """Without a gain."""

    def __init__(self, width: int) -> None:
        super().__init__(width, eps=EPSILON, elementwise_affine=False)


class BareRoot(nn.RMSNorm):
    """Without a gain."""

    def __init__(self, width: int) -> None:
        super().__init__(width, eps=EPSILON, elementwise_affine=False)


NORMS: dict[str, type[nn.Module]] = {
    "llama": Llama,
    "gemma": Gemma,
    "literal": Literal,
    "shifted literal": ShiftedLiteral,
    "shifted layer": ShiftedLayer,
    "behind the root": Behind,
    "clamped": Clamped,
    "functional": Functional,
    "unit": Unit,
    "written": Written,
    "annotated": Annotated,
    "bare": Bare,
    "bare root": BareRoot,
}
CASES = [
    Case(f"stream_{name}", lambda n=norm: Stream(n), floats(6, 5), outputs=("head",))
    for name, norm in NORMS.items()
]
