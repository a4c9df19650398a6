"""Whether files are what they claim to be: each problem in a line, with its place and the rule."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from structure_net.errors import CheckpointError, RunError, SpoolError
from structure_net.logging import read
from structure_net.logging.checking import Problem, check_alone, check_record, check_spool
from structure_net.runs.folder import RunFolder

if TYPE_CHECKING:
    from pydantic import BaseModel

_NO_FILE: Final = (
    "it is none of the files that can be validated; these are run.json, journal.json, "
    "history.json, analysis.json, checkpoint.safetensors, records.jsonl, series.h5, sync.json, "
    "a JSON file with one record, and a run's folder"
)


def validate(path: str | Path) -> tuple[Problem, ...]:
    """All that is wrong with a file, with the files of a run's folder, or of all runs below one.

    What a file is, its content says; a spool is known by its ending ``.jsonl``, a checkpoint by
    ``.safetensors``, time series by ``.h5``. Of a run's folder, missing files are told as well.

    Raises:
        RunError: There is nothing at ``path``, or a folder without a file of ours.
        OSError: A file cannot be read.
    """
    found: list[Problem] = []
    for target in subjects(path):
        files = _files_of(target) if target.is_dir() else [target]
        found += [problem for file in files for problem in _problems(file)]
        if target.is_dir():
            found += _missing(RunFolder(target))
    return tuple(found)


def subjects(path: str | Path) -> tuple[Path, ...]:
    """What `validate` looks at: a file, a run's folder, or the folders of all runs below one.

    Raises:
        RunError: There is nothing at ``path``, or no run in it.
        OSError: A folder cannot be read.
    """
    target = Path(path)
    if not target.exists():
        raise RunError(f"{path} does not exist.")
    found = tuple(_runs_in(target)) if target.is_dir() else (target,)
    if not found:
        raise RunError(f"{path} holds no file of a run. Name a run's folder, or a file.")
    return found


def _runs_in(folder: Path) -> Iterator[Path]:
    if _files_of(folder):
        yield folder
        return
    for child in sorted(folder.iterdir()):
        if child.is_dir() and not child.is_symlink() and not child.name.startswith("."):
            yield from _runs_in(child)


def _files_of(path: Path) -> list[Path]:
    folder = RunFolder(path)
    own = (folder.run, folder.journal, folder.history, folder.checkpoint, path / "analysis.json")
    kept = ("records.jsonl", "series.h5", "sync.json")
    spools = [place / name for place in (folder.records, path) for name in kept]
    return [file for file in (*own, *spools) if file.is_file()]


def _missing(folder: RunFolder) -> Iterator[Problem]:
    """Files that a run has and this one lacks, and records that are missing at the end."""
    own = (folder.run, folder.journal, folder.history, folder.checkpoint)
    if not any(file.is_file() for file in own):
        return
    for file in own:
        if not file.is_file():
            yield Problem(file, "", "it is missing, and every run has it")
    spool = folder.records / "records.jsonl"
    if not spool.is_file():  # programs that kept no records made no folder for them
        if folder.records.is_dir():
            yield Problem(spool, "", "it is missing, and what else is kept beside it depends on it")
    elif _finished(folder) and not _has_ended(folder.records):
        said = "the end of the run is missing, though history.json says that it is finished"
        yield Problem(spool, "", f"{said}; `structure-net resume` writes it")


def _finished(folder: RunFolder) -> bool:
    try:
        return folder.read_history().status == "finished"
    except RunError:  # told already
        return False


def _has_ended(records: Path) -> bool:
    ended = False
    for stored in read(records, on_damage=lambda _: None):
        if stored.kind in ("run_ended", "resumed"):
            ended = stored.kind == "run_ended"
    return ended


def _problems(path: Path) -> Iterator[Problem]:
    if path.suffix == ".jsonl":
        return check_spool(path)
    if path.suffix == ".safetensors":
        return _checkpoint(path)
    if path.suffix == ".h5":
        from structure_net.logging.series import check_series

        return check_series(path)
    if path.name == "sync.json":
        return _queue(path)
    return _document(path) if path.suffix == ".json" or _begins_as_json(path) else _unknown(path)


def _begins_as_json(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(64).lstrip().startswith(b"{")


def _unknown(path: Path) -> Iterator[Problem]:
    yield Problem(path, "", _NO_FILE)


def _queue(path: Path) -> Iterator[Problem]:
    from structure_net.logging.sending import destinations
    from structure_net.logging.sending.state import read_state

    try:
        for name in destinations(path.parent):
            read_state(path.parent, name)
    except SpoolError as error:
        yield Problem(path, "", str(error).removeprefix(f"{path} ").rstrip("."))


def _checkpoint(path: Path) -> Iterator[Problem]:
    from structure_net.surgery.checkpoint import read_header, verify_checkpoint

    place = "the header"
    try:
        read_header(path)
        place = "the tensors"
        verify_checkpoint(path)
    except CheckpointError as error:
        yield Problem(path, place, str(error).removeprefix(f"'{path}' ").rstrip("."))


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
        yield from _epochs(path, document)
    except ValidationError as error:
        for one in error.errors(include_url=False):
            yield Problem(path, "", problem_line(one))
    except StructureNetError as error:  # a request checks itself
        yield Problem(path, "", str(error).rstrip("."))


def _epochs(path: Path, document: dict[str, Any]) -> Iterator[Problem]:
    """What is wrong with the epochs of a history, which are records of their own."""
    if document.get("kind") != "structure_net.history":
        return
    for place, epoch in enumerate(document.get("epochs", ())):
        version = 2 if "samples" in epoch else 1
        for said in check_record("epoch", version, json.dumps(epoch)):
            yield Problem(path, f"epochs.{place}", said.removeprefix("data."))
