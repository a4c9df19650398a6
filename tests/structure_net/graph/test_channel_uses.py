"""What becomes of channels that a model takes for space, for time, for gains or for messages."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from structure_net.graph import Growth, trace
from structure_net.surgery import AddNeurons, apply


class Spaced(nn.Module):
    """Channels of shape (2, 4, 8) that a layer takes for space."""

    def __init__(self, layer: nn.Module, image: bool) -> None:
        super().__init__()
        self.hidden = nn.Linear(3, 8)
        self.layer = layer
        self.image = image

    def forward(self, x: Tensor) -> Tensor:
        x = self.hidden(x)
        return self.layer(x[:, :, None] if self.image else x).sum(-1)


SPACES = {
    "conv1d": (nn.Conv1d(4, 2, 3, padding=1), False),
    "stride": (nn.Conv1d(4, 2, 1, stride=2), False),
    "depthwise": (nn.Conv1d(4, 4, 3, padding=1, groups=4), False),
    "conv2d": (nn.Conv2d(4, 2, (1, 3), padding="same"), True),
    "conv_transpose1d": (nn.ConvTranspose1d(4, 2, 3, padding=1), False),
    "pixel_shuffle": (nn.PixelShuffle(2), True),
    "im2col": (nn.Unfold((1, 3)), True),
}


@pytest.mark.parametrize("name", SPACES)
def test_channels_that_become_space_are_fixed(name: str) -> None:
    found = trace(Spaced(*SPACES[name]), torch.ones(2, 4, 3))
    assert "over the space of which it works" in found.frozen["hidden"]


def test_a_kernel_of_one_leaves_space_alone() -> None:
    class Mixer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.hidden = nn.Linear(3, 8)
            self.mix = nn.Conv1d(4, 2, 1)
            self.head = nn.Linear(8, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.mix(self.hidden(x)))

    axes = trace(Mixer(), torch.ones(2, 4, 3)).group("hidden").axes
    assert ("head.weight", 1) in {(axis.tensor, axis.dim) for axis in axes}


class Normed(nn.Module):
    """A root mean square norm whose gain is used as told."""

    def __init__(self, gained: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.hidden = nn.Linear(3, 8)
        self.weight = nn.Parameter(torch.ones(8))
        self.eps = 1e-6
        self.head = nn.Linear(8, 2)
        self.gained = gained

    def forward(self, x: Tensor) -> Tensor:
        x = self.hidden(x)
        x = x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.eps)
        return self.head(self.gained(x, self.weight))


def test_a_gain_may_be_seen_in_another_shape() -> None:
    model = Normed(lambda x, weight: weight[None] * x)
    assert trace(model, torch.ones(2, 3)).group("hidden").growth is Growth.SCALED


GAINS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "scaled": lambda x, weight: (2 * weight) * x,
    "used twice": lambda x, weight: (weight * x).tanh() * weight,
    "computed": lambda x, weight: weight.exp() * x,
}


@pytest.mark.parametrize("name", GAINS)
def test_a_gain_that_cannot_be_scaled_alone_allows_copies_only(name: str) -> None:
    group = trace(Normed(GAINS[name]), torch.ones(2, 3)).group("hidden")
    assert group.growth is Growth.DOUBLING


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
@pytest.mark.parametrize("batch_first", [True, False])
def test_channels_that_become_steps_in_time_are_fixed(
    kind: type[nn.RNNBase], batch_first: bool
) -> None:
    class Stepwise(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.hidden = nn.Linear(3, 8)
            self.cell = kind(1, 4, batch_first=batch_first)
            self.head = nn.Linear(4, 2)

        def forward(self, x: Tensor) -> Tensor:
            steps = self.hidden(x) if batch_first else self.hidden(x).t()
            return self.head(self.cell(steps[:, :, None])[0].mean(1 if batch_first else 0))

    reason = trace(Stepwise(), torch.ones(2, 3)).frozen["hidden"]
    assert "whose time and batch it is" in reason


class Messages(nn.Module):
    """Sums what nodes send along edges."""

    def __init__(self, gather: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.hidden = nn.Linear(3, 8)
        self.head = nn.Linear(8, 2)
        self.gather = gather

    def forward(self, x: Tensor, edges: Tensor) -> Tensor:
        x = torch.relu(self.hidden(x))
        return self.head(self.gather(x[edges[0]], edges[1]) + x)


GATHERS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "index_add": lambda sent, to: sent.new_zeros(5, sent.shape[1]).index_add(0, to, sent),
    "scatter_add": lambda sent, to: sent.new_zeros(5, sent.shape[1]).scatter_add(
        0, to[:, None].expand(-1, sent.shape[1]), sent
    ),
}


@pytest.mark.parametrize("name", GATHERS)
def test_messages_along_edges_leave_channels_free(name: str) -> None:
    edges = torch.tensor([[0, 1, 2, 3], [1, 2, 3, 4]])
    model, example = Messages(GATHERS[name]).double(), torch.arange(15.0).view(5, 3).double()
    graph = trace(model, (example, edges))
    assert graph.group("hidden").growth is Growth.FREE
    before = model(example, edges)
    apply(model, AddNeurons("hidden", 2), (example, edges))
    assert torch.allclose(model(example, edges), before, rtol=0, atol=1e-10)
