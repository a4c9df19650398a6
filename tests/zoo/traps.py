"""Models that tempt a tracer to guess: channels that are mixed, reduced, sorted or counted.

Freezing is right for nearly all of them; an edit that goes through must keep the function. One trap
per model, on the channel axis of ``hidden``.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from tests.zoo.case import Case, floats

Operation = Callable[[Tensor], Tensor]


class Between(nn.Module):
    """An operation between two linear layers; ``width`` channels go in, ``read`` come out."""

    def __init__(self, operation: Operation, width: int = 8, read: int = 8) -> None:
        super().__init__()
        self.stem = nn.Linear(6, 7)
        self.hidden = nn.Linear(7, width)
        self.head = nn.Linear(read, 3)
        self.operation = operation

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.operation(self.hidden(torch.tanh(self.stem(x)))))


class BetweenConvolutions(nn.Module):
    """An operation on feature maps between two convolutions."""

    def __init__(self, operation: Operation, width: int = 8, read: int = 8) -> None:
        super().__init__()
        self.hidden = nn.Conv2d(3, width, 3, padding=1)
        self.tail = nn.Conv2d(read, 4, 1)
        self.head = nn.Linear(4, 3)
        self.operation = operation

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.relu(self.tail(self.operation(self.hidden(x)))).mean((2, 3)))


def halves_rotated(x: Tensor) -> Tensor:
    """The rotary trick: the second half, negated, before the first."""
    half = x.shape[-1] // 2
    return torch.cat([-x[..., half:], x[..., :half]], dim=-1)


def paired(x: Tensor) -> Tensor:
    """Products of neighbouring channels, side by side with the channels."""
    return torch.cat([x[..., ::2] * x[..., 1::2], x], dim=-1)


def channel_shuffle(x: Tensor) -> Tensor:
    """ShuffleNet's shuffle with two groups."""
    batch, channels, height, width = x.shape
    return (
        x.view(batch, 2, channels // 2, height, width)
        .transpose(1, 2)
        .reshape(batch, channels, height, width)
    )


def in_place(x: Tensor) -> Tensor:
    """In-place arithmetic, and a write into a slice of the channels."""
    x = x.clone()
    x.mul_(2.0).add_(0.5)
    x[:, :3] = x[:, :3].relu()
    return x


def conditional(x: Tensor) -> Tensor:
    """A branch on the number of channels."""
    return x.relu() if x.shape[-1] == 8 else x.sigmoid()


def own_gram(x: Tensor) -> Tensor:
    """Channels against channels: an activation-activation product."""
    tokens = x.unsqueeze(-1)
    return (tokens @ tokens.transpose(1, 2)).mean(2)


def positions(x: Tensor) -> Tensor:
    """Channels weighted by their number."""
    return x * torch.arange(x.shape[-1], dtype=x.dtype, device=x.device)


def summed_by_loop(x: Tensor) -> Tensor:
    """A Python loop over the channels."""
    total = x[:, :1] * 0
    for channel in range(x.shape[1]):
        total = total + x[:, channel].unsqueeze(1)
    return x / (1 + total.abs())


def scattered(x: Tensor) -> Tensor:
    """The largest three channels kept, the others zero."""
    top = x.topk(3, dim=-1)
    return torch.zeros_like(x).scatter(-1, top.indices, top.values)


BETWEEN: dict[str, tuple[Operation, int, int]] = {
    "flip": (lambda x: x.flip(1), 8, 8),
    "roll": (lambda x: x.roll(1, dims=1), 8, 8),
    "softmax_hidden": (lambda x: x.softmax(-1), 8, 8),
    "log_softmax_hidden": (lambda x: functional.log_softmax(x, -1), 8, 8),
    "normalized": (lambda x: functional.normalize(x, dim=-1), 8, 8),
    "divided_by_sum": (lambda x: x / (1 + x.abs().sum(-1, keepdim=True)), 8, 8),
    "summed": (lambda x: x * x.sum(-1, keepdim=True), 8, 8),
    "maximum": (lambda x: x - x.amax(-1, keepdim=True), 8, 8),
    "logsumexp": (lambda x: x - x.logsumexp(-1, keepdim=True), 8, 8),
    "standard_deviation": (lambda x: x / x.std(-1, keepdim=True), 8, 8),
    "centred": (lambda x: x - x.mean(-1, keepdim=True), 8, 8),
    "norm": (lambda x: x / x.norm(dim=-1, keepdim=True), 8, 8),
    "sorted": (lambda x: x.sort(-1).values, 8, 8),
    "topk": (lambda x: x.topk(4, dim=-1).values, 8, 4),
    "argmax": (lambda x: x * x.argmax(-1, keepdim=True), 8, 8),
    "scattered": (scattered, 8, 8),
    "fourier": (lambda x: torch.fft.fft(x, dim=-1).real, 8, 8),
    "cumsum": (lambda x: x.cumsum(-1), 8, 8),
    "cumprod": (lambda x: x.cumprod(-1), 8, 8),
    "strided": (lambda x: x[:, ::2], 8, 4),
    "paired": (paired, 8, 12),
    "halves_rotated": (halves_rotated, 8, 8),
    "indexed": (lambda x: x[:, [3, 1, 2, 0, 7, 6, 5, 4]], 8, 8),
    "last_channel": (lambda x: x * x[:, -1:], 8, 8),
    "one_channel": (lambda x: x * x[:, 2].unsqueeze(1), 8, 8),
    "repeated": (lambda x: x.repeat(1, 2), 8, 16),
    "interleaved": (lambda x: x.repeat_interleave(2, dim=1), 8, 16),
    "tiled_views": (lambda x: x.view(x.shape[0], 2, -1).transpose(1, 2).flatten(1), 8, 8),
    "literal_view": (lambda x: x.view(-1, 2, 4).relu().view(-1, 8), 8, 8),
    "literal_end": (lambda x: functional.pad(x, (0, 1))[..., :8], 8, 8),
    "literal_split": (lambda x: torch.cat(x.split([3, 5], dim=1)[::-1], 1), 8, 8),
    "unbound": (lambda x: torch.stack(x.unbind(1)[::-1], 1), 8, 8),
    "in_place": (in_place, 8, 8),
    "conditional": (conditional, 8, 8),
    "gram": (own_gram, 8, 8),
    "outer": (lambda x: torch.einsum("bi,bj->bij", x, x).flatten(1), 4, 16),
    "self_product": (lambda x: x * torch.einsum("bi,bi->b", x, x)[:, None], 8, 8),
    "scaled_by_width": (lambda x: x / x.shape[-1] ** 0.5, 8, 8),
    "scaled_by_inverse": (lambda x: x * (1.0 / x.shape[-1]), 8, 8),
    "scaled_by_root": (lambda x: x / math.sqrt(x.size(-1)), 8, 8),
    "scaled_by_length": (lambda x: x / len(x[0]), 8, 8),
    "scaled_by_count": (lambda x: x * (x.numel() // x.shape[0]), 8, 8),
    "summed_by_loop": (summed_by_loop, 8, 8),
    "positions": (positions, 8, 8),
    "dropped_neighbours": (lambda x: functional.max_pool1d(x.unsqueeze(1), 2).squeeze(1), 8, 4),
    "convolved_channels": (
        lambda x: functional.avg_pool1d(x.unsqueeze(1), 3, 1, 1).squeeze(1),
        8,
        8,
    ),
    "glu": (lambda x: functional.glu(x, dim=-1), 8, 4),
    "plain_norm": (lambda x: functional.layer_norm(x, (x.shape[-1],)), 8, 8),
    "clipped_norm": (lambda x: torch.renorm(x, 2, 0, 1.0), 8, 8),
    "distances": (lambda x: x * torch.cdist(x, x).mean(1, keepdim=True), 8, 8),
    "cosine": (lambda x: x * functional.cosine_similarity(x, x.tanh(), dim=-1).unsqueeze(-1), 8, 8),
    "median": (lambda x: x - x.median(-1, keepdim=True).values, 8, 8),
    "difference": (lambda x: x.diff(dim=-1), 8, 7),
    "triangle": (lambda x: x @ torch.ones(8, 8, dtype=x.dtype).tril(), 8, 8),
    "nonzero_at_zero": (lambda x: x.cos(), 8, 8),
    "counted": (lambda x: x * (x > 0).sum(-1, keepdim=True), 8, 8),
}

BETWEEN_CONVOLUTIONS: dict[str, tuple[Operation, int, int]] = {
    "channel_shuffle": (channel_shuffle, 8, 8),
    "channel_mean": (lambda x: x * torch.sigmoid(x.mean(1, keepdim=True)), 8, 8),
    "channel_maximum": (lambda x: torch.cat([x, x.amax(1, keepdim=True)], 1), 8, 9),
    "global_norm": (
        lambda x: x / x.norm(p=2, dim=(2, 3), keepdim=True).mean(1, keepdim=True),
        8,
        8,
    ),
    "response_norm": (lambda x: functional.local_response_norm(x, 3), 8, 8),
    "maxout": (lambda x: x.view(x.shape[0], -1, 2, *x.shape[2:]).amax(2), 8, 4),
    "unshuffled": (lambda x: functional.pixel_unshuffle(x, 2), 2, 8),
    "channels_last": (lambda x: x.permute(0, 2, 3, 1).flip(-1).permute(0, 3, 1, 2), 8, 8),
    "whole_norm": (lambda x: functional.layer_norm(x, x.shape[1:]), 8, 8),
    "one_group_written_out": (lambda x: functional.group_norm(x, 1), 8, 8),
    "channel_dropout": (lambda x: functional.dropout2d(x, 0.5, training=False), 8, 8),
    "channels_as_space": (lambda x: x.transpose(1, 2).contiguous().transpose(1, 2), 8, 8),
    "reduced_all": (lambda x: x / x.abs().mean(), 8, 8),
}

CASES = (
    *(
        Case(
            name,
            lambda o=operation, w=width, r=read: Between(o, w, r),
            floats(6),
            trap=True,
            outputs=("head",),
        )
        for name, (operation, width, read) in BETWEEN.items()
    ),
    *(
        Case(
            name,
            lambda o=operation, w=width, r=read: BetweenConvolutions(o, w, r),
            floats(3, 4, 4),
            trap=True,
            outputs=("head",),
        )
        for name, (operation, width, read) in BETWEEN_CONVOLUTIONS.items()
    ),
)
