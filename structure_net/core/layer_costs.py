"""What a training step of a sparse layer costs in either storage, as a function of its size."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Self

Point = tuple[float, ...]


@dataclass(frozen=True, slots=True)
class LayerCosts:
    r"""Seconds of one training step of a layer: forward, backward and Adam, in batches of 128.

    Between the sizes that were measured, the logarithm of a cost is linear in that of the size.

    Args:
        masked_points: Of square layers in masked storage: the number of places, outputs times
            inputs, and the seconds; ascending, at least one.
        thin_points: Of layers with few outputs in masked storage, whose input comes from a layer in
            live storage: the number of units, outputs and inputs, and the seconds. A layer costs
            no less than these.
        live_points: The number of units, outputs and inputs, the seconds without connections in
            live storage, and the seconds that each connection adds; ascending, at least one.

    Raises:
        ValueError: There is no point, they do not ascend, or a number is not positive.
    """

    masked_points: tuple[Point, ...]
    thin_points: tuple[Point, ...]
    live_points: tuple[Point, ...]

    def __post_init__(self) -> None:
        for points, width in zip(
            (self.masked_points, self.thin_points, self.live_points), (2, 2, 3), strict=True
        ):
            sizes = [point[0] for point in points]
            ascending = sizes == sorted(set(sizes)) and bool(sizes)
            numbers = all(len(point) == width and min(point) > 0 for point in points)
            if not (ascending and numbers and all(math.isfinite(sum(p)) for p in points)):
                raise ValueError(
                    f"Points must ascend and hold {width} positive numbers each; got {points}."
                )

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Self:
        """What `as_document` gave.

        Raises:
            ValueError: It is no such document.
        """
        try:
            lists = [
                tuple(tuple(float(number) for number in point) for point in document[name])
                for name in ("masked", "thin", "live")
            ]
        except (KeyError, TypeError) as error:
            raise ValueError(f"The document does not hold the costs of layers: {error}.") from error
        return cls(*lists)

    def as_document(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "masked": self.masked_points,
            "thin": self.thin_points,
            "live": self.live_points,
        }

    def masked(self, shape: tuple[int, int]) -> float:
        """The seconds of a step in masked storage, whatever the density.

        Args:
            shape: The numbers of outputs and of inputs.
        """
        square = _grown(self.masked_points, shape[0] * shape[1])
        return max(square, _grown(self.thin_points, shape[0] + shape[1]))

    def live(self, shape: tuple[int, int], connections: int) -> float:
        """The seconds of a step in live storage.

        Args:
            shape: The numbers of outputs and of inputs.
            connections: How many there are.
        """
        units = shape[0] + shape[1]
        each = _between(self.live_points, units, 2)
        return _grown(self.live_points, units) + each * connections

    def crossover(self, shape: tuple[int, int]) -> float:
        """The density at which both cost the same, in [0, 1].

        Args:
            shape: The numbers of outputs and of inputs.
        """
        empty, full = self.live(shape, 0), self.live(shape, shape[0] * shape[1])
        return min(1.0, max(0.0, (self.masked(shape) - empty) / (full - empty)))


def _grown(points: tuple[Point, ...], size: float) -> float:
    """The seconds at ``size``: in proportion to it beyond the largest that was measured."""
    return _between(points, size, 1) * max(1.0, size / points[-1][0])


def _between(points: tuple[Point, ...], size: float, column: int) -> float:
    """The value of ``column`` at ``size``: that of the nearest end outside of the points."""
    if size <= points[0][0]:
        return points[0][column]
    for low, high in pairwise(points):
        if size <= high[0]:
            part = math.log(size / low[0]) / math.log(high[0] / low[0])
            return math.exp((1 - part) * math.log(low[column]) + part * math.log(high[column]))
    return points[-1][column]
