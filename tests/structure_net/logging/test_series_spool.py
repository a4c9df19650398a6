"""Time series and the spool behind them: after any kill the rebuilt file equals the spool."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path
from time import sleep

import pytest

from structure_net.errors import SeriesError
from structure_net.logging import RecordStream, Sink, Spool, read
from structure_net.logging.records import (
    Analysis,
    Epoch,
    Iteration,
    NetworkFacts,
    Profile,
    Resumed,
    RunStarted,
    Section,
    Trial,
)
from structure_net.logging.series import (
    SERIES,
    TABLES,
    Series,
    SeriesWriter,
    catch_up,
    export_parquet,
    present,
    rebuild,
    row_of,
)
from structure_net.logging.sinks import SeriesSink

ROOT = Path(__file__).resolve().parents[3]


def epoch(number: int, **metrics: float) -> Epoch:
    return Epoch(
        epoch=number,
        iteration=number // 3,
        step=number * 7,
        metrics=metrics,
        parameters=9,
        connections=8,
    )


def content(path: Path) -> dict[str, object]:
    """Every table of a file, bit for bit."""
    with Series(path, superseded=True) as series:
        return {
            name: (
                series[name].columns,
                series[name].seq().tobytes(),
                series[name].values().tobytes(),
            )
            for name in series.tables
        }


def test_rows_hold_the_numbers_of_their_records_under_plain_names() -> None:
    facts = NetworkFacts(widths=(4, 3), parameters=15, connections=12, density=1.0)
    assert row_of(RunStarted(run="a")) is None
    assert row_of(epoch(4, loss=0.5, step=2.0)) == (
        "epoch",
        {
            "epoch": 4,
            "iteration": 1,
            "step": 28,
            "loss": 0.5,
            "metrics.step": 2.0,
            "parameters": 9,
            "connections": 8,
            "seconds": 0.0,
            "elapsed": 0.0,
        },
    )
    assert row_of(Analysis(values={"dead": 0.25, "by_layer": {"fc": 1}, "epoch": 3})) == (
        "analysis",
        {"iteration": 0, "epoch": 0, "step": 0, "dead": 0.25, "values.epoch": 3},
    )
    assert row_of(Iteration(iteration=1, network=facts, metrics={"loss": 2.0})) == (
        "iteration",
        {
            "iteration": 1,
            "network.parameters": 15,
            "network.connections": 12,
            "network.density": 1.0,
            "loss": 2.0,
            "seconds": 0.0,
        },
    )
    profile = Profile(sections=(Section(name="forward", calls=2, seconds=0.5),), seconds=1.0)
    assert row_of(profile) == (
        "profile",
        {"forward.calls": 2, "forward.seconds": 0.5, "seconds": 1.0},
    )
    trial = Trial(trial="a", status="finished", seed=3, factors={"rate": 0.1, "arm": "b"})
    table, row = row_of(trial) or ("", {})
    assert (table, row["seed"], row["factors.rate"]) == ("trial", 3, 0.1)
    assert "factors.arm" not in row


def test_the_sink_writes_what_a_rebuilt_file_holds(tmp_path: Path) -> None:
    sink = SeriesSink(block=4)
    assert isinstance(sink, Sink)
    with RecordStream(Spool(tmp_path), [sink]) as stream:
        stream.emit(RunStarted(run="a"))
        for number in range(1, 11):
            stream.emit(epoch(number, loss=1 / number))
        assert stream.flush()
    assert not stream.troubles
    written = content(tmp_path / SERIES)
    assert content(rebuild(tmp_path, block=7)) == written
    with Series(tmp_path / SERIES) as series:
        assert series.tables == tuple(sorted(TABLES))
        assert series["epoch"].seq().tolist() == list(range(2, 12))
        assert series["epoch"]["loss"][:].tolist() == [1 / n for n in range(1, 11)]


@pytest.mark.parametrize("state", ["closed", "absent", "noise"])
def test_a_resumed_run_goes_on_in_the_same_file(tmp_path: Path, state: str) -> None:
    with RecordStream(Spool(tmp_path), [SeriesSink()]) as stream:
        for number in range(1, 7):
            stream.emit(epoch(number, loss=1.0))
    if state == "absent":
        (tmp_path / SERIES).unlink()
    if state == "noise":
        (tmp_path / SERIES).write_bytes(b"cut off")
    with RecordStream(Spool(tmp_path), [SeriesSink()]) as stream:
        stream.emit(Resumed(after=3, iteration=1))
        for number in range(4, 6):
            stream.emit(epoch(number, loss=0.5))
    with Series(tmp_path / SERIES) as series:
        assert series["epoch"]["loss"][:].tolist() == [1, 1, 1, 0.5, 0.5]
        assert series["epoch"]["epoch"][:].tolist() == [1, 2, 3, 4, 5]
    written = content(tmp_path / SERIES)
    assert content(rebuild(tmp_path)) == written


WRITER = """
import itertools, sys
from pathlib import Path
from structure_net.logging import Source, Spool, read
from structure_net.logging.records import Epoch
from structure_net.logging.sinks import SeriesSink
folder = Path(sys.argv[1])
spool, sink = Spool(folder), SeriesSink(block=8)
sink.open(Source(folder, spool.last))
for number in itertools.count(1):
    metrics = {"a": number, "b": -number, **({f"c{number % 40}": 1.0} if number % 5 == 0 else {})}
    record = Epoch(epoch=number, step=number, metrics=metrics, parameters=1, connections=1)
    stored = spool.append(record)
    sink.write(stored)
    if number % 13 == 0:
        sink.flush(1.0)
        sys.stdout.write(f"{stored.seq}\\n")
        sys.stdout.flush()
