"""What analyzers found, as JSON data."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from structure_net.evolution.metrics.layered_graph import LayeredGraph
from structure_net.evolution.metrics.validity import Unavailable

MOST_ENTRIES: Final = 4096
"""A tensor of more entries is summed up."""


def as_numbers(value: Any) -> Any:
    """A value of an analysis as JSON data.

    Results with fields become objects, with the single numbers that they compute beside them.
    What is not available becomes ``{"unavailable": reason}``. Numbers that are not finite become
    the strings ``"NaN"``, ``"Infinity"`` and ``"-Infinity"``. A tensor of more than `MOST_ENTRIES`
    entries, and a graph, are summed up. Keys that are pairs are joined by a comma.

    Raises:
        TypeError: The value is no data.
    """
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return _finite(value)
    if isinstance(value, Unavailable):
        return {"unavailable": value.reason}
    if isinstance(value, Tensor | np.ndarray | np.generic):
        return _entries(torch.as_tensor(value).detach().cpu())
    if isinstance(value, Enum):
        return as_numbers(value.value)
    return _composed(value)


def _composed(value: Any) -> Any:
    if isinstance(value, LayeredGraph):
        return {"layers": list(value.layers), "sizes": list(value.sizes), "edges": value.edges}
    if isinstance(value, Mapping):
        return {_key(key): as_numbers(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [as_numbers(item) for item in value]
    if is_dataclass(value) and not isinstance(value, type):
        own = {one.name: as_numbers(getattr(value, one.name)) for one in fields(value)}
        return own | _computed(value)
    raise TypeError(f"An analysis holds data; got {type(value).__name__}.")


def _computed(value: Any) -> dict[str, Any]:
    """The properties of a result that are single numbers."""
    names = [name for name, one in vars(type(value)).items() if isinstance(one, property)]
    read = {name: getattr(value, name) for name in names}
    return {
        name: as_numbers(one)
        for name, one in read.items()
        if isinstance(one, int | float | Unavailable)
    }


def _key(key: Any) -> str:
    return ",".join(map(str, key)) if isinstance(key, tuple) else str(key)


def _entries(values: Tensor) -> Any:
    if values.numel() <= MOST_ENTRIES:
        return _nested(values.tolist())
    exact = values.double()
    return {
        "shape": list(values.shape),
        "min": _finite(float(exact.min())),
        "mean": _finite(float(exact.mean())),
        "max": _finite(float(exact.max())),
    }


def _nested(value: Any) -> Any:
    if isinstance(value, list):
        return [_nested(item) for item in value]
    return _finite(value) if isinstance(value, float) else value


def _finite(value: float) -> float | str:
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
