"""The stored records of a run, checked when they are read.

It imports pydantic; `structure_net.runs.folder` imports it only where a record is read or written.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError

from structure_net.errors import RunError
from structure_net.runs.request import RunRequest
from structure_net.runs.summary import IterationSummary, Score, Status


class RunRecord(BaseModel):
    """``run.json``: what was asked for, on which data, by which versions."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["structure_net.run"] = "structure_net.run"
    schema_version: Literal[1] = 1
    created: str
    command: tuple[str, ...]
    request: RunRequest
    architecture: tuple[int, ...]
    start_connections: int
    start_parameters: int
    threads: int
    dataset: dict[str, JsonValue]
    versions: dict[str, str]


class HistoryRecord(BaseModel):
    """``history.json``: every epoch, every iteration in short, and the final comparison."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["structure_net.history"] = "structure_net.history"
    schema_version: Literal[1] = 1
    status: Status
    reason: str = ""
    epochs: tuple[dict[str, JsonValue], ...] = ()
    iterations: tuple[IterationSummary, ...] = ()
    scores: tuple[Score, ...] = ()


class AnalysisRecord(BaseModel):
    """``analysis.json``: what the analyzers found in one network, by key."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["structure_net.analysis"] = "structure_net.analysis"
    schema_version: Literal[1] = 1
    subject: str
    iteration: int
    dataset: str
    batches: int
    batch_size: int
    seed: int
    version: str
    topics: tuple[str, ...]
    values: dict[str, JsonValue]


def schema_of(kind: type[BaseModel]) -> dict[str, Any]:
    """The JSON Schema of a record."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **kind.model_json_schema(),
    }


Record = TypeVar("Record", RunRecord, HistoryRecord)


def to_text(record: BaseModel) -> str:
    """A record as indented JSON with a final newline."""
    return record.model_dump_json(indent=2) + "\n"


def from_file(path: Path, kind: type[Record]) -> Record:
    """Reads and checks a record.

    Raises:
        RunError: The file is missing, is no JSON, or does not fit the record; one line that names
            the file and the first field that is wrong.
    """
    try:
        return kind.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise RunError(f"{path} is missing; {path.parent} is no complete run folder.") from None
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "the file"
        raise RunError(f"{path} is damaged: {place}: {first['msg']}.") from None
