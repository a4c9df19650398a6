"""The entries of a journal, as values: an edit that was carried out, or another event.

Entries of an equal content are equal: the times at which they were written do not count.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import chain
from numbers import Integral, Real
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from structure_net.core.pairs import PairTable, PairTuple
from structure_net.surgery.edits import ConnectionEdit, Edit

START: Final = "start"
"""The kind of the event that holds the start architecture (`lineage.architecture`)."""

STANDS_FOR: Final = "changes"
"""In the detail of a start: how many changes of an earlier journal it stands for (`trimmed`)."""

LOSS: Final = "loss"
"""In the detail of a start: the name of the loss that the network evolves by, where it is noted."""

OPAQUE: Final = "opaque"
"""The kind of the event that notes a change made by hand, which cannot be replayed."""

REJECTED: Final = "rejected"
"""The kind of the event that notes an edit which was tried and rolled back."""

EPOCH: Final = "epoch"
"""The kind of the event that notes a finished epoch."""


@dataclass(frozen=True, slots=True)
class WidthChange:
    """The output channels of one layer before and after an edit; None where it does not exist."""

    layer: str
    before: int | None
    after: int | None


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


@dataclass(frozen=True, slots=True)
class EditEntry:
    """An edit that was carried out and kept.

    Connections, from 64 on, are held packed (`PairTable.pack`): the same pairs in about a byte
    each, unpacked whenever they are read.

    Args:
        edit: What was done.
        iteration: The iteration in which it was done, from 0.
        component: Who asked for it.
        reason: Why, in words.
        seed: The seed it was carried out with; replay uses the same one.
        changes: The widths that it changed.
        time: When it was written: ISO 8601, UTC. Not compared.

    Raises:
        TypeError: A field of ``edit`` is no JSON.
        ValueError: A number in ``edit`` is not finite.
    """

    edit: Edit
    iteration: int = 0
    component: str = ""
    reason: str = ""
    seed: int = 0
    changes: tuple[WidthChange, ...] = ()
    time: str = field(default_factory=_now, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "edit", _packed_edit(_plain_edit(self.edit)))
        object.__setattr__(self, "changes", tuple(self.changes))


@dataclass(frozen=True, slots=True)
class EventEntry:
    """Something that happened and is no edit.

    Args:
        kind: What: `START`, `EPOCH`, `REJECTED`, `OPAQUE`, or a word of the caller's own.
        iteration: The iteration in which it happened, from 0.
        component: Who reported it.
        detail: JSON data. Tuples become lists, numbers of other libraries become Python's own, and
            numbers that are not finite become the strings ``"NaN"``, ``"Infinity"`` and
            ``"-Infinity"``, which JSON has no numbers for.
        time: When it was written: ISO 8601, UTC. Not compared.

    Raises:
        TypeError: ``detail`` holds something that is no JSON.
    """

    kind: str
    iteration: int = 0
    component: str = ""
    detail: Mapping[str, Any] = field(default_factory=dict)
    time: str = field(default_factory=_now, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "detail", plain(self.detail, "detail"))


Entry = EditEntry | EventEntry

_SCALARS: Final = frozenset({int, str, bool, type(None)})
LEAST_PACKED: Final = 64
"""From how many pairs on they are packed; a journal shows fewer as they are."""

_TABLES: Final = frozenset({PairTuple, PairTable})


def plain(value: object, place: str = "value") -> Any:
    """``value`` as JSON data: see `EventEntry` for what becomes of which.

    Args:
        value: Dicts with string keys, lists, tuples, strings, numbers, booleans and None, nested.
        place: What to call it in errors.

    Raises:
        TypeError: Something in it is no JSON; the message names the place.
    """
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, Mapping):
        return {_key(key, place): plain(item, f"{place}.{key}") for key, item in value.items()}
    if isinstance(value, PairTuple | PairTable):
        return value.table.tolist()
    if isinstance(value, list | tuple):
        return [plain(item, f"{place}[{number}]") for number, item in enumerate(value)]
    return _number(value, place)


def _key(key: object, place: str) -> str:
    if not isinstance(key, str):
        raise TypeError(f"{place} must have strings as keys; got {key!r}.")
    return key


def _number(value: object, place: str) -> bool | int | float | str:
    # `item` turns the scalars of numpy and torch into Python's.
    if hasattr(value, "item") and getattr(value, "ndim", None) == 0:
        value = value.item()
    if isinstance(value, bool):
        return value
    if isinstance(value, Integral):
        return int(value)
    if not isinstance(value, Real):
        raise TypeError(
            f"{place} must be JSON data (dict, list, str, number, bool, None); got {value!r:.80}."
        )
    number = float(value)
    if math.isfinite(number):
        return number
    return "NaN" if math.isnan(number) else "Infinity" if number > 0 else "-Infinity"


def _plain_edit(edit: Edit) -> Edit:
    """``edit`` with Python's own numbers and tuples, equal to what is read back from JSON."""
    values = {item.name: getattr(edit, item.name) for item in dataclasses.fields(edit)}
    if all(_is_plain(value) for value in values.values()):
        return edit
    for name, value in values.items():
        if isinstance(value, Real) and not math.isfinite(value):
            raise ValueError(f"'{name}' of an edit must be finite; got {value} in {edit}.")
    return type(edit)(**{name: _tuples(plain(value, name)) for name, value in values.items()})


def _packed_edit(edit: Edit) -> Edit:
    """``edit`` with its long lists of connections packed."""
    if not isinstance(edit, ConnectionEdit):
        return edit
    changed: dict[str, Any] = {}
    for item in dataclasses.fields(edit):
        pairs = getattr(edit, item.name)
        if isinstance(pairs, str | float) or len(pairs) < LEAST_PACKED:
            continue
        if not isinstance(pairs, PairTable):
            table = pairs.table if isinstance(pairs, PairTuple) else _table(pairs)
            if table is None:
                continue
            changed[item.name] = pairs = PairTable.of(table)
        pairs.pack()
    return dataclasses.replace(edit, **changed) if changed else edit


def _table(pairs: tuple[tuple[int, int], ...]) -> NDArray[np.int64] | None:
    """Pairs as a table; None where a number is beyond int64."""
    try:
        return np.array(pairs, np.int64)
    except OverflowError:
        return None


def _is_plain(value: Any) -> bool:
    """Whether ``value`` is a scalar of Python's own, or a tuple or tuple of tuples of such."""
    # An edit may name a hundred thousand connections, so that this runs at the speed of C.
    if type(value) is float:
        return math.isfinite(value)
    if type(value) is not tuple:
        return type(value) in _SCALARS or type(value) in _TABLES
    kinds = set(map(type, value))
    if kinds == {tuple}:
        kinds = set(map(type, chain.from_iterable(value)))
    return kinds <= _SCALARS


def _tuples(value: Any) -> Any:
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value
