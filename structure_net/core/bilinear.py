"""What the derivatives of a bilinear map are, whatever it multiplies: matrices or convolutions.

Outputs, the gradient of inputs and the gradient of values are three maps of two tensors each, and
each of them is differentiated to the other two. A ``product`` computes one of them.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Literal

import torch
from torch import Tensor

Kind = Literal["outputs", "inputs", "values"]
"""What a map gives: outputs of inputs and values; the gradient of inputs, of that of outputs and
values; the gradient of values, of that of outputs and inputs."""

Product = Callable[[Kind, Tensor, Tensor], Tensor]


def gradients_of(
    product: Product, kind: Kind, factors: tuple[Tensor, Tensor], gradient: Tensor
) -> tuple[Callable[[], Tensor], Callable[[], Tensor]]:
    """What computes the gradient of the map ``kind`` by its first factor, and by its second.

    Args:
        product: Computes a map: ``outputs`` of inputs and values, ``inputs`` of the gradient of
            outputs and values, ``values`` of the gradient of outputs and inputs.
        kind: The map.
        factors: What it was computed of.
        gradient: Of its result.
    """
    first, second = factors
    by: tuple[tuple[Kind, Tensor, Tensor], tuple[Kind, Tensor, Tensor]]
    if kind == "outputs":
        by = ("inputs", gradient, second), ("values", gradient, first)
    elif kind == "inputs":
        by = ("outputs", gradient, second), ("values", first, gradient)
    else:
        by = ("outputs", second, gradient), ("inputs", first, gradient)
    return partial(product, *by[0]), partial(product, *by[1])


def tangent_of(
    product: Product,
    kind: Kind,
    factors: tuple[Tensor, Tensor],
    tangents: tuple[Tensor | None, Tensor | None],
) -> Tensor | None:
    """How the map ``kind`` changes along the ``tangents`` of its factors, if it does."""
    (first, second), (along_first, along_second) = factors, tangents
    parts = []
    if along_first is not None:
        parts.append(product(kind, along_first, second))
    if along_second is not None:
        parts.append(product(kind, first, along_second))
    return sum(parts[1:], parts[0]) if parts else None


def one_by_one(
    product: Product,
    kind: Kind,
    factors: tuple[Tensor, Tensor],
    dims: tuple[int | None, int | None],
    number: int,
) -> Tensor:
    """The map ``kind`` of each of ``number`` pairs, along a new first axis.

    ``dims`` says along which axis each factor holds the pairs' own; None: all share it.
    """

    def pick(place: int) -> tuple[Tensor, ...]:
        return tuple(
            factor if dim is None else factor.select(dim, place)
            for factor, dim in zip(factors, dims, strict=True)
        )

    pairs = (pick(place) for place in range(number))
    return torch.stack([product(kind, first, second) for first, second in pairs])
