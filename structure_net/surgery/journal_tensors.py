"""The journal of a checkpoint: its JSON as a tensor of bytes, since headers have a largest size."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

import torch
from torch import Tensor

from structure_net.errors import CheckpointError, JournalError
from structure_net.surgery.journal import Journal

if TYPE_CHECKING:
    from structure_net.surgery.checkpoint_records import CheckpointRecord

JOURNAL: Final = "journal"
"""The name of the tensor."""


def journal_tensor(journal: Journal) -> Tensor:
    """`Journal.to_json` in UTF-8. Shape ``(bytes,)``, uint8, on the CPU."""
    return torch.frombuffer(bytearray(journal.to_json().encode()), dtype=torch.uint8)


def stored_journal(
    path: str | Path, record: CheckpointRecord, tensors: Mapping[str, Tensor]
) -> Journal:
    """The journal of a checkpoint: the tensor, or in a file of version 1 a part of the header.

    Args:
        path: The file, for errors.
        record: Its header.
        tensors: Its tensors, the journal's at least; empty if it holds none.

    Raises:
        CheckpointError: The journal is damaged.
    """
    from structure_net.surgery.records import journal_from_record

    if JOURNAL not in tensors:
        return Journal(() if record.journal is None else journal_from_record(record.journal))
    text = tensors[JOURNAL].numpy().tobytes()
    try:
        return Journal.from_json(text, source=f"the journal in '{path}'")
    except JournalError as error:
        raise CheckpointError(str(error)) from error
