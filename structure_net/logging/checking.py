"""Everything that is wrong with a spool or with a record alone, found in one pass."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from structure_net.errors import RecordError, SpoolError
from structure_net.logging.blobs import check_blob
from structure_net.logging.lines import Stored, parse_line
from structure_net.logging.reading import gap_before

_ENVELOPE: Final = {"kind": str, "version": int, "data": dict}
_OPTIONAL: Final = {"seq": int, "time": str, "crc": str}


@dataclass(frozen=True, slots=True)
class Problem:
    """Something wrong with a file.

    Args:
        path: The file.
        place: Where in it: a line, a field; empty for the whole.
        what: What is wrong, and the rule.
    """

    path: Path
    place: str
    what: str

    def __str__(self) -> str:
        return ": ".join(part for part in (str(self.path), self.place, self.what) if part)


def check_spool(path: Path) -> Iterator[Problem]:
    """What is wrong with a spool: damaged, missing and unfinished lines, wrong fields, lost blobs.

    Args:
        path: The file ``records.jsonl``.

    Raises:
        OSError: It cannot be read.
    """
    last = bad = number = 0
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            place = f"line {number}"
            if not line.endswith(b"\n"):
                yield Problem(path, place, _unfinished(len(line)))
                return
            found = parse_line(line[:-1])
            if isinstance(found, str):
                bad += 1
                yield Problem(path, place, f"the record is damaged: {found}")
                continue
            gap = gap_before(last, found.seq, bad)
            if gap is not None:
                yield Problem(path, place, gap)
            last, bad = max(last, found.seq), 0
            yield from _wrong_fields(path, place, found)
    if not number:
        yield Problem(path, "", "it holds no record; a spool begins with one")


def _unfinished(size: int) -> str:
    return (
        f"the record is unfinished: {size} bytes without an end of line. Its writer is at work or "
        "was killed; going on with the run cuts it off"
    )


def _wrong_fields(path: Path, place: str, stored: Stored) -> Iterator[Problem]:
    for what in check_record(stored.kind, stored.version, stored.text):
        yield Problem(path, place, what)
    if stored.kind == "artifact":
        yield from _lost_blob(path, place, stored)


def _lost_blob(path: Path, place: str, stored: Stored) -> Iterator[Problem]:
    digest = stored.data.get("digest")
    try:
        if isinstance(digest, str):
            check_blob(path.parent, digest)
    except SpoolError as error:
        yield Problem(path, place, f"its file is lost: {str(error).rstrip('.')}")


def check_record(kind: str, version: int, data: Mapping[str, Any] | str) -> list[str]:
    """What is wrong with a record's fields: one line each, nothing for a good one."""
    from structure_net.logging.records import problems_of

    try:
        found = problems_of(kind, version, data)
    except RecordError as error:
        return [str(error).rstrip(".")]
    return [f"data.{one}" for one in found] if isinstance(found, list) else []


def check_alone(path: Path, document: Mapping[str, Any]) -> Iterator[Problem]:
    """What is wrong with a file that holds one record.

    Args:
        path: The file.
        document: Its content.
    """
    for name, kind in _ENVELOPE.items():
        if name not in document:
            yield Problem(path, "", f"{name}: is missing")
        elif type(document[name]) is not kind:
            yield Problem(path, "", _wrong_type(name, kind, document[name]))
    for name, value in document.items():
        if name not in _ENVELOPE and name not in _OPTIONAL:
            yield Problem(path, "", f"{name}: is no field of a record")
        elif name in _OPTIONAL and type(value) is not _OPTIONAL[name]:
            yield Problem(path, "", _wrong_type(name, _OPTIONAL[name], value))
    if all(type(document.get(name)) is kind for name, kind in _ENVELOPE.items()):
        data = json.dumps(document["data"])
        for what in check_record(document["kind"], document["version"], data):
            yield Problem(path, "", what)


def _wrong_type(name: str, kind: type, value: object) -> str:
    words = {str: "text", int: "a whole number", dict: "an object"}
    return f"{name}: must be {words[kind]}; got {value!r:.60}"
