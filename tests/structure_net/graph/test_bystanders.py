"""Operations along other axes than the channels, and operations by other names, leave channels
free.

Tolerance: float64, where exact edits differ by the order of summation alone.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from structure_net.graph import Role, trace
from structure_net.surgery import AddNeurons, DoubleWidth, apply

EXACT = 1e-10
EXAMPLE = torch.randn(2, 6, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
Operation = Callable[[Tensor], Tensor]


class Between(nn.Module):
    """A linear layer, an operation, and a linear layer that reads its result."""

    def __init__(self, operation: Operation) -> None:
        super().__init__()
        self.hidden = nn.Linear(3, 8)
        self.operation = operation
        self.head = nn.Linear(operation(torch.ones(2, 6, 8).double()).shape[-1], 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.operation(self.hidden(x)))


def image(operation: Operation) -> Operation:
    """An operation on feature maps of shape (batch, channels, 2, 3)."""

    def along(x: Tensor) -> Tensor:
        maps = operation(x.transpose(1, 2).unflatten(2, (2, 3)))
        return maps.flatten(2).transpose(1, 2)

    return along


def grid(x: Tensor) -> Tensor:
    return torch.linspace(-1, 1, 12, dtype=x.dtype).view(1, 2, 3, 2).expand(x.shape[0], -1, -1, -1)


def written(x: Tensor) -> Tensor:
    y = torch.zeros_like(x)
    y[:, 1:3] = x[:, 1:3]
    return y


def masked(x: Tensor) -> Tensor:
    y = x.clone()
    y[y > 1] = 0.5
    return y


def placed(x: Tensor) -> Tensor:
    where = torch.arange(x.shape[0])[:, None], torch.arange(6)[None]
    return torch.zeros_like(x).index_put(where, x)


def first(x: Tensor) -> Tensor:
    return torch.zeros(x.shape[0], 6, 1, dtype=torch.long)


OPERATIONS: dict[str, Operation] = {
    "gather": lambda x: x.gather(1, x.argsort(1)),
    "gather_expanded": lambda x: x.gather(1, first(x).expand_as(x)),
    "take_along_dim": lambda x: torch.take_along_dim(x, first(x), dim=1),
    "scatter": lambda x: torch.zeros_like(x).scatter(1, first(x).expand_as(x), x),
    "scatter_value": lambda x: x.scatter(1, first(x).expand_as(x), 0.5),
    "index_put": placed,
    "index_put_mask": masked,
    "setitem": written,
    "diff": lambda x: x.diff(dim=1),
    "unfold": lambda x: x.unfold(1, 2, 1).mean(-1),
    "fold": image(lambda x: F.fold(F.unfold(x, 2, padding=1), (2, 3), 2, padding=1)),
    "grid_sample": image(lambda x: F.grid_sample(x, grid(x), align_corners=False)),
    "affine_grid": image(
        lambda x: F.grid_sample(
            x,
            F.affine_grid(torch.ones(x.shape[0], 2, 3, dtype=x.dtype), x.size(), False),
            align_corners=False,
        )
    ),
    "hstack": lambda x: torch.hstack([x, x]),
    "vstack": lambda x: torch.vstack([x, x]),
    "moveaxis": lambda x: torch.moveaxis(x, 1, 2).mT,
    "swapaxes": lambda x: x.swapaxes(1, 2).relu().swapaxes(2, 1),
    "repeat_interleave": lambda x: x.repeat_interleave(
        torch.tensor([1, 2, 1, 1, 1, 1]), 1, output_size=7
    ),
    "tensordot": lambda x: torch.tensordot(torch.ones(5, 6).double(), x, dims=([1], [1])),
    "einsum": lambda x: torch.einsum("...td,ts->...sd", x, torch.ones(6, 4, dtype=x.dtype)),
    "einsum_of_three": lambda x: torch.einsum("bnd,bd,bn->bnd", x, x.mean(1), x.mean(-1).exp()),
    "rfft": lambda x: torch.fft.irfft(torch.fft.rfft(x, dim=1) * 2j, n=6, dim=1),
    "fft2": image(lambda x: torch.fft.fft2(x).real),
    "complex": lambda x: torch.view_as_real(torch.complex(x, 2 * x)).sum(-1),
    "quantile": lambda x: x.quantile(0.5, dim=1),
    "max_of_two": lambda x: torch.max(x, 0.1 * x),
    "min_of_two": lambda x: torch.min(x, x.square()),
    "depthwise": image(lambda x: F.conv2d(x, x.new_ones(x.size(1), 1, 1, 3), groups=x.size(1))),
    "broadcast_tensors": lambda x: torch.broadcast_tensors(x, x.mean(1, keepdim=True))[1],
    "multiply": lambda x: torch.multiply(x, 2 * x),
    "float_power": lambda x: x.float_power(2),
    "clip": lambda x: x.clip(0, 1),
    "hypot": lambda x: torch.hypot(x, x),
    "erfc": torch.erfc,
    "exp2": torch.exp2,
}
# A mean over channels is among the operations: all of them can be copied, no more.
COPIED = {"einsum_of_three"}


@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_along_other_axes_leaves_channels_free(name: str) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        model = Between(OPERATIONS[name]).double()
    with torch.no_grad():
        before = model(EXAMPLE)
        edit = DoubleWidth("hidden") if name in COPIED else AddNeurons("hidden", 3)
        apply(model, edit, EXAMPLE)
        assert float((model(EXAMPLE) - before).abs().max()) < EXACT
    assert model.hidden.out_features == (16 if name in COPIED else 11)


ALONG: dict[str, Operation] = {
    "gather": lambda x: x.gather(2, first(x)),
    "diff": lambda x: x.diff(dim=2),
    "unfold": lambda x: x.unfold(2, 2, 1).mean(-1),
    "fft_rfft": lambda x: torch.fft.rfft(x, dim=2).abs(),
    "fft_fftn": lambda x: torch.fft.fftn(x).real,
    "index_put": lambda x: torch.zeros_like(x).index_put(
        (torch.tensor([0])[:, None], torch.tensor([0])[:, None], torch.arange(8)[None]), x[0, 0]
    ),
}


@pytest.mark.parametrize("name", ALONG)
def test_the_same_operation_along_the_channels_fixes_them(name: str) -> None:
    frozen = trace(Between(ALONG[name]).double(), EXAMPLE).frozen
    assert f"operation '{name}'" in frozen["hidden"]


class Spectral(nn.Module):
    """A linear map of the channels at each frequency, by one complex parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(3, 4)
        self.weight = nn.Parameter(torch.randn(4, 5, 4, dtype=torch.complex128) / 4)
        self.head = nn.Linear(5, 2)

    def forward(self, x: Tensor) -> Tensor:
        waves = torch.fft.rfft(self.first(x), dim=1)
        mixed = torch.einsum("bmi,iom->bmo", waves, self.weight)
        return self.head(torch.fft.irfft(mixed, n=6, dim=1))


