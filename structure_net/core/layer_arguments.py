"""Checks of what sparse layers are made with: sizes, geometries, patterns and generators."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import nn

from structure_net.core.arguments import check_number, check_whole, shown
from structure_net.core.sparsity import SparsePattern

Sides = int | Sequence[int]
"""A number for height and width, or one of each."""


def pair_of(least: int, name: str, value: Sides) -> tuple[int, int]:
    """Height and width.

    Args:
        least: The smallest that is let through.
        name: That of the argument.
        value: One number for both, or two.

    Raises:
        TypeError: It is neither, or not whole.
        ValueError: It has another length, or one is too small.
    """
    if not isinstance(value, Sequence):
        check_whole(least, **{name: value})
        return int(value), int(value)
    if len(value) != 2:
        raise ValueError(f"{name} must be one number, or a height and a width; got {value!r}.")
    check_whole(least, **{f"Each of {name}": value[0]})
    check_whole(least, **{f"Each of {name}": value[1]})
    return int(value[0]), int(value[1])


def check_weight(name: str, parameter: nn.Parameter | None) -> None:
    """Checks a parameter that a sparse layer is given.

    Raises:
        TypeError: It is the weight, and None.
    """
    if name == "weight" and parameter is None:
        raise TypeError(
            "The weight of a sparse layer cannot be None: it tells how the layer is stored. For a "
            "layer that adds its bias alone, zero the weight (torch.nn.init.zeros_(layer.weight)) "
            "and freeze it (layer.weight.requires_grad_(False))."
        )


def padding_of(
    padding: Sides | Literal["same", "valid"],
    kernel: tuple[int, int],
    stride: tuple[int, int],
    dilation: tuple[int, int],
) -> tuple[int, int]:
    """The zeros above and below, and left and right, of a convolution.

    Args:
        padding: As `torch.nn.Conv2d` takes it: numbers, ``"valid"`` for none, or ``"same"`` for
            outputs as large as the inputs.
        kernel: Height and width.
        stride: Those of a step.
        dilation: Those of a step within the kernel.

    Raises:
        TypeError: It is of another kind.
        ValueError: It is negative or unknown; ``"same"`` goes with strides, or would be uneven.
    """
    if not isinstance(padding, str):
        return pair_of(0, "padding", padding)
    if padding == "valid":
        return 0, 0
    if padding != "same":
        raise ValueError(f"padding must be numbers, 'same' or 'valid'; got {padding!r}.")
    if stride != (1, 1):
        raise ValueError(f"padding='same' is that of a convolution of stride 1; got {stride}.")
    high, wide = (d * (k - 1) for d, k in zip(dilation, kernel, strict=True))
    if high % 2 or wide % 2:
        raise ValueError(
            f"padding='same' pads the sides of kernel_size={kernel} and dilation={dilation} "
            "unevenly; put a torch.nn.ZeroPad2d in front, and use padding=0."
        )
    return high // 2, wide // 2


def check_origin(density: object, pattern: object, generator: object) -> None:
    """Refuses what no connections can be drawn of.

    Raises:
        TypeError: ``density`` is no number, ``pattern`` no `SparsePattern`, or ``generator`` no
            `torch.Generator`; None is let by.
    """
    if density is not None:
        check_number(density=density)
    if pattern is not None and not isinstance(pattern, SparsePattern):
        raise TypeError(
            f"pattern must be a SparsePattern; got a {type(pattern).__name__}. "
            "SparsePattern.from_mask and SparsePattern.from_pairs make one."
        )
    if generator is not None and not isinstance(generator, torch.Generator):
        raise TypeError(
            f"generator must be a torch.Generator; got {shown(generator)}. "
            "torch.Generator().manual_seed(seed) makes one of a seed."
        )
