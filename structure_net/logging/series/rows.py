"""Which numbers of a record become a row of which table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from structure_net.logging.records import RecordModel

TABLES: Final = ("epoch", "iteration", "analysis", "trial", "profile", "resumed")
"""The kinds of records that have a table of their name."""

RESUMED: Final = "resumed"
"""The table whose rows say which others are superseded: those after ``after``, up to themselves."""

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
    becomes a column where it is a single number. A profile has the columns ``SECTION.seconds``,
    ``SECTION.calls``, ... for each section.
    """
    kind = record.kind
    if kind not in TABLES:
        return None
    fields = type(record).model_fields
    found: dict[str, float] = {}
    for name in fields:
        if name not in _LEFT_OUT:
            value = getattr(record, name)
            for column, number in _numbers(name, value):
                bare = column.partition(".")[2] if name == _UNWRAPPED.get(kind) else column
                found[column if bare in fields else bare] = number
    return kind, found


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
    return isinstance(value, int | float) and not isinstance(value, bool)