@pytest.mark.parametrize("layer", ["first", "weight"])
def test_complex_parameters_grow_by_fresh_entries(layer: str) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        model = Spectral().double()
    with torch.no_grad():
        before = model(EXAMPLE)
        apply(model, AddNeurons(layer, 2), EXAMPLE)
        assert float((model(EXAMPLE) - before).abs().max()) < EXACT
    fresh = model.weight[:, 5:] if layer == "weight" else model.first.weight[4:]
    assert bool(fresh.abs().min() > 0)


def test_a_kernel_as_wide_as_the_embedding_reads_it() -> None:
    class TextKernel(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Linear(3, 7)
            self.conv = nn.Conv2d(1, 4, (2, 7))
            self.head = nn.Linear(4, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.conv(self.embed(x).unsqueeze(1)).squeeze(3).amax(2))

    model = TextKernel().double()
    axes = {
        (axis.tensor, axis.dim): axis.role for axis in trace(model, EXAMPLE).group("embed").axes
    }
    assert axes["conv.weight", 3] is Role.READS
    with torch.no_grad():
        before = model(EXAMPLE)
        apply(model, AddNeurons("embed", 2), EXAMPLE)
        assert float((model(EXAMPLE) - before).abs().max()) < EXACT
    assert model.conv.kernel_size == (2, 9)
