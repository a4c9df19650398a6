"""Which numbers of a record become a row of which table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

from structure_net.logging.series import layout

if TYPE_CHECKING:
    from structure_net.logging.records import RecordModel

TABLES: Final = ("epoch", "iteration", "analysis", "trial", "profile", "resumed")
"""The kinds of records that have a table of their name."""

RESUMED: Final = "resumed"
"""The table whose rows say which others are superseded: those after ``after``, up to themselves."""

_TOO_LARGE: Final = 2**1024 - 2**970
"""The whole number from which on none is a float; the spool alone holds those."""

_UNWRAPPED: Final = {
    "epoch": "metrics",
    "iteration": "metrics",
    "trial": "metrics",
    "analysis": "values",
}
"""The field whose entries are columns under their own names."""

_LEFT_OUT: Final = frozenset({"kind", "version"})


def row_of(record: RecordModel) -> tuple[str, dict[str, float]] | None:
    """The table of a record and its numbers by column; None if its kind has no table.

    A column has the name of its field; a number inside a field is called ``field.name``. Metrics
    stand under their own names, except where a field has that name already. What an analysis found
    becomes a column where it is a single number, and nothing where it is beyond all floats. A name
    that a file cannot hold is replaced; see `column_name`. A profile has the columns
    ``SECTION.seconds``, ``SECTION.calls``, ... for each section. The record's own fields come
    first, so that they have columns however many metrics there are.
    """
    kind = record.kind
    if kind not in TABLES:
        return None
    fields = type(record).model_fields
    found: dict[str, float] = {}
    unwrapped = _UNWRAPPED.get(kind, "")
    for name in sorted(fields, key=unwrapped.__eq__):
        if name not in _LEFT_OUT:
            value = getattr(record, name)
            for column, number in _numbers(name, value):
                bare = column.partition(".")[2] if name == unwrapped else column
                taken = bare in fields or bare == "seq"
                found[column_name(column if taken else bare)] = number
    return kind, found


@lru_cache(maxsize=4096)
def column_name(name: str) -> str:
    """``name`` where a file of time series can hold it, else what stands for it there.

    A name that is empty, longer than a column's may be or with a zero byte in it is replaced by its
    beginning and a hash of the whole, so that names that differ stay different.
    """
    text = name.encode("utf-8", "backslashreplace")  # as the spool writes what is no Unicode
    if 0 < len(text) <= layout.NAME_BYTES and b"\0" not in text:
        return text.decode()
    start = text[: layout.NAME_BYTES - 9].decode("utf-8", "ignore").replace("\0", "\ufffd")
    start = start.encode()[: layout.NAME_BYTES - 9].decode("utf-8", "ignore")
    return f"{start}~{sha256(text).hexdigest()[:8]}"


def _numbers(name: str, value: Any) -> Iterator[tuple[str, float]]:
    if _is_number(value):
        yield name, float(value)
    elif isinstance(value, Mapping):
        for key, item in value.items():
            if _is_number(item):
                yield f"{name}.{key}", float(item)
    elif name == "sections":
        for section in value:
            yield from _parts(section.name, section)
    elif hasattr(type(value), "model_fields"):
        yield from _parts(name, value)


def _parts(name: str, value: Any) -> Iterator[tuple[str, float]]:
    for part in type(value).model_fields:
        item = getattr(value, part)
        if _is_number(item):
            yield f"{name}.{part}", float(item)


def _is_number(value: Any) -> bool:
    if isinstance(value, int) and not isinstance(value, bool):
        return abs(value) < _TOO_LARGE
    return isinstance(value, float)