"""


def killed(folder: Path, seconds: float) -> int:
    """Kills a writer and returns the number of the last row that it said was written."""
    command = [sys.executable, "-c", WRITER, str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as writer:
        assert writer.stdout is not None
        first = writer.stdout.readline()
        sleep(seconds)
        writer.kill()
        return int((first + writer.stdout.read()).split("\n")[-2])


@pytest.mark.parametrize("seed", range(4))
def test_a_killed_writer_loses_no_row_that_it_acknowledged(tmp_path: Path, seed: int) -> None:
    last = killed(tmp_path, random.Random(seed).uniform(0.0, 0.3))
    with Series(tmp_path / SERIES) as series:
        table = series["epoch"]
        seq = table.seq()
        assert len(seq) >= last
        assert seq.tolist() == list(range(1, len(seq) + 1))
        assert (table["a"][:] == seq).all()
        assert (table["b"][:] == -seq).all()
    with pytest.raises(SeriesError, match="or was killed"):
        SeriesWriter.continued(tmp_path / SERIES)
    rebuild(tmp_path)
    with Series(tmp_path / SERIES) as series:
        assert series["epoch"].seq().tolist() == [stored.seq for stored in read(tmp_path)]


def test_catching_up_adds_only_what_is_not_there(tmp_path: Path) -> None:
    with Spool(tmp_path) as spool:
        spool.append(epoch(1, loss=1.0))
        path = rebuild(tmp_path)
        spool.append(epoch(2, loss=0.5))
    for _ in range(2):
        with SeriesWriter.continued(path) as writer:
            catch_up(writer, tmp_path)
    with Series(path) as series:
        assert series["epoch"]["loss"][:].tolist() == [1.0, 0.5]


def test_parquet_holds_the_table_with_nulls_where_nothing_was_recorded(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="it comes with the extra `export`")
    with Spool(tmp_path) as spool:
        spool.append(epoch(1, loss=float("nan")))
        spool.append(epoch(2, other=3.0))
    with Series(rebuild(tmp_path)) as series:
        export_parquet(series["epoch"], tmp_path / "epoch.parquet")
        assert present(series["epoch"].values(columns=("other",))).tolist() == [[False], [True]]
    columns = parquet.read_table(tmp_path / "epoch.parquet").to_pydict()
    assert columns["seq"] == [1, 2]
    assert columns["other"] == [None, 3.0]
    assert columns["loss"][1] is None
    assert columns["loss"][0] != columns["loss"][0]


def test_exporting_without_the_extra_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with SeriesWriter(tmp_path / SERIES, tables=TABLES) as writer:
        writer.append("epoch", 1, {"a": 1.0})
    for name in ("pandas", "pyarrow"):
        monkeypatch.setitem(sys.modules, name, None)
    with Series(tmp_path / SERIES) as series:
        with pytest.raises(ImportError, match=r"structure-net\[export\]"):
            series["epoch"].pandas()
        with pytest.raises(ImportError, match=r"structure-net\[export\]"):
            export_parquet(series["epoch"], tmp_path / "a.parquet")
