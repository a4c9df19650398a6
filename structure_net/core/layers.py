"""The sparse layers: linear and convolution."""

from __future__ import annotations

import math
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.fx import Proxy
from torch.nn import functional as F

from structure_net.core.arguments import check_whole
from structure_net.core.drawing import resolved_pattern
from structure_net.core.layer_arguments import Sides, check_weight, padding_of, pair_of
from structure_net.core.products import sparse_linear
from structure_net.core.sparse_convolution import sparse_conv2d
from structure_net.core.sparsity import SparsePattern
from structure_net.core.storage import StoredLayer
from structure_net.core.windows import Geometry

Granularity = Literal["kernel", "weight"]
"""What a connection of a convolution is: a whole kernel, or one weight of it."""


class StandardSparseLayer(StoredLayer):
    r"""A linear layer some of whose connections exist: :math:`y = W x + b` with ``W`` zero off the
    pattern.

    Args:
        in_features: The number of input units.
        out_features: The number of output units.
        density: The fraction of connections that exist, in (0, 1]; their number is exact, and no
            unit is left without one where the number allows it (`random_pattern`). 1 if neither
            this nor ``pattern`` is given.
        pattern: The connections, instead of a density.
        bias: Whether a bias is added; it starts at 0.
        generator: What pattern and weights are drawn with; torch's default generator if None.

    Shape:
        ``(*, in_features)`` to ``(*, out_features)``.

    Raises:
        TypeError: An argument is of another kind.
        ValueError: A size is below 1, ``density`` is not in (0, 1], or ``pattern`` is given too or
            has another shape.
    """

    channel_dim = -1

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        density: float | None = None,
        pattern: SparsePattern | None = None,
        bias: bool = True,
        generator: torch.Generator | None = None,
    ) -> None:
        check_whole(1, in_features=in_features, out_features=out_features)
        shape = (int(out_features), int(in_features))
        super().__init__(resolved_pattern(shape, density, pattern, generator), (), bias=bias)
        self.reset_parameters(generator)

    @property
    def in_features(self) -> int:
        """The number of input units."""
        return self.in_channels

    @property
    def out_features(self) -> int:
        """The number of output units."""
        return self.out_channels

    def register_parameter(self, name: str, param: nn.Parameter | None) -> None:
        """As every module's; the weight cannot be None."""
        check_weight(name, param)
        super().register_parameter(name, param)

    def forward(self, inputs: Tensor) -> Tensor:
        """Maps ``(*, in_features)`` to ``(*, out_features)``."""
        if traced_by_fx(inputs):
            return leaf_of(self, inputs)
        return linear_product(self, inputs)

    def branch(self, pattern: SparsePattern) -> StandardSparseLayer:
        """A layer like this one on ``pattern``, with zero weights and without a bias."""
        return linear_branch(self, pattern)

    def extra_repr(self) -> str:
        """Sizes, density and bias, as `print` shows them."""
        return linear_repr(self)


