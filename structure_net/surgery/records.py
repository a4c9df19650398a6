"""What a journal looks like on disk: pydantic models, used where it enters or leaves the process.

The models of the edits are made from the edits' own dataclasses, so that an edit that is added to
`structure_net.surgery.edits` can be stored without a word here. Every model refuses fields that it
does not know.
"""

from __future__ import annotations

import binascii
import dataclasses
import json
import operator
from collections.abc import Iterable, Mapping
from functools import reduce
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, get_args, get_type_hints

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    JsonValue,
    NonNegativeInt,
    PositiveInt,
    Tag,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    create_model,
    field_validator,
)

from structure_net.core.arguments import shown
from structure_net.core.pair_packing import PackedPairs
from structure_net.core.pairs import PairTable
from structure_net.errors import JournalError
from structure_net.surgery.edits import ConnectionEdit, Edit
from structure_net.surgery.entries import EditEntry, Entry, EventEntry, WidthChange

JOURNAL_FORMAT: Final = "structure_net.journal"
JOURNAL_VERSION: Final = 2
"""The newest; written where pairs are packed, else 1, which older programs read too."""


class Record(BaseModel):
    """A stored value: types are exact, unknown fields are refused."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)


class PackedPairsRecord(Record):
    """Many pairs of whole numbers: ``packed`` is the base64 of `PackedPairs.data`."""

    count: NonNegativeInt
    width: PositiveInt
    packed: str

    @field_validator("packed")
    @classmethod
    def _holds_pairs(cls, packed: str, info: ValidationInfo) -> str:
        if len(info.data) == 2:
            _unpacked(packed=packed, **info.data).table()
        return packed


def _unpacked(*, count: int, width: int, packed: str) -> PackedPairs:
    return PackedPairs(count, width, binascii.a2b_base64(packed, strict_mode=True))


_Pairs = tuple[tuple[int, int], ...]
_LIST, _PACKED = "list of pairs", "packed pairs"
PairsRecord = Annotated[
    Annotated[_Pairs, Tag(_LIST)] | Annotated[PackedPairsRecord, Tag(_PACKED)],
    Discriminator(lambda data: _PACKED if isinstance(data, dict | PackedPairsRecord) else _LIST),
]


def _edit_record(kind: type[Any]) -> type[Record]:
    hints = get_type_hints(kind)
    fields: dict[str, Any] = {"type": (Literal[kind.__name__], ...)}
    for item in dataclasses.fields(kind):
        default = ... if item.default is dataclasses.MISSING else item.default
        hint = hints[item.name]
        pairs = issubclass(kind, ConnectionEdit) and hint == _Pairs
        fields[item.name] = (PairsRecord if pairs else hint, default)
    summary = (kind.__doc__ or "").partition("\n")[0]
    return create_model(kind.__name__, __base__=Record, __doc__=summary, **fields)


EDITS: Final = {kind.__name__: kind for kind in get_args(Edit)}
_EDIT_RECORDS: Final = {name: _edit_record(kind) for name, kind in EDITS.items()}
if TYPE_CHECKING:
    EditRecord = Record
else:
    EditRecord = Annotated[
        reduce(operator.or_, _EDIT_RECORDS.values()), Field(discriminator="type")
    ]


class WidthChangeRecord(Record):
    """The output channels of one layer before and after an edit; null where it does not exist."""

    layer: str
    before: NonNegativeInt | None
    after: NonNegativeInt | None


class EditEntryRecord(Record):
    """An edit that was carried out and kept."""

    type: Literal["edit"]
    edit: EditRecord
    iteration: NonNegativeInt
    component: str
    reason: str
    seed: NonNegativeInt
    changes: tuple[WidthChangeRecord, ...]
    time: str


class EventEntryRecord(Record):
    """Something that happened and is no edit."""

    type: Literal["event"]
    kind: str
    iteration: NonNegativeInt
    component: str
    detail: dict[str, JsonValue]
    time: str


EntryRecord = Annotated[EditEntryRecord | EventEntryRecord, Field(discriminator="type")]


class JournalRecord(Record):
    """The edits and events of one network, in order."""

    format: Literal["structure_net.journal"]
    version: Literal[1, 2]
    entries: tuple[EntryRecord, ...]


def edit_to_data(edit: Edit) -> dict[str, Any]:
    """``edit`` as JSON data, with its class under ``"type"``; `edit_from_data` reads it.

    Packed pairs stay packed: ``{"count": COUNT, "width": WIDTH, "packed": BASE64}``.
    """
    return {"type": type(edit).__name__, **_fields(edit)}


def edit_from_data(data: Mapping[str, Any]) -> Edit:
    """The edit that `edit_to_data` wrote, from what `json.loads` gives.

    Raises:
        JournalError: It holds no edit.
    """
    try:
        record: EditRecord = TypeAdapter[EditRecord](EditRecord).validate_json(json.dumps(data))
    except ValidationError as error:
        raise JournalError(f"The data of an edit: {first_problem(error)}") from error
    except (TypeError, ValueError) as error:
        raise JournalError(f"The data of an edit must be JSON data; got {shown(data)}.") from error
    return _edit(record)


def entry_to_data(entry: Entry) -> dict[str, Any]:
    """One entry of a journal as JSON data."""
    if isinstance(entry, EventEntry):
        return {"type": "event", **_fields(entry)}
    return {
        "type": "edit",
        **_fields(entry),
        "edit": edit_to_data(entry.edit),
        "changes": [_fields(change) for change in entry.changes],
    }


def _fields(value: Edit | Entry | WidthChange) -> dict[str, Any]:
    # Unlike `dataclasses.asdict` this copies nothing, which long lists of connections would feel.
    found = ((item.name, getattr(value, item.name)) for item in dataclasses.fields(value))
    return {name: _pairs(one) if isinstance(one, PairTable) else one for name, one in found}


def _pairs(pairs: PairTable) -> Any:
    packed = pairs.packed
    if packed is None:
        return tuple(pairs)
    text = binascii.b2a_base64(packed.data, newline=False).decode()
    return {"count": packed.count, "width": packed.width, "packed": text}


def journal_to_json(entries: Iterable[Entry]) -> str:
    """Entries as the JSON text of a journal, one entry a line."""
    entries = tuple(entries)
    lines = [json.dumps(entry_to_data(entry), allow_nan=False) for entry in entries]
    version = JOURNAL_VERSION if any(map(_holds_packed, entries)) else 1
    head = f'{{"format": "{JOURNAL_FORMAT}", "version": {version}, "entries": ['
    return head + ("\n" if lines else "") + ",\n".join(lines) + ("\n" if lines else "") + "]}\n"


def _holds_packed(entry: Entry) -> bool:
    if not isinstance(entry, EditEntry) or not isinstance(entry.edit, ConnectionEdit):
        return False
    values = (getattr(entry.edit, item.name) for item in dataclasses.fields(entry.edit))
    return any(isinstance(one, PairTable) and one.packed is not None for one in values)


def journal_from_json(text: str | bytes, *, source: str) -> list[Entry]:
    """The entries in the JSON text of a journal.

    Raises:
        JournalError: See `structure_net.surgery.journal.Journal.from_json`.
    """
    try:
        record = JournalRecord.model_validate_json(text)
    except ValidationError as error:
        _check_version(text, source)
        raise JournalError(f"{source}: {first_problem(error)}") from error
    return journal_from_record(record)


def journal_from_record(record: JournalRecord) -> list[Entry]:
    """The entries of a stored journal."""
    return [_entry(item) for item in record.entries]


def journal_schema() -> dict[str, Any]:
    """The JSON Schema of a stored journal."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **JournalRecord.model_json_schema(),
    }


