"""`structure-net evolve --device cuda`, resumed, shown and replayed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from structure_net.cli import main

pytestmark = pytest.mark.cuda


def test_a_run_on_the_device_can_be_resumed_and_replayed(tmp_path: Path) -> None:
    out = tmp_path / "run"
    flags = ["--device", "cuda", "--iterations", "1", "--epochs", "1", "--out", str(out)]
    assert main(["evolve", *flags]) == 0
    assert main(["resume", str(out), "--iterations", "2"]) == 0
    assert main(["replay", str(out)]) == 0
    assert json.loads((out / "run.json").read_text())["request"]["device"] == "cuda"
