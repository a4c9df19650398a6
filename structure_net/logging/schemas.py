"""The JSON Schema of each kind of record, for programs that are not ours.

A schema describes a record as it stands in a line of a spool, or alone in a file:
``{"kind": "epoch", "version": 2, "data": {...}}``. The number, the time and the checksum that a
spool adds may be there. ``schemas/record.KIND.vVERSION.schema.json`` is made from here; the schemas
of earlier versions stay there for good.
"""

from __future__ import annotations

from typing import Any, Final

from structure_net.logging.records import KINDS, newest_version

_LINE: Final[dict[str, Any]] = {
    "seq": {
        "description": "The number of the record in its spool, from 1, without gaps.",
        "minimum": 1,
        "type": "integer",
    },
    "time": {
        "description": "When it was written: ISO 8601, UTC.",
        "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?\+00:00$",
        "type": "string",
    },
    "crc": {
        "description": "The CRC-32 of the bytes of the line before ',\"crc\"', in hexadecimal.",
        "pattern": "^[0-9a-f]{8}$",
        "type": "string",
    },
}


def record_schema(kind: str) -> dict[str, Any]:
    """The JSON Schema of the newest version of a kind of record.

    Raises:
        RecordError: There is no such kind.
    """
    version = newest_version(kind)
    data = KINDS[kind].model_json_schema()
    definitions = data.pop("$defs", {})
    for name in ("kind", "version"):
        del data["properties"][name]
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"A record of kind {kind!r}, version {version}",
        "type": "object",
        "properties": {
            **_LINE,
            "kind": {"const": kind},
            "version": {"const": version},
            "data": data,
        },
        "required": ["kind", "version", "data"],
        "additionalProperties": False,
    }
    return {**schema, "$defs": definitions} if definitions else schema


def schema_names() -> tuple[str, ...]:
    """The file names of the schemas of the newest versions."""
    return tuple(f"record.{kind}.v{newest_version(kind)}.schema.json" for kind in KINDS)
