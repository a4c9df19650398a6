"""Convolutions with live weights against pre-masked dense ones, forward and backward."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
from torch.nn import functional as F

from benchmarks.harness import Figure, interleaved, seconds
from structure_net.core.live_index import LiveIndex
from structure_net.core.sparse_convolution import scattered, sparse_conv2d
from structure_net.core.sparsity import SparsePattern
from structure_net.core.windows import Geometry

SHAPES = ((16, 32, 64), (64, 16, 64), (64, 32, 32), (128, 16, 32), (256, 8, 64))
"""Channels on both sides, height and width, batch."""

DENSITIES = (0.005, 0.01, 0.05, 0.2, 0.3, 0.5)


@dataclass(frozen=True, slots=True)
class Pair:
    """A convolution of single weights, live and dense.

    Args:
        channels: On both sides.
        size: Height and width of the images.
        kernel: Of the kernel; the padding keeps the size.
        batch: The number of images.
        density: Of the weights.
    """

    channels: int
    size: int
    kernel: int
    batch: int
    density: float

    def seconds(self, repeats: int) -> dict[str, float]:
        """Of forward and both backwards, live and dense."""
        draw = torch.Generator().manual_seed(0)
        columns = self.channels * self.kernel**2
        mask = torch.rand(self.channels, columns, generator=draw) < self.density
        mask[0, 0] = True
        index = LiveIndex.from_pattern(SparsePattern.from_mask(mask))
        geometry = Geometry((self.kernel, self.kernel), padding=(self.kernel // 2,) * 4)
        values = torch.randn(len(index), generator=draw).requires_grad_()
        bias = torch.zeros(self.channels, requires_grad=True)
        shape = (self.batch, self.channels, self.size, self.size)
        inputs = torch.randn(shape, generator=draw).requires_grad_()
        slope = torch.randn(shape, generator=draw)
        weight = scattered(values, index, geometry).detach().requires_grad_()

        def live() -> None:
            values.grad = bias.grad = inputs.grad = None
            sparse_conv2d(inputs, values, bias, index, geometry).backward(slope)

        def dense() -> None:
            weight.grad = bias.grad = inputs.grad = None
            F.conv2d(inputs, weight, bias, padding=self.kernel // 2).backward(slope)

        candidates = {"live": partial(seconds, live), "dense": partial(seconds, dense)}
        return interleaved(candidates, repeats)


def figures() -> list[Figure]:
    """How much faster live weights are, by shape, kernel and density."""
    found = []
    for channels, size, batch in SHAPES:
        for kernel in (3, 1):
            for density in DENSITIES:
                times = Pair(channels, size, kernel, batch, density).seconds(9)
                name = f"{kernel}x{kernel}, {channels} channels, {size}x{size}, at {density:.1%}"
                how = f"dense over live, both directions, batch {batch}"
                found.append(Figure(name, times["dense"] / times["live"], "x", None, how))
    return found
