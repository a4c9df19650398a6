"""A LayerNorm whose epsilon is written out in the code is compensated in what writes its stream."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from structure_net.graph import Growth, trace
from structure_net.surgery import AddNeurons, DoubleWidth, RemoveNeurons, apply, edit


class Norm(nn.Module):
    """As in nanoGPT: the epsilon is a literal. It is large here, so that a slip would show."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(width))
        self.bias = nn.Parameter(torch.randn(width))

    def forward(self, x: Tensor) -> Tensor:
        return F.layer_norm(x, self.weight.shape, self.weight, self.bias, 0.1)


class Language(nn.Module):
    """A stream of token and position embeddings, with a head that may be tied."""

    def __init__(self, between: Callable[[Tensor], Tensor], *, tied: bool = True) -> None:
        super().__init__()
        self.token, self.place = nn.Embedding(11, 6), nn.Embedding(7, 6)
        self.norm, self.last = Norm(6), Norm(6)
        self.up, self.down = nn.Linear(6, 9), nn.Linear(9, 6)
        self.side = nn.Linear(6, 4)
        self.head = nn.Linear(6, 11, bias=False)
        self.between = between
        if tied:
            self.head.weight = self.token.weight

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        stream = self.token(x) + self.place(torch.arange(x.shape[1]))
        stream = self.between(stream)
        side = self.side(stream)
        stream = stream + self.down(torch.tanh(self.up(self.norm(stream))))
        return self.head(self.last(stream)), side


def language(
    between: Callable[[Tensor], Tensor] = lambda x: x, *, tied: bool = True
) -> tuple[nn.Module, Tensor]:
    torch.manual_seed(0)
    model = Language(between, tied=tied).double().eval()
    return model, torch.randint(0, 11, (2, 5))


def moved(model: nn.Module, before: tuple[Tensor, ...], x: Tensor) -> float:
    return max((a - b).abs().max().item() for a, b in zip(model(x), before, strict=True))


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("count", [1, 5])
def test_growth_keeps_the_function_though_epsilon_stays(tied: bool, count: int) -> None:
    model, x = language(tied=tied)
    other = torch.randint(0, 11, (3, 7))
    before = model(other)
    assert trace(model, x).group("token").growth is Growth.CENTRED
    edit(model, AddNeurons("token", count), x, verify=False)
    assert model.token.weight.shape == (11, 6 + count)
    # A dozen operations in double precision.
    assert moved(model, before, other) < 1e-12


@pytest.mark.parametrize("tied", [True, False])
def test_doubling_keeps_the_function_of_a_tied_head(tied: bool) -> None:
    model, x = language(tied=tied)
    before = model(x)
    edit(model, DoubleWidth("token"), x, verify=False)
    assert moved(model, before, x) < 1e-12


def test_growth_and_pruning_come_back_to_the_same_weights() -> None:
    model, x = language()
    before = copy.deepcopy(model.state_dict())
    edit(model, AddNeurons("token", 3), x)
    edit(model, RemoveNeurons("token", (6, 7, 8)), x)
    for name, value in model.state_dict().items():
        # Two multiplications with a factor and its inverse.
        torch.testing.assert_close(value, before[name], rtol=1e-14, atol=0)


def test_undo_is_exact() -> None:
    model, x = language()
    before = copy.deepcopy(model.state_dict())
    apply(model, AddNeurons("token", 3), x).undo()
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize(
    "between",
    [
        lambda x: x + 1.0,
        lambda x: x + torch.ones(5, 1, dtype=x.dtype),
        torch.relu,
        lambda x: x * x.mean(1, keepdim=True),
        lambda x: x.masked_fill(torch.eye(5)[:, :1] > 0, 2.0),
    ],
    ids=["a number", "a tensor", "an activation", "a square", "a fill"],
)
def test_what_is_not_linear_in_the_stream_is_not_compensated(
    between: Callable[[Tensor], Tensor],
) -> None:
    model, x = language(between, tied=False)
    graph = trace(model, x)
    grows = "token" in graph.editable and graph.group("token").growth is Growth.CENTRED
    assert not grows


def test_a_tied_head_beside_another_reader_of_the_last_norm_is_not_compensated() -> None:
    class Two(Language):
        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            out = self.last(self.token(x) + self.place(torch.arange(x.shape[1])))
            return self.head(out), self.side(out)

    torch.manual_seed(0)
    model = Two(lambda x: x).double().eval()
    graph = trace(model, torch.randint(0, 11, (2, 5)))
    assert "which both writes and reads" in graph.frozen["token"]


def test_a_tensor_that_writes_and_reads_is_not_split() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a = nn.Linear(5, 4)

        def forward(self, x: Tensor) -> Tensor:
            return F.linear(torch.relu(self.a(x)), self.a.weight.t())

    from structure_net.errors import SurgeryError
    from structure_net.surgery import SplitNeurons

    model, x = Tied(), torch.randn(3, 5)
    with pytest.raises(SurgeryError, match="writes and reads"):
        edit(model, SplitNeurons("a", (1,)), x, verify=False)


@pytest.mark.parametrize(
    "norm",
    [
        lambda x, weight: F.layer_norm(x, weight.shape, 2 * weight, None, 0.1),
        lambda x, weight: F.layer_norm(x, weight.shape, None, weight, 0.1),
        lambda x, weight: F.layer_norm(x, weight.shape, None, None, 0.1).tanh() * weight,
        lambda x, weight: x * (x.pow(2).mean(-1, keepdim=True) + 0.1).rsqrt() * weight.exp(),
    ],
    ids=["a computed gain", "a bias alone", "an activation behind it", "an exponential"],
)
def test_a_norm_whose_result_cannot_be_scaled_allows_copies_only(
    norm: Callable[[Tensor, Tensor], Tensor],
) -> None:
    class Normed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.head = nn.Linear(3, 6), nn.Linear(6, 2)
            self.weight = nn.Parameter(torch.randn(6))

        def forward(self, x: Tensor) -> Tensor:
            return self.head(norm(self.stem(x), self.weight))

    torch.manual_seed(0)
    model, x = Normed().double(), torch.randn(4, 3, dtype=torch.float64)
    assert trace(model, x).group("stem").growth is Growth.DOUBLING
    before = model(x)
    edit(model, DoubleWidth("stem"), x, verify=False)
    assert (model(x) - before).abs().max().item() < 1e-12
