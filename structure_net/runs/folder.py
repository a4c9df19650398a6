"""The folder of a run: its files, made and found; nothing is ever written outside it."""

from __future__ import annotations

import difflib
import shlex
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from structure_net.errors import RunError
from structure_net.files import write_text

if TYPE_CHECKING:
    from structure_net.runs.records import HistoryRecord, RunRecord


@dataclass(frozen=True, slots=True)
class RunFolder:
    """The places of a run's files under ``path``."""

    path: Path

    @property
    def name(self) -> str:
        """The folder as a user would type it."""
        return str(self.path)

    @property
    def run(self) -> Path:
        """What was asked for."""
        return self.path / "run.json"

    @property
    def journal(self) -> Path:
        """Every edit and event."""
        return self.path / "journal.json"

    @property
    def history(self) -> Path:
        """Every epoch and iteration."""
        return self.path / "history.json"

    @property
    def checkpoint(self) -> Path:
        """The network and all that a resumed run needs."""
        return self.path / "checkpoint.safetensors"

    @property
    def report(self) -> Path:
        """The report, as Markdown."""
        return self.path / "report.md"

    @property
    def picture(self) -> Path:
        """Accuracy and size over time."""
        return self.path / "evolution.png"

    @property
    def profile(self) -> Path:
        """Where the time of a profiled run went."""
        return self.path / "profile.png"

    @property
    def trace(self) -> Path:
        """What `torch.profiler` saw, for Chrome or Perfetto."""
        return self.path / "trace.json"

    @property
    def records(self) -> Path:
        """The spool: everything that happened, as it happened."""
        return self.path / "records"

    def write_run(self, record: RunRecord) -> None:
        """Writes ``run.json``, whole or not at all."""
        from structure_net.runs.records import to_text

        write_text(self.run, to_text(record))

    def write_history(self, record: HistoryRecord) -> None:
        """Writes ``history.json``, whole or not at all."""
        from structure_net.runs.records import to_text

        write_text(self.history, to_text(record))

    def read_run(self) -> RunRecord:
        """Reads ``run.json``; a `RunError` says what is wrong with it."""
        from structure_net.runs.records import RunRecord, from_file

        return from_file(self.run, RunRecord)

    def read_history(self) -> HistoryRecord:
        """Reads ``history.json``; a `RunError` says what is wrong with it."""
        from structure_net.runs.records import HistoryRecord, from_file

        return from_file(self.history, HistoryRecord)


def free_folder(path: str | Path) -> RunFolder:
    """The folder that a new run may use.

    Raises:
        RunError: ``path`` exists and is not an empty folder.
    """
    target = Path(path)
    if target.is_dir() and not any(target.iterdir()):
        return RunFolder(target)
    if target.exists():
        way_out = (
            f"Continue it with `structure-net resume {shlex.quote(str(path))}`, or choose"
            if (target / "run.json").exists()
            else "Choose"
        )
        raise RunError(f"{path} exists already. {way_out} another --out.")
    return RunFolder(target)


def known_folder(path: str | Path) -> RunFolder:
    """The folder of a run that exists.

    Raises:
        RunError: There is no run at ``path``; the message names the nearest one beside it.
    """
    target = Path(path)
    if (target / "run.json").is_file():
        return RunFolder(target)
    near = _nearest(target)
    hint = f" Did you mean {near}?" if near else " `structure-net evolve` makes one."
    what = "holds no run.json, so it is no run" if target.exists() else "does not exist"
    raise RunError(f"{path} {what}.{hint}")


@contextmanager
def new_files(folder: RunFolder) -> Iterator[None]:
    """Makes ``folder`` for the block inside; if the block fails, nothing of it stays."""
    kept = [parent for parent in (folder.path, *folder.path.parents) if parent.exists()]
    folder.path.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except BaseException:
        _remove(folder.path, down_to=kept[0])
        raise


def _remove(path: Path, *, down_to: Path) -> None:
    """Removes what was made: the folder, and its parents as far as they were made for it."""
    for child in path.iterdir():
        shutil.rmtree(child) if child.is_dir() else child.unlink()
    while path != down_to:
        path.rmdir()
        path = path.parent


def _nearest(target: Path) -> str | None:
    beside = target.parent
    if not beside.is_dir():
        return None
    names = [entry.parent.name for entry in beside.glob("*/run.json")]
    close = difflib.get_close_matches(target.name, names, n=1, cutoff=0.5)
    return str(beside / close[0]) if close else None
