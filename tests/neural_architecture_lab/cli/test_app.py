from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from neural_architecture_lab.cli import main
from neural_architecture_lab.cli.loading import SOURCES, found_again, hypotheses_of
from neural_architecture_lab.errors import HypothesisError, StoreError
from neural_architecture_lab.store import Archive

FILE = """
from neural_architecture_lab import Arm, Hypothesis, Prediction

def experiment(trial, *, device):
    if trial.settings.get("fails"):
        raise RuntimeError("as told")
    return {"accuracy": trial.seed % 3 / 10 + (trial.arm == "b") * (1 + trial.seed % 2 / 100)}

def claim(name, **settings):
    return Hypothesis(name, "training", "?", "!", experiment,
        (Arm("a", control=True), Arm("b", settings)),
        predictions=(Prediction("accuracy", "higher", 0.2),), seeds=6)

GOOD = claim("good")
BAD = claim("bad", fails=True)
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    # A name of its own, since Python keeps what it imported under a name.
    path = tmp_path / f"claims_{abs(hash(str(tmp_path)))}.py"
    path.write_text(FILE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    return path.name


def test_run_prints_the_verdict_and_status_report_and_compare_tell_of_it(
    file: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["run", f"{file}:GOOD", "--results", "r"]) == 0
    out = capsys.readouterr().out
    assert "12 trials, 6 seeds (as the hypothesis says)" in out
    assert "running: 12 of 12 trials" in out
    assert "good: SUPPORTED after 6 of 6 seeds" in out
    assert main(["status", "--results", "r", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["verdict"], row["seeds"], row["failed"]) == ("supported", 6, 0)
    assert main(["compare", "--results", "r", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["pairs"] == 6
    assert main(["report", "--results", "r"]) == 0
    assert "### Verdict: SUPPORTED" in capsys.readouterr().out
    assert main(["report", "--results", "r", "--html", "--out", "page.html"]) == 0
    assert capsys.readouterr().out.strip() == "page.html"
    assert (tmp_path / "page.html").read_text().startswith("<!doctype html>")


def test_a_failed_trial_is_told_and_changes_the_exit_code(
    file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", f"{file}:BAD", "--results", "r"]) == 1
    assert "bad/b/0/0: failed RuntimeError: as told" in capsys.readouterr().out


def test_resume_runs_what_is_missing_and_nothing_twice(
    file: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["run", f"{file}:GOOD", "--results", "r", "--seeds", "8"]) == 0
    spool = tmp_path / "r" / "records" / "records.jsonl"
    lines = spool.read_bytes().splitlines(keepends=True)
    spool.write_bytes(b"".join(lines[:8]))  # the hypothesis and seven trials: as after a kill
    capsys.readouterr()
    assert main(["resume", "--results", "r"]) == 0
    assert "SUPPORTED after 8 of 8 seeds" in capsys.readouterr().out
    trials = [trial.trial for trial in Archive(tmp_path / "r").trials("good")]
    assert len(trials) == len(set(trials)) == 16
    assert main(["resume", "--results", "r"]) == 0
    assert "Nothing is left to run in r." in capsys.readouterr().out
    (tmp_path / "r" / SOURCES).unlink()  # the record says enough
    spool.write_bytes(b"".join(lines[:8]))
    assert main(["resume", "--results", "r"]) == 0
    assert "SUPPORTED after 8 of 8 seeds" in capsys.readouterr().out


def test_plan_says_seeds_and_time_and_stores_nothing(
    file: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    before = sorted(tmp_path.iterdir())
    assert main(["plan", f"{file}:GOOD", "--json"]) == 0
    streams = capsys.readouterr()
    assert "a pilot of 2 seeds first, 4 trials, which are none of those" in streams.err
    (row,) = json.loads(streams.out)
    assert row["trials"] == 12
    assert row["predictions"][0]["seeds"]["0.8"] == 5
    assert [path for path in sorted(tmp_path.iterdir()) if path.name != "__pycache__"] == before


def test_list_names_what_is_ready_to_run(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "--json"]) == 0
    assert "extrema_growth" in [row["name"] for row in json.loads(capsys.readouterr().out)]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["run", "nope"], "There is no hypothesis 'nope' in the library"),
        (["run", "absent.py"], "There is no file"),
        (["run", "random.py"], "has the name of another module, 'random'"),
        (["run", "empty_of_claims.py"], "holds no hypothesis: assign one"),
        (["run", "empty_of_claims.py:X"], "holds no hypothesis 'X'; it holds none"),
        (["report", "--results", "r"], "There is no folder r; name the one that holds"),
        (["status", "--results", "r"], "There is no folder r"),
        (["resume", "--results", "r"], "There is no folder r"),
        (["compare", "--results", "r"], "There is no folder r"),
        (["list", "--results", "r"], "There is no folder r"),
        (["report", "--results", "."], ". holds no results of a lab"),
        (["report", "--results", "random.py"], "random.py is a file"),
        (["search", "nope"], "'nope' is no file"),
        (
            ["run", "broken_claims.py"],
            "cannot be imported: ValueError: no (line 2)",
        ),
        (["run", "unreadable_claims.py"], "unreadable_claims.py cannot be imported: SyntaxError"),
        (["run", "extrema_growth", "--results", "random.py"], "random.py is a file; name a folder"),
        (["search", "empty_of_claims.py"], "holds no search: assign one, NAME = Search(...)"),
        (["run", "extrema_growth", "--runner", "magic"], "runner must be one of"),
        (["plan", "extrema_growth", "--pilot", "1"], "A pilot needs 2 seeds or more"),
        (["run", "extrema_growth", "-j", "two"], "must be a whole number"),
        (["run", "extrema_growth", "-j", "0"], "must be a whole number from 1 on; got '0'"),
        (["run", "extrema_growth", "--seconds", "0"], "'--seconds': must be a number above 0"),
        (["run", "extrema_growth", "--memory", "inf"], "'--memory': must be a number above 0"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(
    words: list[str], said: str, file: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    for name in ("random.py", "empty_of_claims.py"):
        (tmp_path / name).write_text("")
    (tmp_path / "broken_claims.py").write_text("\nraise ValueError('no')\n")
    (tmp_path / "unreadable_claims.py").write_text("def x(:\n")
    assert main(words) == 2
    error = capsys.readouterr().err
    assert error.startswith("nal: ")
    assert said in error
    assert error.count("\n") == 1
    sys.modules.pop("empty_of_claims", None)


def test_what_is_not_among_the_results_is_said(
    file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", f"{file}:GOOD", "--results", "r"]) == 0
    capsys.readouterr()
    for command in ("report", "compare"):
        assert main([command, "absent", "--results", "r"]) == 2
        assert "There are no results of 'absent'; there are of good" in capsys.readouterr().err
    assert main(["report", "--html", "page.html", "--results", "r"]) == 2
    assert "Where a page goes is said by --out: nal report --out page.html" in (
        capsys.readouterr().err
    )


def test_compare_takes_several_folders_and_judges_them_together(
    file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for folder, seeds in (("r", "6"), ("s", "8")):
        assert main(["run", f"{file}:GOOD", "--results", folder, "--seeds", seeds]) == 0
    capsys.readouterr()
    folders = ["--results", "r", "--results", "s"]
    assert main(["compare", *folders, "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [(row["results"], row["pairs"]) for row in rows] == [("r", 6), ("s", 8)]
    assert main(["compare", "--results", "s", "--json"]) == 0
    (alone,) = json.loads(capsys.readouterr().out)  # the surer one, which Holm corrects for both
    assert rows[1]["corrected_p"] == pytest.approx(2 * alone["corrected_p"], rel=1e-6, abs=0)
    assert main(["compare", "good", *folders]) == 0
    assert "results" in capsys.readouterr().out
    assert main(["list", "--results", "s"]) == 0
    assert "hypothesis" in capsys.readouterr().out


def test_sources_that_cannot_be_read_are_said(file: str, tmp_path: Path) -> None:
    from neural_architecture_lab.cli.loading import remembered

    (tmp_path / SOURCES).write_text("{")
    with pytest.raises(StoreError, match="delete it"):
        remembered(tmp_path)


def test_a_hypothesis_that_is_no_longer_in_its_file_is_not_guessed(
    file: str, tmp_path: Path
) -> None:
    assert [one.id for one in hypotheses_of(file)] == ["good", "bad"]
    assert main(["run", f"{file}:GOOD", "--results", "r"]) == 0
    frozen = Archive(tmp_path / "r").hypotheses()["good"]
    assert found_again(frozen, {"good": f"{file}:GOOD"}).seeds == 6
    with pytest.raises(HypothesisError, match="no longer holds 'good'"):
        found_again(frozen, {"good": f"{file}:BAD"})
