"""What a training step of a sparse layer costs on this machine, in either storage.

The costs are measured at a few sizes when they are first asked for (`crossover_measuring`, one or
two seconds), for the number of threads that PyTorch uses, and kept in the folder ``crossover`` of
`files.cache_folder`. Every later process reads them there, so that the same seed takes the same
path.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import platform
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, Self

import torch

from structure_net.files import cache_folder, write_text

VERSION: Final = 2
"""Raised when the kernels or what is measured of them change, so that figures are taken anew."""

_LOCK: Final = threading.Lock()
_known: Final[dict[tuple[int, str], LayerCosts]] = {}
_listeners: Final[list[Callable[[bool], None]]] = []

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


def costs_here() -> LayerCosts:
    """The costs on this machine, with as many threads as PyTorch uses now.

    Read from the cache, or measured and kept there. Where the cache cannot be written, a process
    measures once for itself.
    """
    key = torch.get_num_threads(), str(cache_folder())
    found = _known.get(key)
    if found is None:
        with _LOCK:
            found = _known.get(key) or _read_or_measure()
            _known[key] = found
    return found


def measure_again() -> LayerCosts:
    """Measures the costs on this machine anew, and keeps them in place of what was known."""
    with _LOCK:
        costs = _measured()
        _write(costs)
        _known[torch.get_num_threads(), str(cache_folder())] = costs
    return costs


@contextmanager
def watching_measurement(listener: Callable[[bool], None]) -> Iterator[None]:
    """Tells ``listener`` of every measurement inside, in any thread: True when it begins, False
    when it ends.
    """
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)


def _read_or_measure() -> LayerCosts:
    kept = _read()
    if kept is not None:
        return kept
    costs = _measured()
    # Another process may have measured meanwhile: what was written first holds for all.
    if (written := _read()) is not None:
        return written
    _write(costs)
    return costs


def _measured() -> LayerCosts:
    from structure_net.core.crossover_measuring import measured_costs

    for listener in tuple(_listeners):
        listener(True)
    try:
        return measured_costs()
    finally:
        for listener in tuple(_listeners):
            listener(False)


def _read() -> LayerCosts | None:
    """What the cache holds; None where that is nothing or damaged."""
    try:
        document = json.loads(_path().read_text(encoding="utf-8"))
        return LayerCosts.from_document(document["costs"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _write(costs: LayerCosts) -> None:
    document = {"measured_on": _machine(), "costs": costs.as_document()}
    path = _path()
    # A cache that cannot be written costs time, and nothing else.
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, json.dumps(document, indent=1) + "\n")


def _path() -> Path:
    text = json.dumps(_machine(), sort_keys=True)
    name = hashlib.sha256(text.encode()).hexdigest()[:16]
    return cache_folder() / "crossover" / f"{name}.json"


def _machine() -> dict[str, Any]:
    """What the costs depend on."""
    return {
        "version": VERSION,
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }


def _processor() -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return f"{platform.machine()} {platform.processor()}"


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
