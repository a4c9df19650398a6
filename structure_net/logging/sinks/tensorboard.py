"""Records in TensorBoard's event files, beside the spool."""

from __future__ import annotations

import math
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypedDict

from structure_net._optional import missing
from structure_net.logging.blobs import blob_path
from structure_net.logging.sinks.event_files import EventFile
from structure_net.logging.tracking import numbers_of, row_of

if TYPE_CHECKING:
    from structure_net.logging.guarding import Source
    from structure_net.logging.lines import Stored

EVENTS: Final = "tensorboard"
"""The folder of the event files, in the spool's."""


class _At(TypedDict):
    step: int
    moment: float


class TensorBoardSink:
    """Writes the numbers of a stream as scalars over the records' numbers, and its words as text.

    What a resumed run superseded stays in the files of the earlier run; TensorBoard shows the
    newer values where both have the same step.

    Args:
        folder: Where to; ``tensorboard`` in the spool's folder if None.
    """

    name = "tensorboard"

    def __init__(self, folder: str | Path | None = None) -> None:
        self._folder = None if folder is None else Path(folder)
        self._source = Path()
        self._writer: EventFile | None = None

    def open(self, source: Source) -> None:
        """Makes the event file.

        Raises:
            ImportError: The extra ``integrations`` is not installed.
            OSError: The file cannot be made.
        """
        self._source = source.folder
        try:
            self._writer = EventFile(self._folder or source.folder / EVENTS)
        except ImportError as error:
            raise missing("tensorboard", "integrations", error) from error

    def write(self, stored: Stored) -> None:
        """Adds a record's numbers, words and picture.

        Raises:
            RecordError: The record is damaged, or its picture is none.
            OSError: The file cannot be written.
        """
        if self._writer is None:
            return
        numbers = {k: v for k, v in numbers_of(row_of(stored)).items() if math.isfinite(v)}
        at: _At = {"step": stored.seq, "moment": datetime.fromisoformat(stored.time).timestamp()}
        self._writer.scalars(numbers, **at)
        record: Any = stored.record
        if stored.kind == "growth":
            said = f"{record.component}: {'; '.join(record.edits)} ({record.outcome})"
            self._writer.text("growth", said, **at)
        elif stored.kind == "artifact" and record.media == "image/png":
            path = blob_path(self._source, record.digest)
            if path.is_file():
                self._writer.picture(record.name, path.read_bytes(), **at)

    def flush(self, deadline: float) -> None:
        """Brings what waits to the file."""
        if self._writer is not None:
            self._writer.flush()

    def close(self) -> None:
        """Closes the file."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None
