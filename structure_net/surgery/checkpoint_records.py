"""What a checkpoint's header looks like: pydantic models, used where a file is read or written."""

from __future__ import annotations

import json
from collections.abc import Mapping, Set
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import JsonValue, NonNegativeInt, ValidationError
from torch import Tensor

from structure_net.errors import CheckpointError
from structure_net.surgery.containers import tensor_problem
from structure_net.surgery.records import JournalRecord, Record, first_problem

CHECKPOINT_FORMAT: Final = "structure_net.checkpoint"
CHECKPOINT_VERSION: Final = 2
"""The newest; written where there is a journal, else 1, which older programs read too."""


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

    ``extra``: entries of the network's state dict that are no tensors. ``journal``: in a file of
    version 1; since version 2 it is the tensor ``journal``, the bytes of its JSON.
    """

    format: Literal["structure_net.checkpoint"]
    version: Literal[1, 2]
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


def check_tensors(
    path: str | Path, record: CheckpointRecord, tensors: Mapping[str, Tensor], *, names: Set[str]
) -> None:
    """Refuses tensors that are not those that the header lists under ``names``.

    Raises:
        CheckpointError: One is missing, too many, or not as the header says.
    """
    if tensors.keys() != names:
        raise CheckpointError(f"'{path}' is damaged: its header lists other tensors than it holds.")
    for name, tensor in tensors.items():
        told = record.tensors[name]
        problem = tensor_problem(tensor, told.dtype, told.shape, told.crc32)
        if problem:
            raise CheckpointError(f"'{path}' is damaged: tensor '{name}' {problem}.")


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
