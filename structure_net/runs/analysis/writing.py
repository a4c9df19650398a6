"""The folder of an analysis: pictures, numbers and a page, written whole or not at all."""

from __future__ import annotations

import json
import shlex
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from structure_net import __version__
from structure_net.errors import RunError
from structure_net.runs.analysis.numbers import as_numbers
from structure_net.runs.analysis.page import PageFacts, render_page
from structure_net.runs.analysis.pictures import drawn, pictures_of
from structure_net.runs.analysis.subjects import Subject
from structure_net.runs.analysis.topics import Told, look


@dataclass(frozen=True, slots=True)
class Report:
    """An analysis that was written.

    Args:
        folder: Where it lies.
        document: What ``analysis.json`` holds.
    """

    folder: Path
    document: Mapping[str, Any]

    @property
    def page(self) -> Path:
        """The Markdown page."""
        return self.folder / "report.md"


def free_place(out: str | Path) -> Path:
    """The folder that a new report may use.

    Raises:
        RunError: ``out`` exists and is not an empty folder.
    """
    target = Path(out)
    if target.exists() and not (target.is_dir() and not any(target.iterdir())):
        raise RunError(f"{out} exists already. Choose another --out.")
    return target


def write_report(
    subject: Subject,
    out: Path,
    *,
    topics: Sequence[str],
    batches: int,
    command: Sequence[str] = (),
    told: Told | None = None,
) -> Report:
    """Looks at a network and writes what was found; if anything fails, nothing is left.

    Args:
        subject: What to look at; it stays as it is.
        out: From `free_place`.
        topics: From `topics_of`.
        batches: How many batches are looked at.
        command: The command line, word by word, for the page.
        told: Is told of each topic that is done, then of the pictures.

    Raises:
        RunError: ``batches`` is below 1.
        StructureNetError: The network cannot be looked at.
        OSError: A file cannot be written.
    """
    seconds: dict[str, float] = {}

    def note(topic: str, spent: float) -> None:
        seconds[topic] = spent
        if told is not None:
            told(topic, spent)

    context = subject.context
    values = look(context, topics, batches=batches, told=note)
    pictures = pictures_of(topics, context.journal)
    facts = PageFacts(
        name=subject.name,
        dataset=subject.dataset.name,
        iteration=context.iteration,
        batches=batches,
        batch_size=subject.batch_size,
        command=shlex.join(command),
        values=values,
        pictures=pictures,
        seconds=seconds,
    )
    document = _document(subject, topics, batches, values)
    with _made(out) as draft:
        _write(draft / "analysis.json", json.dumps(document, indent=1) + "\n")
        for picture in pictures:
            (draft / f"{picture.name}.png").write_bytes(drawn(picture, values, context.journal))
            if told is not None:
                told(f"picture {picture.name}", 0.0)
        _write(draft / "report.md", render_page(facts))
    return Report(out, document)


def _document(
    subject: Subject, topics: Sequence[str], batches: int, values: Mapping[str, Any]
) -> dict[str, Any]:
    from structure_net.runs.records import AnalysisRecord

    record = AnalysisRecord(
        subject=subject.name,
        iteration=subject.context.iteration,
        dataset=subject.dataset.name,
        batches=batches,
        batch_size=subject.batch_size,
        seed=subject.seed,
        version=__version__,
        topics=tuple(topics),
        values={key: as_numbers(value) for key, value in values.items()},
    )
    return record.model_dump(mode="json")


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


@contextmanager
def _made(target: Path) -> Iterator[Path]:
    """A hidden folder beside ``target``, which takes its place once the block is done."""
    made = [one for one in (target.parent, *target.parent.parents) if not one.exists()]
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = target.with_name(f".{target.name}.partial")
    shutil.rmtree(draft, ignore_errors=True)
    try:
        draft.mkdir()
        yield draft
        if target.exists():
            target.rmdir()
        draft.replace(target)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        for parent in made:
            parent.rmdir()
        raise
