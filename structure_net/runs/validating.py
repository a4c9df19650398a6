"""Whether files are what they claim to be: each problem in a line, with its place and the rule."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from structure_net.errors import CheckpointError, RunError
from structure_net.logging.checking import Problem, check_alone, check_spool
from structure_net.runs.folder import RunFolder

if TYPE_CHECKING:
    from pydantic import BaseModel

_NO_FILE: Final = (
    "it is none of the files that structure-net writes; these are run.json, journal.json, "
    "history.json, analysis.json, checkpoint.safetensors, records.jsonl, and a record alone"
)


def validate(path: str | Path) -> tuple[Problem, ...]:
    """All that is wrong with a file, or with the files of a run's folder.

    What a file is, its content says; a spool is known by its ending ``.jsonl``, a checkpoint by
    ``.safetensors``.

    Raises:
        RunError: There is nothing at ``path``, or a folder without a file of ours.
        OSError: A file cannot be read.
    """
    target = Path(path)
    if not target.exists():
        raise RunError(f"{path} does not exist.")
    files = _files_of(target) if target.is_dir() else [target]
    return tuple(problem for file in files for problem in _problems(file))


def _files_of(path: Path) -> list[Path]:
    folder = RunFolder(path)
    own = (folder.run, folder.journal, folder.history, folder.checkpoint, path / "analysis.json")
    spools = (folder.records / "records.jsonl", path / "records.jsonl")
    found = [file for file in (*own, *spools) if file.is_file()]
    if not found:
        raise RunError(f"{path} holds no file of a run. Name a run's folder, or a file.")
    return found


def _problems(path: Path) -> Iterator[Problem]:
    if path.suffix == ".jsonl":
        return check_spool(path)
    if path.suffix == ".safetensors":
        return _checkpoint(path)
    return _document(path)


def _checkpoint(path: Path) -> Iterator[Problem]:
    from structure_net.surgery.checkpoint import read_header

    try:
        read_header(path)
    except CheckpointError as error:
        said = str(error).removeprefix(f"{path}: ").rstrip(".")
        yield Problem(path, "the header", said)


def _document(path: Path) -> Iterator[Problem]:
    text = path.read_bytes()
    try:
        document = json.loads(text)
    except UnicodeDecodeError as error:
        yield Problem(path, "", f"it is no text in UTF-8 ({error.reason} at byte {error.start})")
        return
    except json.JSONDecodeError as error:
        yield Problem(path, f"line {error.lineno}", f"it is no JSON ({error.msg})")
        return
    if not isinstance(document, dict):
        yield Problem(path, "", _NO_FILE)
        return
    model = _model_of(document)
    if model is not None:
        yield from _fields(path, model, document, text)
    elif "kind" in document and "data" in document:
        yield from check_alone(path, document)
    else:
        yield Problem(path, "", _NO_FILE)


def _model_of(document: dict[str, Any]) -> type[BaseModel] | None:
    """The model of a file, by what the file says that it is."""
    from structure_net.runs.records import AnalysisRecord, HistoryRecord, RunRecord
    from structure_net.surgery.checkpoint_records import CheckpointRecord
    from structure_net.surgery.records import JournalRecord

    models: dict[object, type[BaseModel]] = {
        "structure_net.run": RunRecord,
        "structure_net.history": HistoryRecord,
        "structure_net.analysis": AnalysisRecord,
        "structure_net.journal": JournalRecord,
        "structure_net.checkpoint": CheckpointRecord,
    }
    said = document.get("kind", document.get("format"))
    return models.get(said) if isinstance(said, str) else None


def _fields(
    path: Path, model: type[BaseModel], document: dict[str, Any], text: bytes
) -> Iterator[Problem]:
    from pydantic import ValidationError

    from structure_net.errors import StructureNetError
    from structure_net.logging.records import problem_line

    version = document.get("schema_version", document.get("version"))
    if type(version) is int and version > 1:
        newer = f"it has version {version}; this program reads up to 1. Update structure-net"
        yield Problem(path, "", newer)
        return
    try:
        model.model_validate_json(text)
    except ValidationError as error:
        for one in error.errors(include_url=False):
            yield Problem(path, "", problem_line(one))
    except StructureNetError as error:  # a request checks itself
        yield Problem(path, "", str(error).rstrip("."))