class SparseConv2d(StoredLayer):
    r"""A convolution some of whose kernels exist, or some of whose single weights.

    With ``granularity="kernel"`` a connection is the whole kernel from one channel to another, and
    the pattern has the shape ``(out_channels, in_channels)``. With ``"weight"`` a connection is one
    weight of a kernel, and the pattern has the shape ``(out_channels, in_channels * height *
    width)``, with the column ``(channel * height + row) * width + column`` for each place in the
    kernels that read a channel. Units are channels in both.

    In live storage the cost follows the live weights (`sparse_conv2d`); masked, it is that of
    `torch.nn.Conv2d`.

    Args:
        in_channels: The number of input channels.
        out_channels: The number of output channels.
        kernel_size: The kernel's height and width, or one number for both.
        stride: The step between positions.
        padding: Zeros added on each side; ``"valid"``: none; ``"same"``: as many as keep the size.
        dilation: The step within the kernel.
        density: The fraction of connections that exist, in (0, 1]; 1 if neither this nor
            ``pattern`` is given.
        pattern: The connections, instead of a density.
        granularity: What a connection is: ``"kernel"`` or ``"weight"``.
        bias: Whether a bias is added; it starts at 0.
        generator: What pattern and weights are drawn with; torch's default generator if None.

    Shape:
        ``(N, in_channels, H, W)`` to ``(N, out_channels, H', W')``, as `torch.nn.Conv2d` has it.

    Raises:
        TypeError: An argument is of another kind.
        ValueError: A number is out of range, ``density`` is not in (0, 1], ``pattern`` is given too
            or has another shape, ``granularity`` is neither of the two, or ``padding`` is
            ``"same"`` with strides or where one side would be padded more.
    """

    channel_dim = 1

    def __init__(  # noqa: PLR0913 - the arguments of torch.nn.Conv2d, and a pattern
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Sides,
        *,
        stride: Sides = 1,
        padding: Sides | Literal["same", "valid"] = 0,
        dilation: Sides = 1,
        density: float | None = None,
        pattern: SparsePattern | None = None,
        granularity: Granularity = "kernel",
        bias: bool = True,
        generator: torch.Generator | None = None,
    ) -> None:
        if granularity not in get_args(Granularity):
            raise ValueError(f"granularity must be 'kernel' or 'weight'; got {granularity!r}.")
        check_whole(1, in_channels=in_channels, out_channels=out_channels)
        kernel, single = pair_of(1, "kernel_size", kernel_size), granularity == "weight"
        steps, apart = pair_of(1, "stride", stride), pair_of(1, "dilation", dilation)
        around = padding_of(padding, kernel, steps, apart)
        shape = (int(out_channels), int(in_channels) * (math.prod(kernel) if single else 1))
        pattern = resolved_pattern(shape, density, pattern, generator)
        super().__init__(pattern, kernel, bias=bias, single=single)
        self.granularity: Granularity = granularity
        self.kernel_size = kernel
        self.stride = steps
        self.padding = around
        self.dilation = apart
        self.reset_parameters(generator)

    def register_parameter(self, name: str, param: nn.Parameter | None) -> None:
        """As every module's; the weight cannot be None."""
        check_weight(name, param)
        super().register_parameter(name, param)

    def forward(self, inputs: Tensor) -> Tensor:
        """Maps ``(N, in_channels, H, W)`` to ``(N, out_channels, H', W')``."""
        if traced_by_fx(inputs):
            return leaf_of(self, inputs)
        if self.storage == "live":
            return sparse_conv2d(inputs, self.weight, self.bias, self.index, self._geometry)
        weight = self.product_weight()
        return F.conv2d(inputs, weight, self.bias, self.stride, self.padding, self.dilation)

    def dense_weight(self) -> Tensor:
        """The weight, with the gradient of the live ones. Shape ``(outputs, inputs, *kernel)``."""
        return self._as_kernels(super().dense_weight())

    def product_weight(self) -> Tensor:
        """`dense_weight` at the least cost, for one use as the weight of a product."""
        return self._as_kernels(super().product_weight())

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of the output for an input of shape ``(N, in_channels, H, W)``."""
        geometry = zip(
            shape[-2:], self.kernel_size, self.stride, self.padding, self.dilation, strict=True
        )
        positions = ((n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in geometry)
        return (*shape[:-3], self.out_channels, *positions)

    def branch(self, pattern: SparsePattern) -> SparseConv2d:
        """A layer like this one on ``pattern``, with zero weights and without a bias."""
        layer = SparseConv2d(
            self.in_channels,
            self.out_channels,
            self.kernel_size,
            stride=self.stride,
            padding=self.padding,
            dilation=self.dilation,
            pattern=pattern,
            granularity=self.granularity,
            bias=False,
            generator=torch.Generator(),
        )
        layer.gain = self.gain
        nn.init.zeros_(layer.weight)
        return layer.to(self.weight)

    def extra_repr(self) -> str:
        """Sizes, geometry, density and bias, as `print` shows them."""
        return (
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, "
            f"stride={self.stride}, padding={self.padding}, "
            f"dilation={self.dilation}, density={self.density:.4g}, "
            f"granularity={self.granularity}, bias={self.bias is not None}"
        )

    @property
    def _geometry(self) -> Geometry:
        high, wide = self.padding
        around = (wide, wide, high, high)
        return Geometry(self.kernel_size, self.stride, self.dilation, around)

    def _as_kernels(self, weight: Tensor) -> Tensor:
        return weight.view(self.out_channels, self.in_channels, *self.kernel_size)


def traced_by_fx(inputs: object) -> bool:
    """Whether ``inputs`` stand for a tensor in a graph of `torch.fx`."""
    return isinstance(inputs, Proxy)


def leaf_of(layer: nn.Module, inputs: Any) -> Tensor:
    """``layer`` as one node of the graph that ``inputs`` belong to, as torch's own layers are.

    What the layer computes depends on how its weights are stored now, and would be frozen.
    """
    tracer = inputs.tracer
    node: Tensor = tracer.create_proxy("call_module", tracer.path_of_module(layer), (inputs,), {})
    return node


def linear_product(layer: StoredLayer, inputs: Tensor) -> Tensor:
    """``inputs``, shape ``(*, in_features)``, through a linear layer in either storage."""
    if layer.storage == "live":
        return sparse_linear(inputs, layer.weight, layer.bias, layer.index)
    return F.linear(inputs, layer.product_weight(), layer.bias)


def linear_branch(layer: StoredLayer, pattern: SparsePattern) -> StandardSparseLayer:
    """A plain layer of the sizes of ``layer`` on ``pattern``: zero weights, no bias."""
    branch = StandardSparseLayer(
        layer.in_channels,
        layer.out_channels,
        pattern=pattern,
        bias=False,
        generator=torch.Generator(),
    )
    branch.gain = layer.gain
    nn.init.zeros_(branch.weight)
    return branch.to(layer.weight)


def linear_repr(layer: StoredLayer) -> str:
    """Sizes, density and bias of a linear layer, as `print` shows them."""
    return (
        f"in_features={layer.in_channels}, out_features={layer.out_channels}, "
        f"density={layer.density:.4g}, bias={layer.bias is not None}"
    )
