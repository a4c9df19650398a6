"""Channels that are summed without a parameter that reads them: products of two layers, sums,
norms.

Tolerance: float64, where exact edits differ by the order of summation alone.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from structure_net.errors import SurgeryError
from structure_net.graph import trace
from structure_net.graph.channels import Fill
from structure_net.surgery import (
    AddNeurons,
    DoubleWidth,
    Edit,
    EditEntry,
    Journal,
    MergeNeurons,
    RemoveNeurons,
    SplitNeurons,
    apply,
    replay,
)

EXACT = 1e-10
EXAMPLE = torch.randn(2, 5, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


class Attention(nn.Module):
    """Queries, keys and values without heads.

    Args:
        mix: Takes queries, keys and values to what is read.
    """

    def __init__(self, mix: Callable[[Tensor, Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.query = nn.Linear(4, 6)
        self.key = nn.Linear(4, 6)
        self.value = nn.Linear(4, 7)
        self.head = nn.Linear(7, 3)
        self.mix = mix

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.mix(self.query(x), self.key(x), self.value(x)))


def product(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return F.softmax(q @ k.transpose(-2, -1) * 0.3, -1) @ v


def fused(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return F.scaled_dot_product_attention(q, k, v)


def summed(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return F.softmax((q * k).sum(-1, keepdim=True), 1) * v


def labelled(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return torch.einsum("bnd,bmd,...me->bne", q, k, v)


MIXES = (product, fused, summed, labelled)


def built(mix: Callable[[Tensor, Tensor, Tensor], Tensor]) -> Attention:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return Attention(mix).double().eval()


def moved(model: nn.Module, edit: Edit) -> float:
    with torch.no_grad():
        before = model(EXAMPLE)
        apply(model, edit, EXAMPLE)
        return float((model(EXAMPLE) - before).abs().max())


@pytest.mark.parametrize("mix", MIXES)
@pytest.mark.parametrize("layer", ["query", "key"])
@pytest.mark.parametrize("count", [1, 3])
def test_two_layers_that_meet_in_a_product_grow_together(
    mix: Callable[[Tensor, Tensor, Tensor], Tensor], layer: str, count: int
) -> None:
    model = built(mix)
    assert moved(model, AddNeurons(layer, count)) < EXACT
    assert (model.query.out_features, model.key.out_features) == (6 + count, 6 + count)


@pytest.mark.parametrize("mix", MIXES)
def test_one_side_is_silent_and_learns_from_the_other(
    mix: Callable[[Tensor, Tensor, Tensor], Tensor],
) -> None:
    model = built(mix)
    apply(model, AddNeurons("query", 2), EXAMPLE)
    model(EXAMPLE).square().mean().backward()
    silent = [m for m in (model.query, model.key) if not m.weight[6:].any()]
    assert len(silent) == 1
    assert silent[0].weight.grad is not None
    assert silent[0].weight.grad[6:].abs().min() > 0


@pytest.mark.parametrize("mix", [product, summed, labelled])
def test_copies_share_a_product(mix: Callable[[Tensor, Tensor, Tensor], Tensor]) -> None:
    assert moved(built(mix), DoubleWidth("query")) < EXACT
    assert moved(built(mix), SplitNeurons("key", (2, 4))) < EXACT


def test_merging_copies_undoes_their_split() -> None:
    model = built(product)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    apply(model, SplitNeurons("query", (2,)), EXAMPLE)
    apply(model, MergeNeurons("query", ((2, 6),)), EXAMPLE)
    for name, tensor in model.state_dict().items():
        assert torch.allclose(tensor, before[name], atol=EXACT, rtol=0.0), name


@pytest.mark.parametrize("mix", MIXES)
def test_a_unit_is_dropped_with_its_term(
    mix: Callable[[Tensor, Tensor, Tensor], Tensor],
) -> None:
    model = built(mix)
    with torch.no_grad():
        model.query.weight[3] = 0.0
        model.query.bias[3] = 0.0
    assert moved(model, RemoveNeurons("key", (3,))) < EXACT


def test_attention_that_scales_by_its_width_multiplies_one_side_by_the_growth() -> None:
    model = built(fused)
    before = model.query.weight.detach().clone(), model.key.weight.detach().clone()
    apply(model, AddNeurons("query", 3), EXAMPLE)
    ratios = {
        round((m.weight[:6] / old).mean().item(), 9)
        for m, old in zip((model.query, model.key), before, strict=True)
    }
    assert ratios == {1.0, round(1.5**0.5, 9)}


def test_attention_that_scales_by_its_width_is_not_copied() -> None:
    with pytest.raises(SurgeryError, match="scaled_dot_product_attention"):
        apply(built(fused), DoubleWidth("query"), EXAMPLE)


def test_an_optimizer_follows_silent_writers() -> None:
    model = built(product)
    steps = torch.optim.Adam(model.parameters(), lr=0.1)
    for width in (8, 10):
        steps.zero_grad()
        model(EXAMPLE).square().mean().backward()
        steps.step()
        before = steps.state[model.key.weight]["exp_avg"].clone()
        apply(model, AddNeurons("key", 2), EXAMPLE, optimizer=steps)
        for layer in (model.query, model.key):
            assert steps.state[layer.weight]["exp_avg"].shape == (width, 4)
        assert torch.equal(steps.state[model.key.weight]["exp_avg"][: width - 2], before)


def test_a_journal_replays_growth_on_both_sides() -> None:
    model, journal = built(product), Journal()
    for edit in (AddNeurons("query", 2), DoubleWidth("key"), RemoveNeurons("key", (0, 5))):
        apply(model, edit, EXAMPLE)
        journal.append(EditEntry(edit))
    twin = replay(built(product), journal, EXAMPLE)
    assert {n: t.shape for n, t in twin.state_dict().items()} == {
        n: t.shape for n, t in model.state_dict().items()
    }


class Summed(nn.Module):
    """Channels that are divided by a function of all of them."""

    def __init__(self, operation: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.hidden = nn.Linear(4, 6)
        self.head = nn.Linear(6, 2)
        self.operation = operation

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.operation(self.hidden(x)))


SUMS = {
    "sum": lambda x: x / (1 + x.sum(-1, keepdim=True).square()),
    "normalize": lambda x: F.normalize(x, dim=-1),
    "norm": lambda x: x / x.norm(dim=-1, keepdim=True),
    "first": lambda x: F.normalize(x, p=1.0, dim=-1),
    "gram": lambda x: x @ (x.transpose(1, 2) @ x),
    "attention": lambda x: (x @ x.transpose(1, 2)).softmax(-1) @ x,
}  # fmt: skip


@pytest.mark.parametrize("name", SUMS)
def test_silent_channels_leave_sums_and_are_read_afresh(name: str) -> None:
    model = Summed(SUMS[name]).double()
    group = trace(model, EXAMPLE).group("hidden")
    fills = {axis.tensor: axis.fill for axis in group.axes if axis.dim == 1 or axis.tensor}
    assert group.paired
    assert fills["hidden.bias"] is Fill.ZERO
    assert moved(model, AddNeurons("hidden", 2)) < EXACT
    model(EXAMPLE).square().mean().backward()
    assert model.hidden.weight.grad is not None
    assert model.hidden.weight.grad[6:].abs().max() > 0


@pytest.mark.parametrize("name", ["normalize", "gram"])
def test_what_is_no_linear_sum_is_not_copied(name: str) -> None:
    group = trace(Summed(SUMS[name]), EXAMPLE.float()).group("hidden")
    assert group.doubling_refusal is not None


NONLINEAR = {
    "constant": lambda q, k: (q + 0.7, k + 0.3),
    "square": lambda q, k: (q * q, k.tanh()),
    "denominator": lambda q, k: ((k * k) / (q + 9.0), k.exp()),
}


@pytest.mark.parametrize("name", NONLINEAR)
def test_copies_share_nothing_that_is_not_linear_in_its_writers(name: str) -> None:
    def mix(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        q, k = NONLINEAR[name](q, k)
        return (q @ k.transpose(-2, -1)).tanh() @ v

    graph = trace(built(mix), EXAMPLE)
    if "query" in graph.editable:
        assert graph.group("query").doubling_refusal is not None


def test_channels_that_would_never_learn_are_refused() -> None:
    operation = lambda x: x.relu().square().sum(-1, keepdim=True).expand(-1, -1, 6)  # noqa: E731
    reason = trace(Summed(operation), EXAMPLE.float()).frozen["hidden"]
    assert "operation 'sum'" in reason


def test_the_width_of_one_of_several_heads_stays() -> None:
    def heads(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        q, k = (t.unflatten(-1, (-1, 3)).transpose(1, 2) for t in (q, k))
        return (q @ k.transpose(-2, -1)).mean(1).softmax(-1) @ v

    assert trace(built(heads), EXAMPLE).group("query").granularity == 3
