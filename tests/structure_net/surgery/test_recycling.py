"""Freed memory is kept for the next edit, and none is taken for it."""

import sys
from pathlib import Path

import pytest
import torch

from structure_net.surgery.recycling import recycle

PAGE = 4096


def resident() -> int:
    """Bytes of this process that are in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("size", [16, 1 << 19])
def test_asking_for_kept_memory_takes_none(size: int) -> None:
    tensor = torch.zeros(size)
    before = resident()
    recycle([tensor])
    assert resident() - before < 1 << 20
    assert not tensor.any()
