"""What of an analysis is short and plain enough for a record."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from structure_net.evolution.metrics.validity import Unavailable

MOST_NUMBERS: Final = 256
"""A value of more numbers, or words, than this is left out of records."""


_SCALARS: Final = frozenset({type(None), bool, int, float, str})


class _TooLongError(Exception):
    """A value has more parts than a record takes, or is no data."""


def brief(value: Any, most: int = MOST_NUMBERS) -> Any:
    """A value as JSON data, or None where it is too long, no plain data, or None itself.

    Numbers, words and mappings and lists of them are plain; single numbers of numpy and torch are,
    too. What is not available becomes ``{"unavailable": reason}``. Nothing is computed.

    Args:
        value: Of an analysis.
        most: How many numbers and words it may hold.
    """
    left = [most]
    try:
        return _plain(value, left)
    except _TooLongError:
        return None


def _plain(value: Any, left: list[int]) -> Any:
    kind = type(value)
    if kind in _SCALARS:
        return _counted(value, 1, left)
    if kind is list and set(map(type, value)) <= _SCALARS:
        return _counted(value, len(value), left).copy()
    if isinstance(value, Mapping):
        return {_key(key): _plain(item, left) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item, left) for item in value]
    return _single(_counted(value, 1, left))


def _single(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Unavailable):
        return {"unavailable": value.reason}
    if getattr(value, "ndim", None) == 0 and hasattr(value, "item"):
        return value.item()
    raise _TooLongError


def _counted(value: Any, parts: int, left: list[int]) -> Any:
    left[0] -= parts
    if left[0] < 0:
        raise _TooLongError
    return value


def _key(key: Any) -> str:
    return ",".join(map(str, key)) if isinstance(key, tuple) else str(key)
