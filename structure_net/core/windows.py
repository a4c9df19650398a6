"""What each weight of a layer sees: inputs and output gradients, cut into the windows of a kernel.

A linear layer is a convolution whose kernel is one position; so one form serves both. Layers that
are read here: `torch.nn.Linear`, `torch.nn.Conv1d`, `torch.nn.Conv2d` and the sparse layers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional as F

from structure_net.core.sparsity import SparseLayer

Pair = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Geometry:
    """The window of a layer; heights are 1 where the layer has none.

    Args:
        kernel: Height and width of the kernel.
        stride: The step between positions.
        dilation: The step within the kernel.
        padding: What is added left, right, above and below.
        mode: How, by the names of `torch.nn.functional.pad`.
        groups: Groups of channels that do not see each other.
    """

    kernel: Pair = (1, 1)
    stride: Pair = (1, 1)
    dilation: Pair = (1, 1)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    mode: str = "constant"
    groups: int = 1

    @property
    def size(self) -> int:
        """The number of positions in the kernel."""
        return self.kernel[0] * self.kernel[1]


def geometry_of(module: nn.Module) -> Geometry | None:
    """The window of ``module``; None for what is no linear layer and no convolution of 1 or 2
    dimensions.
    """
    if isinstance(module, nn.Linear):
        return Geometry()
    if isinstance(module, SparseLayer):
        return _sparse(module)
    if not isinstance(module, nn.Conv1d | nn.Conv2d):
        return None
    around = list(module._reversed_padding_repeated_twice)
    left, right, above, below = [*around, 0, 0][:4]
    return Geometry(
        _pair(module.kernel_size),
        _pair(module.stride),
        _pair(module.dilation),
        (left, right, above, below),
        "constant" if module.padding_mode == "zeros" else module.padding_mode,
        module.groups,
    )


def _sparse(module: SparseLayer) -> Geometry | None:
    if module.channel_dim == -1:
        return Geometry()
    kernel = getattr(module, "kernel_size", None)
    if module.channel_dim != 1 or kernel is None:
        return None
    high, wide = _pair(getattr(module, "padding", (0, 0)))
    stride, dilation = getattr(module, "stride", (1, 1)), getattr(module, "dilation", (1, 1))
    return Geometry(_pair(kernel), _pair(stride), _pair(dilation), (wide, wide, high, high))


def _pair(value: tuple[int, ...]) -> Pair:
    return (1, value[0]) if len(value) == 1 else (value[0], value[1])


def as_image(module: nn.Module, values: Tensor) -> Tensor:
    """Inputs, outputs or their gradients as images.

    Args:
        module: A layer that has a `geometry_of`.
        values: Shape ``(N, ..., C)`` of a linear layer, ``(N, C, ...)`` of a convolution.

    Returns:
        Shape ``(N, C, H, W)``; a view where there can be one.
    """
    if isinstance(module, nn.Conv1d):
        return (values if values.dim() == 3 else values.unsqueeze(0)).unsqueeze(-2)
    if isinstance(module, nn.Conv2d) or getattr(module, "channel_dim", -1) == 1:
        return values if values.dim() == 4 else values.unsqueeze(0)
    rows = values if values.dim() > 1 else values.unsqueeze(0)
    return rows.reshape(rows.shape[0], -1, rows.shape[-1]).transpose(1, 2).unsqueeze(-2)


def windows(geometry: Geometry, image: Tensor) -> Tensor:
    """What the kernel sees at each position, the channels outermost, as a weight's columns are.

    Args:
        geometry: The window.
        image: Shape ``(N, C, H, W)``.

    Returns:
        Shape ``(N, C * size, H', W')``.
    """
    if geometry == Geometry(groups=geometry.groups):
        return image
    padded = _padded(geometry, image)
    unfolded = F.unfold(padded, geometry.kernel, dilation=geometry.dilation, stride=geometry.stride)
    high, wide = _positions(geometry, padded)
    return unfolded.view(image.shape[0], -1, high, wide)


def offsets(geometry: Geometry, image: Tensor) -> Iterator[Tensor]:
    """For each position within the kernel, row by row, what stands there.

    Args:
        geometry: The window.
        image: Shape ``(N, C, H, W)``.

    Returns:
        ``size`` views of shape ``(N, C, H', W')``.
    """
    padded = _padded(geometry, image)
    high, wide = _positions(geometry, padded)
    for row in range(geometry.kernel[0]):
        top = row * geometry.dilation[0]
        for column in range(geometry.kernel[1]):
            left = column * geometry.dilation[1]
            yield padded[
                :,
                :,
                top : top + geometry.stride[0] * (high - 1) + 1 : geometry.stride[0],
                left : left + geometry.stride[1] * (wide - 1) + 1 : geometry.stride[1],
            ]


def _padded(geometry: Geometry, image: Tensor) -> Tensor:
    return F.pad(image, geometry.padding, geometry.mode) if any(geometry.padding) else image


def _positions(geometry: Geometry, padded: Tensor) -> Pair:
    high, wide = (
        (size - step * (kernel - 1) - 1) // stride + 1
        for size, kernel, step, stride in zip(
            padded.shape[-2:], geometry.kernel, geometry.dilation, geometry.stride, strict=True
        )
    )
    return high, wide
