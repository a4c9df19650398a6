"""What a checkpoint's header looks like: pydantic models, used where a file is read or written."""

from __future__ import annotations

import json
from typing import Any, Final, Literal

from pydantic import JsonValue, NonNegativeInt, ValidationError

from structure_net.errors import CheckpointError
from structure_net.surgery.records import JournalRecord, Record, first_problem

CHECKPOINT_FORMAT: Final = "structure_net.checkpoint"
CHECKPOINT_VERSION: Final = 1


class TensorRecord(Record):
    """One stored tensor: its type, its shape, and the CRC-32 of its bytes."""

    dtype: str
    shape: tuple[NonNegativeInt, ...]
    crc32: NonNegativeInt


class ModelRecord(Record):
    """The network.

    ``tensors``: the names in its state dict, in order. ``aliases``: names that share another's
    tensor. ``constants``: numbers that
    edits change and that are no tensors (epsilons), by module. ``recipe``: what a network of ours
    is made from. ``fixed``: the parameters that do not require a gradient.
    """

    kind: str
    recipe: dict[str, JsonValue] | None
    training: bool
    tensors: tuple[str, ...]
    aliases: dict[str, str]
    constants: dict[str, dict[str, float]]
    fixed: tuple[str, ...]


class CheckpointRecord(Record):
    """All of a checkpoint but the bytes of its tensors; states are packed as `packing` says.

    ``extra``: entries of the network's state dict that are no tensors.
    """

    format: Literal["structure_net.checkpoint"]
    version: Literal[1]
    iteration: NonNegativeInt
    model: ModelRecord
    tensors: dict[str, TensorRecord]
    optimizer: dict[str, JsonValue] | None
    scheduler: dict[str, JsonValue] | None
    random: dict[str, JsonValue]
    extra: dict[str, JsonValue]
    example: JsonValue
    history: JsonValue
    metadata: JsonValue
    journal: JournalRecord | None


def read_record(text: str, source: str) -> CheckpointRecord:
    """The header in JSON ``text``.

    Raises:
        CheckpointError: It is no header of ours or of a newer version, or a field is missing,
            unknown or of the wrong type.
    """
    try:
        return CheckpointRecord.model_validate_json(text)
    except ValidationError as error:
        _check_version(text, source)
        raise CheckpointError(f"{source}: {first_problem(error)}") from error


def _check_version(text: str, source: str) -> None:
    try:
        data = json.loads(text)
    except json.JSONDecodeError as error:
        raise CheckpointError(f"{source}: the header is no JSON; the file is damaged.") from error
    if not isinstance(data, dict) or data.get("format") != CHECKPOINT_FORMAT:
        raise CheckpointError(
            f"{source}: this is no checkpoint of ours; 'format' must be '{CHECKPOINT_FORMAT}'."
        )
    version = data.get("version")
    if type(version) is not int or not 1 <= version <= CHECKPOINT_VERSION:
        raise CheckpointError(
            f"{source}: it has version {version!r}; this program reads up to {CHECKPOINT_VERSION}. "
            "Update structure-net."
        )


def checkpoint_schema() -> dict[str, Any]:
    """The JSON Schema of a checkpoint's header."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **CheckpointRecord.model_json_schema(),
    }