def _check_version(text: str | bytes, source: str) -> None:
    try:
        data = json.loads(text)
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise JournalError(
            f"{source}: this is no JSON ({error}); the file is damaged or no journal."
        ) from error
    if not isinstance(data, dict) or data.get("format") != JOURNAL_FORMAT:
        raise JournalError(f"{source}: this is no journal; 'format' must be '{JOURNAL_FORMAT}'.")
    check_version(data.get("version"), JOURNAL_VERSION, source)


def check_version(version: object, newest: int, source: str) -> None:
    """Refuses what a newer program wrote.

    Raises:
        JournalError: ``version`` is no whole number from 1 to ``newest``.
    """
    if type(version) is int and version > newest:
        raise JournalError(
            f"{source}: it has version {version}; this program reads up to {newest}. "
            "Update structure-net."
        )
    if type(version) is not int or version < 1:
        raise JournalError(
            f"{source}: 'version' must be a whole number from 1 to {newest}; got {version!r}."
        )


def first_problem(error: ValidationError) -> str:
    """The first problem of a validation in one line: where, what, and how many others there are."""
    problems = error.errors(include_url=False)
    first = problems[0]
    others = len(problems) - 1
    more = f" ({others} more problem{'s' if others > 1 else ''})" if others else ""
    if first["type"] == "json_invalid":
        return f"this is no JSON ({first['msg']}); the file is damaged."
    place = _place(first["loc"])
    if first["type"] == "extra_forbidden":
        text = (
            "is not known; the file is damaged or of a newer version than this program reads "
            f"({JOURNAL_VERSION})"
        )
    elif first["type"] == "missing":
        text = "is missing"
    else:
        text = f"is wrong: {first['msg']}; got {shown(first['input'])}"
    return f"{place} {text}.{more}"


def _place(location: tuple[int | str, ...]) -> str:
    # pydantic names the chosen member of a tagged union between the fields, which says nothing to a
    # reader.
    tags = {*EDITS, "edit", "event", _LIST, _PACKED}
    parts = list(location)
    words = []
    if parts[:1] == ["entries"] and len(parts) > 1:
        words.append(f"entry {parts[1]}")
        parts = parts[3:] if len(parts) > 2 and parts[2] in ("edit", "event") else parts[2:]
    names = [str(part) for n, part in enumerate(parts) if not (n > 0 and part in tags)]
    return ", ".join([*words, *([f"field '{'.'.join(names)}'"] if names else [])]) or "the whole"


def _entry(record: EditEntryRecord | EventEntryRecord) -> Entry:
    if isinstance(record, EventEntryRecord):
        return EventEntry(
            record.kind, record.iteration, record.component, record.detail, record.time
        )
    changes = tuple(WidthChange(item.layer, item.before, item.after) for item in record.changes)
    return EditEntry(
        edit=_edit(record.edit),
        iteration=record.iteration,
        component=record.component,
        reason=record.reason,
        seed=record.seed,
        changes=changes,
        time=record.time,
    )


def _edit(record: Record) -> Edit:
    kind = EDITS[type(record).__name__]
    edit: Edit = kind(
        **{item.name: _value(getattr(record, item.name)) for item in dataclasses.fields(kind)}
    )
    return edit


def _value(stored: Any) -> Any:
    if not isinstance(stored, PackedPairsRecord):
        return stored
    return PairTable.unpacked_from(_unpacked(**dict(stored)))
