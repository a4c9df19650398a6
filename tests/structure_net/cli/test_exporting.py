"""``structure-net rebuild`` and ``export``: time series from the records alone."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from structure_net.cli import main
from structure_net.errors import SeriesError
from structure_net.logging import Spool
from structure_net.logging.locking import unwritten
from structure_net.logging.series import Series, SeriesWriter, check_series, export_csv
from structure_net.logging.series.layout import anew
from tests.structure_net.logging.recorded import write_run


@pytest.fixture
def run(tmp_path: Path) -> Path:
    write_run(tmp_path / "run" / "records", artifacts=False)
    return tmp_path / "run"


def test_rebuild_makes_the_series_that_the_records_tell_of(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = run / "records" / "series.h5"
    path.write_bytes(b"damaged")
    (problem,) = check_series(path)
    assert f"`structure-net rebuild {path.parent}`" in anew(path)
    assert problem.what.endswith(anew(path))
    assert main(["rebuild", str(path.parent)]) == 0
    assert capsys.readouterr().out == f"{path}: rows: 6 of epoch\n"
    assert list(check_series(path)) == []
    with Series(path) as series:
        assert list(series["epoch"]["epoch"]) == [1, 2, 3, 4, 5, 6]


def test_damaged_records_are_left_out_and_told_of(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spool = run / "records" / "records.jsonl"
    spool.write_bytes(spool.read_bytes().replace(b'"epoch":2', b'"epoch":9', 1))
    assert main(["rebuild", str(run), "--json"]) == 1
    out, error = capsys.readouterr()
    assert json.loads(out)["rows"] == {"epoch": 5}
    assert "line 3: the record is damaged" in error
    assert error.endswith("; it is left out\n")


def test_what_is_being_written_is_not_rebuilt(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Spool(run / "records"):
        assert main(["rebuild", str(run)]) == 2
    assert "is being written by another program" in capsys.readouterr().err
    assert not (run / "records" / "series.h5").exists()
    with unwritten(run / "records" / "records.jsonl"):
        assert main(["rebuild", str(run)]) == 2
    with pytest.raises(FileNotFoundError), unwritten(run / "no.jsonl"):
        pass


def test_export_needs_no_series_and_leaves_the_run_as_it_was(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    before = sorted(run.rglob("*"))
    target = run.parent / "epochs.parquet"
    assert main(["export", str(run), "--parquet", str(target)]) == 0
    assert capsys.readouterr().out == f"{target}: 6 rows of epoch, 9 columns\n"
    assert parquet.read_table(target).to_pydict()["epoch"] == [1, 2, 3, 4, 5, 6]
    assert sorted(run.rglob("*")) == before
    assert main(["export", str(run), "--parquet", str(target), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["rows"] == 6


def test_export_writes_csv_with_all_digits_and_empty_cells(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "epochs.csv"
    assert main(["export", str(run), "--csv", str(target)]) == 0
    assert capsys.readouterr().out == f"{target}: 6 rows of epoch, 9 columns\n"
    with target.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["epoch"]) for row in rows] == [1, 2, 3, 4, 5, 6]
    assert [float(row["train_loss"]) for row in rows] == [1 / n for n in range(1, 7)]
    with SeriesWriter(tmp_path / "a.h5", tables=("epoch",)) as writer:
        writer.append("epoch", 1, {"a,b": float("inf")})
        writer.append("epoch", 2, {"c": float("nan")})
    with Series(tmp_path / "a.h5") as series:
        export_csv(series["epoch"], target)
        with pytest.raises(SeriesError, match="cannot be written"):
            export_csv(series["epoch"], tmp_path / "nowhere" / "a.csv")
    assert target.read_text(encoding="utf-8").splitlines() == ['seq,"a,b",c', "1,inf,", "2,,nan"]


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--csv", "a.csv"], "Name one file to write"),
        (["--table", "profile"], "has no rows of 'profile'; it has rows of: epoch."),
        (["--parquet", "nowhere/a.parquet"], "its folder does not exist"),
    ],
)
def test_export_says_what_is_wrong(
    run: Path, flags: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", str(run), "--parquet", str(run / "a.parquet"), *flags]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
