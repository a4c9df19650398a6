"""`structure-net analyze`: of a run and of a checkpoint, whole or not at all, nothing changed."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from pathlib import Path

import pytest

from structure_net.cli import main
from structure_net.runs.analysis import TOPICS

FLAGS = ["--iterations", "2", "--epochs", "1", "--density", "0.05", "--seed", "3"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("evolved") / "run"
    assert main(["evolve", *FLAGS, "--json", "--out", str(folder)]) == 0
    return folder


@pytest.fixture(scope="module")
def report(run: Path) -> Path:
    out = run.parent / "report"
    assert main(["analyze", str(run), "--batches", "3", "--out", str(out)]) == 0
    return out


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("STRUCTURE_NET_DATA", raising=False)
    return tmp_path


def said(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    code = main(["analyze", *map(str, words)])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def refused(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    """The one line that the command ends with."""
    code, _, err = said(capsys, *words)
    assert code == 2
    assert err.count("\n") == 1
    assert err.startswith("structure-net: ")
    return err


def digests(folder: Path) -> dict[str, str]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_the_page_shows_every_picture_that_lies_beside_it(report: Path) -> None:
    shown = re.findall(r"!\[[^]]*\]\(([^)]+)\)", (report / "report.md").read_text())
    pictures = {path.name for path in report.glob("*.png")}
    assert sorted(shown) == sorted(pictures)
    assert {path.name for path in report.iterdir()} == pictures | {"report.md", "analysis.json"}
    assert {"bottlenecks.png", "map_barcode.png", "decision_log.png", "lineage.png"} < pictures
    for path in report.glob("*.png"):
        assert path.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_the_page_names_every_layer_and_what_each_analyzer_would_do(report: Path) -> None:
    text = (report / "report.md").read_text()
    assert all(f"| `layers.{number}` | " in text for number in range(3))
    assert all(f"| `{topic}` | " in text for topic in TOPICS)
    assert "structure-net analyze" in text
    assert "`digits`" in text


def test_the_numbers_hold_the_keys_of_every_topic(report: Path) -> None:
    document = json.loads((report / "analysis.json").read_text())
    assert document["kind"] == "structure_net.analysis"
    assert document["topics"] == list(TOPICS)
    prefixes = {key.partition("_")[0] for key in document["values"]}
    assert prefixes == set(TOPICS)
    assert document["batches"] == 3
    assert document["seed"] == 3


def test_an_analysis_changes_nothing_of_the_run(
    run: Path, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = digests(run)
    code, _, _ = said(capsys, run, "--only", "extrema,network", "--out", place / "report")
    assert code == 0
    assert digests(run) == before


def test_only_some_topics_are_looked_at(
    run: Path, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = said(capsys, run, "--only", "network, extrema", "--out", "report")
    assert code == 0
    assert out.splitlines()[-1] == "report/report.md"
    values = json.loads((place / "report" / "analysis.json").read_text())["values"]
    assert {key.partition("_")[0] for key in values} == {"network", "extrema"}
    pictures = {path.stem for path in (place / "report").glob("*.png")}
    assert pictures == {"extrema", "rankings", "decision_log", "lineage"}


def test_the_same_analysis_has_the_same_numbers_from_the_run_and_from_its_checkpoint(
    run: Path, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--only", "network,graph,homology", "--json")
    code, one, _ = said(capsys, run, *words, "--out", "one")
    assert code == 0
    file = shutil.copy(run / "checkpoint.safetensors", place / "net.safetensors")
    named = ("--dataset", "digits", "--seed", "3")
    code, two, _ = said(capsys, file, *named, *words, "--out", "two")
    assert code == 0
    first, second = json.loads(one)["values"], json.loads(two)["values"]
    # Derivatives are taken at samples, which lie in another order: a file knows no epochs.
    assert first.pop("homology_jacobians").keys() == second.pop("homology_jacobians").keys()
    assert first == second


def test_json_is_one_document_and_words_go_to_standard_error(
    run: Path, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, out, err = said(capsys, run, "--only", "extrema", "--json", "--out", "report")
    document = json.loads(out)
    assert document.pop("report") == "report"
    assert document == json.loads((place / "report" / "analysis.json").read_text())
    assert "extrema: " in err


def test_the_default_folder_is_under_reports_and_named_after_the_run(
    run: Path, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, out, _ = said(capsys, run, "--only", "network")
    assert re.match(r"reports/run-\d{8}-\d{6}/report\.md", out.splitlines()[-1])
    assert [path.name for path in place.iterdir()] == ["reports"]


REFUSALS = [
    (["nowhere"], "does not exist"),
    (["."], "holds no run.json"),
    (["RUN", "--only", "topolgy"], "Did you mean topology?"),
    (["RUN", "--only", ""], "unknown topic ''"),
    (["RUN", "--batches", "0"], "batches must be 1 or more; got 0"),
    (["RUN", "--batches", "many"], "must be a whole number"),
    (["RUN", "--batch-size", "0"], "batch_size must be 1 or more; got 0"),
    (["RUN", "--device", "abacus"], "unknown device 'abacus'"),
    (["RUN", "--dataset", "digitz"], "digitz"),
    (["RUN", "--dataset", "spirals"], "takes 64 features to 10 outputs"),
    (["CHECKPOINT"], "Name them with --dataset"),
    (["CHECKPOINT", "--dataset", "parity"], "Name the data that it learned from"),
    (["TEXT", "--dataset", "digits"], "notes.txt"),
]  # fmt: skip


@pytest.mark.parametrize(("words", "message"), REFUSALS, ids=[" ".join(w) for w, _ in REFUSALS])
def test_what_cannot_be_analyzed_is_refused_and_nothing_is_left(
    run: Path, place: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    text = place / "notes.txt"
    text.write_text("no tensors")
    named = {"RUN": run, "CHECKPOINT": run / "checkpoint.safetensors", "TEXT": text}
    full = [str(named.get(word, word)) for word in words]
    assert message in refused(capsys, *full, "--out", "deep/report")
    assert [path.name for path in place.iterdir()] == ["notes.txt"]


def test_a_folder_that_exists_is_not_taken(
    run: Path, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (place / "report").mkdir()
    (place / "report" / "mine.txt").write_text("mine")
    assert "exists already" in refused(capsys, run, "--out", "report")
    assert [path.name for path in (place / "report").iterdir()] == ["mine.txt"]


def test_a_place_that_cannot_be_written_is_one_line(
    run: Path, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (place / "file").write_text("in the way")
    assert "file" in refused(capsys, run, "--only", "network", "--out", "file/report")
    assert [path.name for path in place.iterdir()] == ["file"]


def test_other_data_than_the_runs_are_looked_at_where_they_are_named(
    run: Path, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = json.loads((run / "run.json").read_text())
    copy = place / "copy"
    shutil.copytree(run, copy)
    record["dataset"]["checksum"] = "another"
    (copy / "run.json").write_text(json.dumps(record))
    assert "not the one that the run learned from" in refused(capsys, copy, "--out", "report")
    code, _, _ = said(capsys, copy, "--dataset", "digits", "--only", "network", "--out", "report")
    assert code == 0
