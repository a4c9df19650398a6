"""From the value that describes a graft to the module, with its weights; pure but for what it
returns.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from structure_net.core.activations import activation_gain, make_activation
from structure_net.core.drawing import random_pattern
from structure_net.core.layers import SparseConv2d, StandardSparseLayer
from structure_net.core.rearranging import scaled_noise
from structure_net.core.sparsity import SparsePattern
from structure_net.surgery.grafts import (
    Carrier,
    InsertedLayer,
    PartialActivation,
    ResidualBlock,
    SkipSource,
    SkipTarget,
)
from structure_net.surgery.moves import Block, Skip

_CONVOLUTIONS = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}


@dataclass(frozen=True, slots=True)
class Map:
    """A linear map between channels, or a convolution that keeps the size.

    Args:
        inputs: Channels read.
        outputs: Channels written.
        kernel: The kernel, odd; empty for a linear map.
        density: The density of a sparse map, None of a dense one.
        like: Gives the weights their dtype and device.
        bias: Whether there is one; zero.
    """

    inputs: int
    outputs: int
    kernel: tuple[int, ...]
    density: float | None
    like: Tensor
    bias: bool = True

    def zero(self, generator: torch.Generator) -> nn.Module:
        """Maps everything to zero."""
        pattern = self._drawn(generator)
        if pattern is None:
            return self._filled(torch.zeros(self._shape))
        return self._sparse(torch.zeros(len(pattern), *self.kernel), pattern)

    def identity(self, generator: torch.Generator) -> nn.Module:
        """Maps the input to itself. A sparse map has further connections, of weight zero."""
        diagonal = torch.arange(self.outputs)
        centre = math.prod(self.kernel) // 2
        pattern = self._drawn(generator)
        if pattern is None:
            weight = torch.zeros(self._shape)
            weight.view(self.outputs, self.inputs, -1)[diagonal, diagonal, centre] = 1.0
            return self._filled(weight)
        keys = torch.cat((pattern.rows * self.inputs + pattern.columns, diagonal * self.inputs))
        keys[len(pattern) :] += diagonal
        keys = keys.unique()
        pattern = SparsePattern(keys // self.inputs, keys % self.inputs, pattern.shape)
        values = torch.zeros(len(pattern), *self.kernel)
        values.view(len(pattern), -1)[pattern.rows == pattern.columns, centre] = 1.0
        return self._sparse(values, pattern)

    def random(self, generator: torch.Generator, gain: float) -> nn.Module:
        """Weights normal with standard deviation ``gain / sqrt(fan_in)`` of the live
        connections.
        """
        pattern = self._drawn(generator)
        if pattern is None:
            spread = gain / math.sqrt(self.inputs * math.prod(self.kernel))
            return self._filled(torch.randn(self._shape, generator=generator) * spread)
        noise = torch.randn(len(pattern), *self.kernel, generator=generator)
        return self._sparse(scaled_noise(noise, pattern.fan_in()[pattern.rows], gain), pattern)

    @property
    def _shape(self) -> tuple[int, ...]:
        return (self.outputs, self.inputs, *self.kernel)

    def _drawn(self, generator: torch.Generator) -> SparsePattern | None:
        """The connections of a sparse map, None of a dense one."""
        if self.density is None or len(self.kernel) not in (0, 2):
            return None
        shape = (self.outputs, self.inputs)
        wanted = max(round(self.density * self.outputs * self.inputs), *shape)
        return random_pattern(shape, min(wanted, self.outputs * self.inputs), generator)

    def _filled(self, weight: Tensor) -> nn.Module:
        layer = self._dense()
        with torch.no_grad():
            layer.weight.copy_(weight)
            if layer.bias is not None:
                layer.bias.zero_()
        return layer

    def _dense(self) -> nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d:
        """A layer whose making draws no random number."""
        options = {"dtype": self.like.dtype, "device": self.like.device, "bias": self.bias}
        if not self.kernel:
            linear: nn.Linear = nn.utils.skip_init(nn.Linear, self.inputs, self.outputs, **options)
            return linear
        made: nn.Conv1d | nn.Conv2d | nn.Conv3d = nn.utils.skip_init(
            _CONVOLUTIONS[len(self.kernel)],
            self.inputs,
            self.outputs,
            self.kernel,
            padding=tuple(k // 2 for k in self.kernel),
            **options,
        )
        return made

    def _sparse(self, values: Tensor, pattern: SparsePattern) -> nn.Module:
        draw = torch.Generator()
        layer: StandardSparseLayer | SparseConv2d
        if self.kernel:
            kernel = (self.kernel[0], self.kernel[1])
            layer = SparseConv2d(
                self.inputs,
                self.outputs,
                kernel,
                padding=(kernel[0] // 2, kernel[1] // 2),
                pattern=pattern,
                bias=self.bias,
                generator=draw,
            )
        else:
            layer = StandardSparseLayer(
                self.inputs, self.outputs, pattern=pattern, bias=self.bias, generator=draw
            )
        layer.fill(values)
        return layer.to(self.like)


def built_block(block: Block, like: Tensor, generator: torch.Generator) -> nn.Module:
    """The module of a `Block`; ``like`` gives its dtype and device."""
    site = block.site
    kernel = site.kernel if site.spatial else ()
    activation = make_activation(block.activation)
    if block.kind == "residual":
        gain = activation_gain(block.activation)
        expand = Map(site.channels, block.width, kernel, site.density, like)
        ones = tuple(1 for _ in kernel)
        project = Map(block.width, site.channels, ones, site.density, like)
        return ResidualBlock(expand.random(generator, gain), activation, project.zero(generator))
    linear = Map(site.channels, site.channels, kernel, site.density, like).identity(generator)
    if block.kind == "partial":
        activation = PartialActivation(activation, like)
    return InsertedLayer(activation, linear)


def built_skip(skip: Skip, like: Tensor, generator: torch.Generator, carrier: Carrier) -> nn.Module:
    """The module of one end of a skip connection."""
    if skip.end == "source":
        return SkipSource(carrier)
    kernel = (1,) * skip.target.spatial
    density = skip.target.density
    sizes = skip.source.channels, skip.target.channels
    project = Map(*sizes, kernel, density, like, bias=False)
    pools = skip.source.spatial > 0 and not skip.target.spatial
    return SkipTarget(carrier, project.zero(generator), spatial=skip.target.spatial, pools=pools)
