"""Time series in a hostile world: names that no file can hold, damaged files, too many metrics."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from structure_net.errors import SeriesError
from structure_net.logging import RecordStream, Spool
from structure_net.logging.records import Analysis, Epoch
from structure_net.logging.series import (
    SERIES,
    Series,
    SeriesWriter,
    check_series,
    export_csv,
    rebuild,
)
from structure_net.logging.series.layout import COLUMNS, is_written, readable
from structure_net.logging.series.rows import column_name
from structure_net.logging.series.sealing import is_sealed, seal, unseal
from structure_net.logging.sinks import SeriesSink
from tests.structure_net.logging.test_series_spool import content

NAMES = ("", "a\0b", "a\0c", "m" * 4000 + "1", "m" * 4000 + "2", "ü" * 200, "a\nb/c")


def epoch(number: int, *names: str) -> Epoch:
    metrics = dict.fromkeys(names, float(number))
    return Epoch(epoch=number, step=number, metrics=metrics, parameters=1, connections=1)


def test_any_name_has_a_column_of_its_own() -> None:
    columns = [column_name(name) for name in NAMES]
    assert len(set(columns)) == len(NAMES)
    assert all(0 < len(name.encode()) <= 255 and "\0" not in name for name in columns)
    assert column_name("loss") == "loss"


def test_what_the_sink_wrote_under_any_names_is_what_a_rebuilt_file_holds(tmp_path: Path) -> None:
    with RecordStream(Spool(tmp_path), [SeriesSink()], patience=250.0) as stream:
        stream.emit(epoch(1, *NAMES, "seq", "epoch"))
        stream.emit(Analysis(iteration=0, values={"huge": 10**400, "large": 2**70}))
    assert stream.troubles == ()
    written = content(tmp_path / SERIES)
    assert content(rebuild(tmp_path)) == written
    assert list(check_series(tmp_path / SERIES)) == []
    with Series(tmp_path / SERIES) as series:
        assert len(series["epoch"].columns) >= len(NAMES) + 2
        assert series["epoch"]["metrics.seq"][0] == series["epoch"]["epoch"][0] == 1.0
        assert "huge" not in series["analysis"].columns


def test_metrics_beyond_the_room_of_a_table_are_left_to_the_spool_and_told_of_once(
    tmp_path: Path,
) -> None:
    names = [f"m{number}" for number in range(2 * COLUMNS)]
    with RecordStream(Spool(tmp_path), [SeriesSink()], patience=250.0) as stream:
        for number in range(1, 21):
            stream.emit(epoch(number, *names))
    (trouble,) = stream.troubles
    assert (trouble.first, trouble.records) == (1, 1)
    assert "in the spool alone" in trouble.reason
    written = content(tmp_path / SERIES)
    assert content(rebuild(tmp_path)) == written
    assert list(check_series(tmp_path / SERIES)) == []
    with Series(tmp_path / SERIES) as series:
        assert (len(series["epoch"]), len(series["epoch"].columns)) == (20, COLUMNS)
        assert "parameters" in series["epoch"].columns


def test_a_damaged_file_is_an_error_of_ours_at_once_wherever_it_is_damaged(tmp_path: Path) -> None:
    with Spool(tmp_path) as spool:
        for number in range(1, 120):
            spool.append(epoch(number, "loss"))
    path = rebuild(tmp_path, block=16)
    whole, chance, refused = path.read_bytes(), random.Random(0), 0
    for turn in range(24):
        damaged = bytearray(whole)
        if turn % 3:
            damaged[chance.randrange(12, len(whole))] ^= 1 << chance.randrange(8)
        else:
            del damaged[chance.randrange(12, len(whole)) :]
        path.write_bytes(damaged)
        try:
            with Series(path) as series:
                for name in series:
                    series[name].values()
                    series[name].seq()
                    export_csv(series[name], tmp_path / "table.csv")
            SeriesWriter.continued(path).close()
        except SeriesError:
            refused += 1
        list(check_series(path))
    assert refused >= 8  # a third of the files was cut


def test_a_run_goes_on_with_no_file_of_which_a_bit_was_flipped(tmp_path: Path) -> None:
    with RecordStream(Spool(tmp_path), [SeriesSink(block=16)], patience=250.0) as stream:
        for number in range(1, 50):
            stream.emit(epoch(number, "loss"))
    path = tmp_path / SERIES
    whole, wanted, chance = path.read_bytes(), content(path), random.Random(0)
    for place in (chance.randrange(len(whole)) for _ in range(40)):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << chance.randrange(8)
        path.write_bytes(damaged)
        with pytest.raises(SeriesError, match="changed since it was closed"):
            SeriesWriter.continued(path)
    assert [problem.what for problem in check_series(path)]
    with RecordStream(Spool(tmp_path), [SeriesSink(block=16)], patience=250.0) as stream:
        stream.flush(250.0)
    assert stream.troubles == ()
    assert content(path) == wanted
    assert is_sealed(path)


def test_a_seal_is_of_all_bytes_and_comes_off_once(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"content" * 300_000)
    assert is_sealed(path) is None
    seal(path)
    assert is_sealed(path) is True
    assert (unseal(path), unseal(path)) == (True, False)
    assert path.read_bytes() == b"content" * 300_000


def test_a_reader_follows_a_writer_that_comes_after_it(tmp_path: Path) -> None:
    path = tmp_path / SERIES
    with SeriesWriter(path, tables=("epoch",)) as writer:
        assert is_written(path)
        writer.append("epoch", 1, {"a": 1.0})
    assert not is_written(path)
    with Series(path) as series:
        table = series["epoch"]
        assert len(table) == 1
        with SeriesWriter(tmp_path / "new.h5", tables=("epoch",)) as writer:
            writer.append("epoch", 1, {"a": 1.0})
            writer.append("epoch", 2, {"a": 2.0})
        (tmp_path / "new.h5").replace(path)
        series.refresh()
        assert (len(table), table["a"][:].tolist()) == (2, [1.0, 2.0])
        path.unlink()
        with pytest.raises(SeriesError, match="rebuild"):
            series.refresh()


def test_whatever_hdf5_raises_becomes_one_error() -> None:
    for error in (OSError("a"), RuntimeError("b"), KeyError("c"), AttributeError("d")):
        with pytest.raises(SeriesError, match=r"x\.h5 is damaged"), readable("x.h5"):
            raise error


def test_a_writer_leaves_out_only_what_has_no_room(tmp_path: Path) -> None:
    with SeriesWriter(tmp_path / SERIES, tables=("epoch",)) as writer:
        many = {f"m{number}": 1.0 for number in range(COLUMNS + 3)}
        left = writer.append_what_fits("epoch", 1, many)
        assert left == tuple(f"m{COLUMNS + number}" for number in range(3))
        assert writer.append_what_fits("epoch", 2, {"m0": 1.0}) == ()


_FULL = """
import resource, sys
from pathlib import Path
from structure_net.errors import SeriesError
from structure_net.logging.series import SeriesWriter
path = Path(sys.argv[1])
writer = SeriesWriter(path, tables=("epoch", "iteration"))
for seq in range(1, 100):
    writer.append("epoch", seq, {"a": seq / 7})
    writer.flush()
size = path.stat().st_size + 100
resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
try:
    for seq in range(100, 3000):
        writer.append("epoch", seq, {"a": seq / 7, "b": seq / 3})
        writer.flush()
except SeriesError:
    print("full")
try:
    writer.close()
except SeriesError:
    print("closed")
writer.close()
"""


@pytest.mark.skipif(os.name == "nt", reason="files have no limit there")
def test_a_program_whose_disk_was_full_ends_as_it_meant_to(tmp_path: Path) -> None:
    words = [sys.executable, "-c", _FULL, str(tmp_path / SERIES)]
    done = subprocess.run(words, check=False, capture_output=True, text=True)
    assert (done.returncode, done.stdout.split()) == (0, ["full", "closed"])
