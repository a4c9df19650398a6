"""Keeps memory that an edit lets go of for the next one.

A large network is edited by copying: what it held before stays until the edit is verified, and for
as long as it can be undone. Where the system's allocator gives large blocks back at once, every
edit, and every training step that lets its gradients go, gets its memory anew, at the price of a
page fault for every 4 KiB: several times the price of the copies.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Final

import torch
from torch import Tensor

_LARGE: Final = 1 << 20
"""Bytes; smaller blocks are recycled anyway."""

_BLOCK: Final = 31 << 20
"""Bytes: a little below 32 MiB, the largest block that glibc takes as a measure."""


def recycle(tensors: Iterable[Tensor]) -> None:
    """Lets the process keep freed memory for reuse, at most 62 MiB, if one of the tensors is large
    and on the CPU.
    """
    if any(t.device.type == "cpu" and t.nbytes >= _LARGE for t in tensors):
        _raise_threshold()


@cache
def _raise_threshold() -> None:
    """Once a block was freed, glibc serves blocks up to its size from memory that it keeps, and
    gives memory back above twice its size (`man mallopt`, M_MMAP_THRESHOLD). No page of the block
    is touched; other allocators notice nothing.
    """
    torch.empty(_BLOCK, dtype=torch.uint8)
