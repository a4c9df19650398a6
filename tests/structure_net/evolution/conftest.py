"""A small context that learns in a blink, blobs in twelve dimensions; and what a look notes."""

from __future__ import annotations

from typing import Any

import pytest
from torch import Tensor

from structure_net.evolution import NetworkContext
from structure_net.evolution.reductions.passing import Pass
from structure_net.testing import example_context


@pytest.fixture
def context() -> NetworkContext:
    return example_context()


@pytest.fixture
def noted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The samples of each batch that was noted without a hook."""
    found: list[int] = []
    note_row = Pass.note_row

    def counted(self: Pass, row: Any, inputs: Tensor) -> Tensor | None:
        output = note_row(self, row, inputs)
        if output is not None:
            found.append(len(inputs))
        return output

    monkeypatch.setattr(Pass, "note_row", counted)
    return found
