from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from neural_architecture_lab.cli import main
from neural_architecture_lab.store import Archive

FILE = """
from neural_architecture_lab import Range
from neural_architecture_lab.searching import Search

def experiment(trial, *, device):
    if trial.settings["x"] > 0.9:
        raise RuntimeError("as told")
    return {"loss": (trial.settings["x"] - 0.3) ** 2, "size": trial.settings["x"]}

ONE = Search("one", experiment, {"x": Range(0, 1)}, {"loss": "lower"}, tries=6, question="Which?")
TWO = Search("two", experiment, {"x": Range(0, 1)}, {"loss": "lower", "size": "higher"}, tries=5)
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    path = tmp_path / f"searches_{abs(hash(str(tmp_path)))}.py"
    path.write_text(FILE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    return path.name


def test_what_a_search_lacks_is_said_in_one_line(
    file: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    assert main(["search", file, "--results", "r"]) == 2
    error = capsys.readouterr().err
    assert "python -m pip install 'structure-net[optuna]'" in error
    assert error.count("\n") == 1


@pytest.mark.extras
def test_a_search_is_run_shown_and_gone_on_with(
    file: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    pytest.importorskip("optuna")
    assert main(["search", file, "--results", "r"]) == 0
    out = capsys.readouterr().out
    assert "one: 6 settings, 1 seed each" in out
    assert "searching: 6 of 6 settings" in out
    assert "one: 6 of 6 settings; best loss" in out
    assert main(["status", "--results", "r", "--json"]) == 0
    one, two = json.loads(capsys.readouterr().out)
    assert (one["search"], one["settings"], one["planned"]) == ("one", 6, 6)
    assert two["best"]
    assert main(["status", "--results", "r"]) == 0
    assert "on the Pareto front" in capsys.readouterr().out
    assert main(["list", "--results", "r"]) == 0
    assert "Which?" in capsys.readouterr().out
    assert main(["report", "--results", "r"]) == 0
    report = capsys.readouterr().out
    assert "## Searches" in report
    assert "loss: lower is better" in report
    assert "**Searched:** x from 0 to 1, 1 seed each." in report
    if one["failed"]:
        assert "RuntimeError: as told" in report
    assert main(["report", "one", "--results", "r", "--html", "--out", "page.html"]) == 0
    assert "Each setting in the order of trying" in (tmp_path / "page.html").read_text()

    spool = tmp_path / "r" / "records" / "records.jsonl"
    lines = spool.read_bytes().splitlines(keepends=True)
    whole = [trial.trial for trial in Archive(tmp_path / "r").trials("one")]
    spool.write_bytes(b"".join(lines[:8]))  # as after a kill
    capsys.readouterr()
    assert main(["resume", "--results", "r"]) == 0
    assert "one: 6 of 6 settings; best loss" in capsys.readouterr().out
    assert [trial.trial for trial in Archive(tmp_path / "r").trials("one")] == whole
    assert main(["resume", "--results", "r"]) == 0
    assert "Nothing is left to run in r." in capsys.readouterr().out
    (tmp_path / "r" / "sources.json").unlink()  # the record says enough
    spool.write_bytes(b"".join(lines[:8]))
    assert main(["resume", "--results", "r"]) == 0
    assert [trial.trial for trial in Archive(tmp_path / "r").trials("one")] == whole
