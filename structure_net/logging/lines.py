"""One line of a spool: how a record is written, and how it is read and checked.

    {"seq":7,"time":"2026-01-01T00:00:00.000000+00:00","kind":"epoch","version":2,"data":{...},"crc":"9ae0daaf"}

The keys stand in this order and without spaces; ``crc`` is the CRC-32 of every byte of the line
before ``,"crc"``, as eight hexadecimal digits.
"""

from __future__ import annotations

import json
import re
import time
import zlib
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from structure_net.logging.records import RecordModel

_HEAD: Final = re.compile(
    rb'\{"seq":([1-9]\d{0,17}),"time":"([^"\\]{1,40})","kind":"([a-z_]{1,40})",'
    rb'"version":([1-9]\d{0,8}),"data":(?=\{)'
)
_TAIL: Final = re.compile(rb',"crc":"([0-9a-f]{8})"\}$')
_TAIL_LENGTH: Final = len(',"crc":"00000000"}')


@dataclass(frozen=True, eq=False)
class Stored:
    """A record as it lies in a spool; what it says is read when it is asked for.

    Args:
        seq: Its number, from 1, without gaps.
        time: When it was written: ISO 8601, UTC, microseconds.
        kind: The record's kind.
        version: The version of its form.
        text: Its other fields as JSON.
    """

    seq: int
    time: str
    kind: str
    version: int
    text: str

    @cached_property
    def data(self) -> dict[str, Any]:
        """The fields as they were written, in the version that they were written in."""
        found: dict[str, Any] = json.loads(self.text)
        return found

    @cached_property
    def record(self) -> RecordModel:
        """The record in its newest form, checked.

        Raises:
            RecordError: Its kind or version is not known to this program, or a field is wrong.
        """
        from structure_net.logging.records import record_of

        return record_of(self.kind, self.version, self.text)


def now_text() -> str:
    """The time now: ISO 8601, UTC, microseconds."""
    second, rest = divmod(time.time_ns(), 1_000_000_000)
    return f"{_second_text(second)}.{rest // 1000:06d}+00:00"


@lru_cache(maxsize=1)
def _second_text(second: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))


def stored_from(seq: int, time: str, record: RecordModel) -> Stored:
    """What is about to be written of ``record``."""
    stored = object.__new__(Stored)  # a frozen dataclass sets its fields one by one, slowly
    fields = stored.__dict__
    text = record.unicode_json()
    if text is None:  # what was written is another text, and is read back when it is asked for
        text = record.data_json()
    else:
        fields["record"] = record
    fields.update(seq=seq, time=time, kind=record.kind, version=record.version, text=text)
    return stored


def line_of(stored: Stored) -> bytes:
    """The line, with its end."""
    head = (
        f'{{"seq":{stored.seq},"time":"{stored.time}","kind":"{stored.kind}",'
        f'"version":{stored.version},"data":{stored.text}'
    ).encode()
    return b'%b,"crc":"%08x"}\n' % (head, zlib.crc32(head))


def parse_line(line: bytes) -> Stored | str:
    """The record in a line without its end, or what is wrong with it in words.

    Only the checksum and the form of the line are checked, not the record's fields.
    """
    tail = _TAIL.search(line, max(0, len(line) - _TAIL_LENGTH))
    head = _HEAD.match(line)
    if head is None or tail is None:
        return "it is not a record with its checksum, from start to end"
    found = b"%08x" % zlib.crc32(line[: tail.start()])
    if found != tail[1]:
        return f"its checksum is {found.decode()} and should be {tail[1].decode()}"
    seq, time, kind, version = head.groups()
    text = line[head.end() : tail.start()].decode("utf-8", "replace")
    return Stored(int(seq), time.decode("ascii", "replace"), kind.decode(), int(version), text)


def seq_of(line: bytes) -> int | None:
    """The number at the head of a line, unchecked; None where there is none."""
    head = _HEAD.match(line)
    return int(head[1]) if head else None
