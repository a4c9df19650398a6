"""One law per rule: how an operation joins the axes of what it reads, or why it fixes them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from structure_net.graph import ChannelGraph, Growth, Role, trace


class Between(nn.Module):
    """A linear layer, an operation, and a linear layer that reads its result."""

    def __init__(self, operation: Callable[[Tensor], Tensor], width: int, read: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(3, width)
        self.head = nn.Linear(read, 2)
        self.operation = operation

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.operation(self.hidden(x)))


def graph(operation: Callable[[Tensor], Tensor], width: int = 8) -> ChannelGraph:
    """The graph of ``operation`` on channels of shape (2, 5, width)."""
    read = operation(torch.ones(2, 5, width)).shape[-1]
    return trace(Between(operation, width, read), torch.ones(2, 5, 3))


POINTWISE = (
    F.relu, F.gelu, F.silu, torch.tanh, torch.sigmoid, F.softplus, F.elu, F.leaky_relu, torch.abs,
    torch.exp, F.hardswish, F.dropout, torch.neg, F.mish, F.selu, torch.square, F.relu6, torch.sin,
)  # fmt: skip


@pytest.mark.parametrize("operation", POINTWISE, ids=lambda f: f.__name__)
def test_pointwise_operations_leave_channels_free(operation: Callable[[Tensor], Tensor]) -> None:
    group = graph(operation).group("hidden")
    assert (group.size, group.granularity) == (8, 1)
    roles = {(axis.tensor, axis.dim): axis.role for axis in group.axes}
    assert roles == {
        ("hidden.weight", 0): Role.WRITES,
        ("hidden.bias", 0): Role.WRITES,
        ("head.weight", 1): Role.READS,
    }


MIXING = {
    "flip": lambda x: x.flip(-1),
    "roll": lambda x: x.roll(1, -1),
    "softmax": lambda x: x.softmax(-1),
    "log_softmax": lambda x: x.log_softmax(-1),
    "cumsum": lambda x: x.cumsum(-1),
    "sort": lambda x: x.sort(-1).values,
    "topk": lambda x: x.topk(3, -1).values,
    "logsumexp": lambda x: x - x.logsumexp(-1, keepdim=True),
    "std": lambda x: x / x.std(-1, keepdim=True),
    "layer_norm": lambda x: F.layer_norm(x, (5, 8)),
    "slice": lambda x: x[..., ::2],
    "select": lambda x: x[..., :1] + x[..., 0:1] * x[..., 3].unsqueeze(-1),
    "fft_fft": lambda x: torch.fft.fft(x).real,
    "diff": lambda x: x.diff(dim=-1),
}  # fmt: skip


@pytest.mark.parametrize("name", MIXING)
def test_operations_that_mix_channels_fix_them_and_are_named(name: str) -> None:
    reason = graph(MIXING[name]).frozen["hidden"]
    assert f"operation '{name}'" in reason


COPYABLE = {
    "mean": lambda x: x - x.mean(-1, keepdim=True),
    "amax": lambda x: x - x.amax(-1, keepdim=True),
    "max": lambda x: x - x.max(-1, keepdim=True).values,
    "amin": lambda x: x - x.amin(-1).unsqueeze(-1),
}  # fmt: skip


@pytest.mark.parametrize("name", COPYABLE)
def test_means_and_extrema_stay_when_all_channels_are_copied(name: str) -> None:
    group = graph(COPYABLE[name]).group("hidden")
    assert group.growth is Growth.DOUBLING
    assert group.doubling_refusal is None
    assert group.refusal == f"operation '{name}', which mixes the channels"


def test_the_position_of_an_extremum_fixes_channels() -> None:
    reason = graph(lambda x: x * x.max(-1, keepdim=True).indices).frozen["hidden"]
    assert reason == "operation 'max', which mixes the channels"


def test_a_mean_over_channels_that_the_model_returns_is_no_free_reader() -> None:
    class Mean(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.hidden = nn.Linear(3, 8)

        def forward(self, x: Tensor) -> Tensor:
            return self.hidden(x).mean(-1, keepdim=True)

    assert trace(Mean(), torch.ones(2, 3)).group("hidden").growth is Growth.DOUBLING


@pytest.mark.parametrize(
    "norm", [nn.InstanceNorm1d(5), nn.GroupNorm(5, 5), nn.BatchNorm1d(5)], ids=str
)
def test_channels_that_are_the_space_of_a_normalisation_are_copied_whole(norm: nn.Module) -> None:
    group = graph(norm).group("hidden")
    assert group.growth is Growth.DOUBLING
    assert "_norm', which mixes the channels" in str(group.refusal)


def test_one_group_of_normalised_channels_is_copied_whole() -> None:
    model = nn.Sequential(nn.Conv1d(2, 6, 1), nn.GroupNorm(1, 6), nn.Conv1d(6, 2, 1))
    group = trace(model, torch.ones(2, 2, 5)).group("0")
    assert group.refusal == "the normalisation in '1', which normalises inside a group of channels"
    sites = {site.name: site.value(12) for site in group.attributes if site.module == "1"}
    assert sites == {"num_channels": 12}


def test_groups_of_normalised_channels_come_whole_or_are_copied_inside() -> None:
    model = nn.Sequential(nn.Conv1d(2, 6, 1), nn.GroupNorm(2, 6), nn.Conv1d(6, 2, 1))
    first, second = trace(model, torch.ones(2, 2, 5)).groups_of("0")
    assert (first.growth, first.channels[1]) == (Growth.FREE, (3, 4, 5))
    assert {s.name: s.value(3) for s in first.attributes if s.module == "1"} == {
        "num_channels": 9,
        "num_groups": 3,
    }
    assert (second.growth, second.channels[1]) == (Growth.DOUBLING, (1, 4))
    assert {s.name: s.value(6) for s in second.attributes if s.module == "1"} == {
        "num_channels": 12
    }


def test_operations_along_other_axes_leave_channels_free() -> None:
    found = graph(lambda x: x.flip(1).roll(1, 1).softmax(1).cumsum(1) - x.mean(1, keepdim=True))
    assert found.group("hidden").granularity == 1


def test_a_gated_unit_is_a_pair_of_channels() -> None:
    group = graph(F.glu).group("hidden")
    assert group.channels[0] == (0, 4)
    assert group.granularity == 2


def test_chunks_that_are_combined_move_together() -> None:
    group = graph(lambda x: x.chunk(2, -1)[0] * x.chunk(2, -1)[1]).group("hidden")
    assert group.channels[1] == (1, 5)


def test_a_concatenation_reads_each_of_its_parts() -> None:
    found = graph(lambda x: torch.cat([x, x.relu()], -1))
    read = next(axis for axis in found.group("hidden").axes if axis.tensor == "head.weight")
    assert read.lift([0, 2]) == (0, 2, 8, 10)


def test_a_flattened_axis_moves_in_strides() -> None:
    class Flat(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(1, 3, 2)
            self.head = nn.Linear(12, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.conv(x).flatten(1))

    group = trace(Flat(), torch.ones(2, 1, 3, 3)).group("conv")
    read = next(axis for axis in group.axes if axis.tensor == "head.weight")
    assert read.lift([0, 2]) == (0, 1, 2, 3, 8, 9, 10, 11)


class Attention(nn.Module):
    """Attention with two heads, as many users write it."""

    def __init__(self) -> None:
        super().__init__()
        self.heads = 2
        self.query, self.key, self.value = (nn.Linear(3, 8) for _ in range(3))
        self.head = nn.Linear(8, 2)

    def split(self, x: Tensor) -> Tensor:
        return x.view(x.shape[0], x.shape[1], self.heads, -1).transpose(1, 2)

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = (self.split(f(x)) for f in (self.query, self.key, self.value))
        mixed = F.scaled_dot_product_attention(query, key, value)
        return self.head(mixed.transpose(1, 2).flatten(2))


def test_heads_are_units_and_their_attribute_follows() -> None:
    group = trace(Attention(), torch.ones(2, 5, 3)).group("query")
    assert group.heads
    assert group.channels == ((0, 1, 2, 3), (4, 5, 6, 7))
    sites = {(site.module, site.name): site.value(3) for site in group.attributes}
    assert sites["", "heads"] == 3


def test_a_convolution_in_groups_grows_by_groups_or_inside_each() -> None:
    model = nn.Sequential(nn.Conv1d(2, 6, 1), nn.Conv1d(6, 9, 3, groups=3), nn.Conv1d(9, 2, 1))
    found = trace(model, torch.ones(2, 2, 5)).groups_of("1")
    assert {group.channels[1] for group in found} == {(3, 4, 5), (1, 4, 7)}
    by_groups = next(group for group in found if group.channels[1] == (3, 4, 5))
    sites = {(site.module, site.name): site.value(4) for site in by_groups.attributes}
    assert sites["1", "groups"] == 4
    assert sites["1", "out_channels"] == 12


def test_a_depthwise_convolution_follows_its_input() -> None:
    model = nn.Sequential(nn.Conv1d(2, 4, 1), nn.Conv1d(4, 4, 3, groups=4), nn.Conv1d(4, 2, 1))
    found = trace(model, torch.ones(2, 2, 5))
    assert {axis.tensor for axis in found.group("0").axes} == {
        axis.tensor for axis in found.group("1").axes
    }


def test_a_transposed_convolution_writes_its_second_axis() -> None:
    model = nn.Sequential(nn.ConvTranspose2d(2, 5, 2), nn.Conv2d(5, 1, 1))
    group = trace(model, torch.ones(2, 2, 4, 4)).group("0")
    assert ("0.weight", 1) in {(axis.tensor, axis.dim) for axis in group.axes}


def test_recurrent_gates_move_together() -> None:
    class Recurrent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cell = nn.LSTM(3, 4, batch_first=True)
            self.head = nn.Linear(4, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.cell(x)[0])

    group = trace(Recurrent(), torch.ones(2, 5, 3)).group("cell")
    gates = next(a for a in group.axes if a.tensor == "cell.weight_ih_l0" and a.dim == 0)
    assert gates.lift([1]) == (1, 5, 9, 13)


def test_two_activations_contracted_over_channels_fix_them() -> None:
    reason = graph(lambda x: torch.einsum("bnc,bmc->bnm", x, x.relu())).frozen["hidden"]
    assert "operation 'einsum'" in reason


class Masked(nn.Module):
    """A linear layer whose weight a mask multiplies."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(4, 8))
        self.register_buffer("mask", torch.eye(4, 8))

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight * self.mask)


def test_a_masked_weight_reads_and_its_mask_is_a_table() -> None:
    model = nn.Sequential(nn.Linear(3, 8), Masked(), nn.Linear(4, 2))
    group = trace(model, torch.ones(2, 3)).group("0")
    roles = {axis.tensor: axis.role for axis in group.axes}
    assert roles["1.weight"] is Role.READS
    assert roles["1.mask"] is Role.TABLE


def test_an_operation_nobody_knows_fixes_all_that_it_touches() -> None:
    found = graph(torch.special.i0)
    assert found.frozen["hidden"] == "operation 'special_i0', which has no channel rule"


def test_a_module_called_twice_has_each_axis_once() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Linear(3, 8)
            self.again = nn.Linear(8, 8)
            self.head = nn.Linear(8, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.again(self.again(self.stem(x)).relu()))

    axes = [(axis.tensor, axis.dim) for axis in trace(Twice(), torch.ones(2, 3)).group("stem").axes]
    assert sorted(axes) == sorted(set(axes))
    assert {("again.weight", 0), ("again.weight", 1)} <= set(axes)
