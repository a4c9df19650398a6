"""Which unit of which layer each entry of a tensor comes from.

A `Trail` goes with a tensor while a network runs. Its labels are tensors themselves: whatever moves
entries about (flattening, slices, permutations, concatenation) moves the labels in the same way, so
that one rule serves all such operations. Along axes on which all entries are of one unit (samples,
pixels, tokens) a label has size 1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import torch
from torch import Tensor

Source = tuple[str, int]
"""A layer and the axis of its output that is numbered; 0 for the units of a layer."""

NOTHING: Final = -1
"""The label of an entry that is no unit: padding, or another layer's."""

STATISTIC: Final = "a statistic over units"
"""The reason where units act through a mean, a norm or the like only."""


@dataclass(frozen=True, slots=True, eq=False)
class Trail:
    """Where the entries of a tensor come from.

    Args:
        labels: For each source, label tensors that broadcast to the tensor's shape, int64.
            Several, where an entry comes from several units of one layer.
        mixed: Layers that act on the tensor in ways which the labels do not show, with a reason.
        weights: Parameters and buffers that the tensor is computed from, where nothing else is.
    """

    labels: Mapping[Source, tuple[Tensor, ...]] = field(default_factory=dict)
    mixed: Mapping[str, str] = field(default_factory=dict)
    weights: tuple[str, ...] = ()

    @property
    def live(self) -> bool:
        """Whether the tensor depends on the network's inputs or units."""
        return bool(self.labels or self.mixed)

    @property
    def layers(self) -> tuple[str, ...]:
        """All layers that act on the tensor."""
        return tuple(dict.fromkeys([*(source for source, _ in self.labels), *self.mixed]))

    def blurred(self, reason: str) -> Trail:
        """The same layers, none of whose units can be told apart any more."""
        return Trail({}, {**dict.fromkeys(self.layers, reason), **self.mixed})


def joined(trails: Iterable[tuple[Trail, int]], dims: int) -> Trail:
    """The trail of a tensor each of whose entries comes from one entry of each operand.

    Args:
        trails: The operands' trails, with their numbers of axes; axes are aligned at the end.
        dims: The number of axes of the result.
    """
    labels: dict[Source, tuple[Tensor, ...]] = {}
    mixed: dict[str, str] = {}
    weights: dict[str, None] = {}
    for trail, own in trails:
        mixed.update(trail.mixed)
        weights.update(dict.fromkeys(trail.weights))
        for source, found in trail.labels.items():
            aligned = [label.reshape((1,) * (dims - own) + label.shape) for label in found]
            labels[source] = _distinct((*labels.get(source, ()), *aligned))
    live = bool(labels or mixed)
    return Trail(labels, mixed, () if live else tuple(weights))


def blurred(trails: Iterable[Trail], reason: str) -> Trail:
    """The trail of a tensor of which only the layers that act on it are known."""
    mixed: dict[str, str] = {}
    for trail in trails:
        mixed.update(trail.blurred(reason).mixed)
    return Trail({}, mixed)


def fits(trail: Trail, shape: Sequence[int]) -> bool:
    """Whether the labels broadcast to ``shape``."""
    return all(
        label.dim() == len(shape)
        and all(own in (1, size) for own, size in zip(label.shape, shape, strict=True))
        for labels in trail.labels.values()
        for label in labels
    )


def moved(
    trails: Sequence[Trail],
    shapes: Sequence[Sequence[int]],
    move: Callable[[Sequence[Tensor]], Tensor],
) -> Trail:
    """The trail of a tensor whose entries are entries of the operands.

    Args:
        trails: The operands' trails.
        shapes: The operands' shapes.
        move: Does with labels, in place of the operands, what the operation does.
    """
    labels: dict[Source, tuple[Tensor, ...]] = {}
    for source in dict.fromkeys(source for trail in trails for source in trail.labels):
        own = [trail.labels.get(source, ()) for trail in trails]
        made = []
        for index in range(max(map(len, own))):
            filled = [
                (found[index] if index < len(found) else torch.full((1,) * len(shape), NOTHING))
                for found, shape in zip(own, shapes, strict=True)
            ]
            whole = [label.expand(*shape) for label, shape in zip(filled, shapes, strict=True)]
            label = compressed(move(whole))
            if bool((label >= 0).any()):
                made.append(label)
        if made:
            labels[source] = _distinct(tuple(made))
    mixed = {layer: reason for trail in trails for layer, reason in trail.mixed.items()}
    weights = tuple(dict.fromkeys(name for trail in trails for name in trail.weights))
    return Trail(labels, mixed, () if labels or mixed else weights)


def collapsed(trail: Trail, dims: Sequence[int], reason: str) -> Trail:
    """The trail where entries along some axes are taken together, the axes kept with size 1.

    A source whose entries along them are of several units is mixed from here on.
    """
    labels: dict[Source, tuple[Tensor, ...]] = {}
    lost: dict[str, str] = {}
    for source, found in trail.labels.items():
        kept = [one for label in found if (one := single(label, dims)) is not None]
        if kept:
            labels[source] = _distinct(tuple(kept))
        if len(kept) < len(found):
            lost[source[0]] = reason
    numbered = {source for source, _ in labels}
    # An axis of the inputs may be lost while another one is not.
    lost = {layer: why for layer, why in lost.items() if layer not in numbered}
    return Trail(labels, {**trail.mixed, **lost}, trail.weights)


def single(label: Tensor, dims: Sequence[int]) -> Tensor | None:
    """``label`` with size 1 along ``dims``; None where different units meet along them."""
    axes = [dim for dim in dims if label.shape[dim] > 1]
    if not axes:
        return label
    highest = label.amax(axes, keepdim=True)
    return highest if bool(((label == highest) | (label == NOTHING)).all()) else None


def compressed(label: Tensor) -> Tensor:
    """``label`` with size 1 along every axis on which it does not vary."""
    for dim in range(label.dim()):
        if label.shape[dim] > 1:
            first = label.narrow(dim, 0, 1)
            if label.stride(dim) == 0 or bool((label == first).all()):
                label = first
    return label


def numbered(layer: str, shape: Sequence[int], dim: int, axis: int = 0) -> Trail:
    """The trail of a tensor along whose axis ``dim`` the units of ``layer`` lie."""
    sizes = [1] * len(shape)
    sizes[dim] = shape[dim]
    return Trail({(layer, axis): (torch.arange(shape[dim]).reshape(sizes),)})


def of_input(layer: str, shape: Sequence[int]) -> Trail:
    """The trail of an input: all its axes but the first, the samples, are numbered."""
    first = 1 if len(shape) > 1 else 0
    parts = [numbered(layer, shape, dim, dim).labels for dim in range(first, len(shape))]
    return Trail({source: labels for part in parts for source, labels in part.items()})


def tensors_in(value: Any) -> list[Tensor]:
    """The tensors in nested tuples, lists and mappings."""
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, Mapping):
        return [tensor for part in value.values() for tensor in tensors_in(part)]
    if isinstance(value, tuple | list):
        return [tensor for part in value for tensor in tensors_in(part)]
    return []


def _distinct(labels: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    kept: list[Tensor] = []
    for label in labels:
        if not any(label is other or torch.equal(label, other) for other in kept):
            kept.append(label)
    return tuple(kept)
