"""Small files in the layouts of the published ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

Save = Callable[..., Path]


@pytest.fixture
def save(tmp_path: Path) -> Save:
    """Writes arrays to an ``.npz`` file and returns its path."""

    def write(**arrays: object) -> Path:
        path = tmp_path / "mine.npz"
        np.savez(path, **arrays)  # type: ignore[arg-type]
        return path

    return write


@pytest.fixture(autouse=True)
def no_folder_of_the_user(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Tests see the data sets that they name, and none that happen to be on the machine."""
    monkeypatch.setenv("STRUCTURE_NET_DATA", str(tmp_path / "absent"))
