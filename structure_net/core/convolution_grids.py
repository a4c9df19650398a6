"""How images lie while they are convolved: on grids where every weight is a shift.

A grid holds a few images, one line of numbers for each channel, in which the rows of all images
follow each other with their padding between them. What a weight of the kernel reads for all
outputs of a channel is then one run of such a line, from a place of its own on. With a stride the
image is dealt onto several planes, one for each remainder of a coordinate by the stride that the
kernel reads; each has a line of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import chain, product
from typing import Final

import torch
from torch import Tensor

from structure_net.core.windows import Geometry, Pair

TILE: Final = 128
"""Positions that are computed at once: a line is as long as several of them."""

_LINE: Final = 2048
"""The longest line that holds more than one image."""


@dataclass(frozen=True, slots=True)
class Axis:
    """One axis of a convolution.

    Args:
        outputs: The number of outputs.
        pitch: How far images (or rows) lie apart, so that padding separates them.
        planes: For each plane the first coordinate of the image that it holds, where that lies on
            the plane, and how many there are.
        taps: For each position of the kernel the plane that it reads, and how far it shifts it.
    """

    outputs: int
    pitch: int
    planes: tuple[tuple[int, int, int], ...]
    taps: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True, eq=False)
class Grid:
    """The grid for a batch of images, and how they get there and back.

    Args:
        outputs: Height and width of the output.
        images: How many images it holds at once.
        planes: The lines of each input channel.
        margin: Zeros in front of a line, for shifts to the left.
        length: How far lines lie apart.
        whole: Whether every number of the image lies on it.
        form: All of this for the compiled loops, int32: numbers in the order of `FORM`; for each
            position of the kernel, row by row, the plane that it reads and how far it shifts it;
            for each plane what it holds (source row, rows, source column, columns, and where they
            lie), and at last the same for the outputs.
    """

    outputs: Pair
    images: int
    planes: int
    margin: int
    length: int
    whole: bool
    form: Tensor


FORM: Final = (
    "images", "area", "pitch", "margin", "length", "planes", "size",
    "inputs", "height", "width", "outputs", "high", "wide", "down", "along",
)  # fmt: skip
"""The numbers at the head of a form: images at once, how far images, rows, and lines lie apart (and
the zeros in front of a line), planes, places in the kernel, channels and sizes of inputs and of
outputs, and the strides."""


def axis(size: int, kernel: int, stride: int, dilation: int, padding: Pair) -> Axis:
    """The axis of an image of ``size``, with ``padding`` in front and behind.

    Raises:
        ValueError: The kernel is larger than the padded image.
    """
    reach = dilation * (kernel - 1)
    outputs = (size + sum(padding) - reach - 1) // stride + 1
    if outputs < 1:
        raise ValueError(
            f"A kernel that spans {reach + 1} does not fit into an image of {size} with padding"
            f" {padding}; take a larger image, more padding or a smaller kernel."
        )
    shifts = [divmod(tap * dilation, stride) for tap in range(kernel)]
    phases = sorted({phase for _, phase in shifts})
    planes, pitch = [], outputs
    for phase in phases:
        extent = outputs + max(shift for shift, own in shifts if own == phase)
        first = max(0, -((phase - padding[0]) // stride))
        source = first * stride + phase - padding[0]
        count = max(0, min(-(-(size - source) // stride), extent - first))
        planes.append((source, first, count))
        pitch = max(pitch, first + count, extent - first)
    taps = tuple((phases.index(phase), shift) for shift, phase in shifts)
    return Axis(outputs, pitch, tuple(planes), taps)


@lru_cache(maxsize=256)
def grid(geometry: Geometry, channels: Pair, size: Pair, batch: int) -> Grid:
    """The grid for a batch of images of ``size``.

    Args:
        geometry: The window.
        channels: Of inputs and of outputs.
        size: Height and width of the images.
        batch: The number of images.

    Raises:
        ValueError: The kernel is larger than the padded image.
    """
    left, right, above, below = geometry.padding
    rows, columns = (
        axis(size[n], geometry.kernel[n], geometry.stride[n], geometry.dilation[n], around)
        for n, around in enumerate([(above, below), (left, right)])
    )
    pitch, area = columns.pitch, rows.pitch * columns.pitch
    taps = [
        (down[0] * len(columns.planes) + along[0], down[1] * pitch + along[1])
        for down, along in product(rows.taps, columns.taps)
    ]
    parts = [
        (down[0], down[2], along[0], along[2], down[1] * pitch + along[1])
        for down, along in product(rows.planes, columns.planes)
    ]
    outputs = rows.outputs, columns.outputs
    images = _images(area, batch)
    margin = _up(max(shift for _, shift in taps), 16)
    length = _up(images * area, TILE) + margin
    # Lines a multiple of 2 KiB apart would share few places of the cache.
    length += 16 * (length % 512 == 0)
    head = (images, area, pitch, margin, length, len(parts), len(taps),
            channels[0], *size, channels[1], *outputs, *geometry.stride)  # fmt: skip
    numbers = [*head, *chain(*taps), *chain(*parts), 0, outputs[0], 0, outputs[1], 0]
    held = sum(part[1] * part[3] for part in parts)
    return Grid(
        outputs,
        images,
        len(parts),
        margin,
        length,
        held == size[0] * size[1],
        torch.tensor(numbers, dtype=torch.int32),
    )


def _images(area: int, batch: int) -> int:
    """How many images a grid holds, so that little of its lines is wasted."""
    most = max(1, min(batch, _LINE // area))
    return min(range(1, most + 1), key=lambda n: (_up(n * area, TILE) / n, n))


def _up(number: int, multiple: int) -> int:
    return -(-number // multiple) * multiple
