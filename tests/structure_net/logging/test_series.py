"""Time series: what is written is read, lazily, by slices, without what a resumption superseded."""

from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import h5py
import numpy as np
import pytest

from structure_net.errors import SeriesError
from structure_net.logging.series import Column, Series, SeriesWriter, Table, present

ROOT = Path(__file__).resolve().parents[3]
Rows = Mapping[int, Mapping[str, float]]

ROWS: Rows = {
    1: {"loss": 2.5, "accuracy": 0.1},
    4: {"loss": float("nan"), "accuracy": 0.4},
    5: {"loss": float("inf")},
    9: {"gap": -0.5, "loss": 0.1},
}


def written(path: Path, rows: Rows, *, block: int = 3, table: str = "epoch") -> Path:
    with SeriesWriter(path, tables=("epoch", "resumed"), block=block) as writer:
        for seq, values in rows.items():
            writer.append(table, seq, values)
    return path


def held(path: Path, *, superseded: bool = False) -> dict[int, dict[str, float]]:
    """The rows of ``epoch`` as they were appended."""
    with Series(path, superseded=superseded) as series:
        table = series["epoch"]
        values, seq = table.values(), table.seq()
        there = present(values)
        return {
            int(number): {
                name: float(row[place]) for place, name in enumerate(table.columns) if known[place]
            }
            for number, row, known in zip(seq, values, there, strict=True)
        }


def same(one: Rows, two: Rows) -> bool:
    return repr({key: dict(sorted(one[key].items())) for key in one}) == repr(
        {key: dict(sorted(two[key].items())) for key in two}
    )


@pytest.mark.parametrize("block", [1, 2, 3, 64])
def test_every_row_is_read_as_it_was_written(tmp_path: Path, block: int) -> None:
    assert same(held(written(tmp_path / "a.h5", ROWS, block=block)), ROWS)


def test_what_was_not_recorded_is_told_from_a_nan_that_was(tmp_path: Path) -> None:
    with Series(written(tmp_path / "a.h5", ROWS)) as series:
        values = series["epoch"].values(columns=("loss", "gap"))
    assert present(values).tolist() == [[True, False], [True, False], [True, False], [True, True]]
    assert np.isnan(values[1, 0])


def test_slices_are_those_of_the_whole(tmp_path: Path) -> None:
    rows = {seq: {"a": seq * 1.0, "b": -seq} for seq in range(1, 40)}
    with Series(written(tmp_path / "a.h5", rows, block=4)) as series:
        table = series["epoch"]
        assert isinstance(table, Table)
        assert isinstance(table["a"], Column)
        whole, column = table.values(), np.asarray(table["b"], dtype=np.float32)
        for start, stop in [(0, 5), (None, None), (-3, None), (7, 7), (30, 200), (9, 3)]:
            assert np.array_equal(table.values(start, stop), whole[start:stop])
            assert np.array_equal(table.seq(start, stop), np.arange(1, 40)[start:stop])
            assert np.array_equal(table["b"][start:stop:2], column[start:stop:2])
        assert np.array_equal(table["b"][::-3], column[::-3])
        assert (len(table), len(table["a"])) == (39, 39)


def test_tables_columns_and_values_are_walked_through_and_counted_from_the_end(
    tmp_path: Path,
) -> None:
    rows = {seq: {"a": seq * 1.0, "b": -seq} for seq in range(1, 6)}
    with Series(written(tmp_path / "a.h5", rows, block=4)) as series:
        assert list(series) == ["epoch", "resumed"]
        assert "trial" not in series
        assert list(series["epoch"]) == ["a", "b"]
        column = series["epoch"]["a"]
        assert list(column) == [1, 2, 3, 4, 5]
        assert (column[0], column[-1]) == (1, 5)
        with pytest.raises(IndexError):
            column[5]


def test_blocks_are_the_whole_in_pieces(tmp_path: Path) -> None:
    rows = {seq: {"a": seq * 0.5} for seq in range(1, 12)}
    with Series(written(tmp_path / "a.h5", rows)) as series:
        pieces = list(series["epoch"].blocks(4))
        assert [len(seq) for seq, _ in pieces] == [4, 4, 3]
        assert np.concatenate([values for _, values in pieces])[:, 0].tolist() == [
            seq * 0.5 for seq in rows
        ]


def test_pandas_gets_the_numbers_of_the_records_as_its_index(tmp_path: Path) -> None:
    pytest.importorskip("pandas", reason="it comes with the extra `export`")
    with Series(written(tmp_path / "a.h5", ROWS)) as series:
        frame = series["epoch"].pandas(1, columns=("accuracy", "loss"))
    assert frame.index.tolist() == [4, 5, 9]
    assert frame.index.name == "seq"
    assert frame["loss"].tolist()[1:] == [float("inf"), 0.1]
    assert frame["accuracy"].isna().tolist() == [False, True, True]


def test_many_rows_at_once_are_the_rows_one_by_one(tmp_path: Path) -> None:
    rows = {seq: {"a": seq * 1.0, "b": float("nan")} for seq in range(2, 12)}
    path = tmp_path / "a.h5"
    with SeriesWriter(path, tables=("epoch",), block=4) as writer:
        writer.append("epoch", 1, {"c": 1.0})
        seq = np.arange(2, 12)
        writer.extend("epoch", seq, {"a": seq, "b": np.full(10, -np.nan)})
        writer.append("epoch", 12, {"c": 2.0})
        with pytest.raises(SeriesError, match="must ascend and follow row 12"):
            writer.extend("epoch", np.array([13, 13]), {"a": np.ones(2)})
    assert same(held(path), {1: {"c": 1.0}, **rows, 12: {"c": 2.0}})


def test_a_closed_file_goes_on_where_it_ended(tmp_path: Path) -> None:
    path = written(tmp_path / "a.h5", ROWS)
    with SeriesWriter.continued(path) as writer:
        assert (writer.last, writer.tables) == (9, ("epoch", "resumed"))
        writer.append("epoch", 10, {"new": 1.0, "loss": 0.2})
    assert same(held(path), {**ROWS, 10: {"loss": 0.2, "new": 1.0}})


def test_rows_that_a_resumption_superseded_are_left_out_unless_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with SeriesWriter(path, tables=("epoch", "resumed"), block=2) as writer:
        for seq in range(1, 7):
            writer.append("epoch", seq, {"a": seq})
        writer.append("resumed", 7, {"after": 4})
        for seq in (8, 9):
            writer.append("epoch", seq, {"a": seq})
        writer.append("resumed", 10, {"after": 2})
        writer.append("epoch", 11, {"a": 11})
    assert list(held(path)) == [1, 2, 11]
    assert list(held(path, superseded=True)) == [1, 2, 3, 4, 5, 6, 8, 9, 11]
    with Series(path) as series:
        assert series["epoch"]["a"][1:].tolist() == [2, 11]
        assert series["epoch"].seq(-1).tolist() == [11]


def test_a_reader_sees_no_row_before_the_writer_flushes_it(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    program = (
        "import sys\n"
        "from structure_net.logging.series import Series\n"
        "with Series(sys.argv[1]) as series:\n"
        "    for line in sys.stdin:\n"
        "        series.refresh()\n"
        "        sys.stdout.write(f'{len(series[\"epoch\"])}\\n')\n"
        "        sys.stdout.flush()\n"
    )
    with SeriesWriter(path, tables=("epoch",), block=4) as writer:
        command = [sys.executable, "-c", program, str(path)]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        with subprocess.Popen(command, text=True, cwd=ROOT, **pipes) as reader:
            assert reader.stdin is not None
            assert reader.stdout is not None
            seen = []
            for seq in range(1, 7):
                writer.append("epoch", seq, {"a": 1.0, f"b{seq}": 2.0})
                if seq == 6:
                    writer.flush()
                reader.stdin.write("look\n")
                reader.stdin.flush()
                seen.append(int(reader.stdout.readline()))
            reader.stdin.close()
    assert seen == [0, 0, 0, 4, 4, 6]


LARGE = """
import sys
import numpy as np
from structure_net.logging.series import Series, SeriesWriter
def peak():  # KiB; getrusage would count the memory of the process that began this one
    return int(open("/proc/self/status").read().split("VmHWM:")[1].split()[0])
base = peak()
rows = 2_000_000
with SeriesWriter(sys.argv[1], tables=("epoch",), block=4096) as writer:
    for start in range(1, rows + 1, 10_000):
        seq = np.arange(start, start + 10_000)
        writer.extend("epoch", seq, {"a": seq, "b": -seq, "c": seq / 7, "d": seq, "e": seq})
total = 0.0
with Series(sys.argv[1]) as series:
    table = series["epoch"]
    for _, values in table.blocks():
        total += values[:, 0].sum()
    assert table["b"][1_234_566:1_234_567].tolist() == [-1_234_567.0]
assert total == rows * (rows + 1) / 2
print(peak() - base)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads what Linux tells")
def test_two_million_rows_never_have_to_fit_in_memory(tmp_path: Path) -> None:
    # 2e6 rows of 5 values and a number are 96 MB; the loading of h5py itself takes some 20 MB.
    command = [sys.executable, "-c", LARGE, str(tmp_path / "a.h5")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    assert int(done.stdout) < 60 * 1024


def refused(action: str, path: Path) -> str:
    with pytest.raises(SeriesError) as caught:
        {
            "write": lambda: SeriesWriter(path, tables=("epoch",)),
            "go on": lambda: SeriesWriter.continued(path),
            "read": lambda: Series(path),
        }[action]()
    return str(caught.value)


def test_errors_of_files_name_the_file_and_the_way_out(tmp_path: Path) -> None:
    path = written(tmp_path / "a.h5", ROWS)
    absent, noise, other = (tmp_path / name for name in ("absent.h5", "noise.h5", "other.h5"))
    noise.write_bytes(b"no HDF5 at all")
    with h5py.File(other, "w") as file:
        file["x"] = 1
    assert "exists already" in refused("write", path)
    assert "folder does not exist" in refused("write", tmp_path / "no" / "a.h5")
    assert "does not exist" in refused("go on", absent)
    assert "makes it anew from its spool" in refused("go on", noise)
    assert "makes it anew from its spool" in refused("read", noise)
    assert f"{other} holds no time series" in refused("read", other)
    assert "has changed since it was closed" in refused("go on", other)
    with h5py.File(path, "r+") as file:
        file.attrs["version"] = 7
    assert "of version 7" in refused("read", path)


def test_rows_that_cannot_be_stored_are_refused_in_words(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with SeriesWriter(path, tables=("epoch",)) as writer:
        writer.append("epoch", 3, {"a": 1})
        for table, seq, values, said in [
            ("epoch", 3, {"a": 1}, "must follow row 3; got 3"),
            ("epochs", 4, {"a": 1}, "no table 'epochs'"),
            ("epoch", 4, {"": 1}, "1 to 255 bytes"),
            ("epoch", 4, {"ä" * 128: 1}, "1 to 255 bytes"),
            ("epoch", 4, {f"c{k}": 1 for k in range(512)}, "at most 512 columns"),
        ]:
            with pytest.raises(SeriesError, match=said):
                writer.append(table, seq, values)
        writer.append("epoch", 4, {"a": 2, "µ": 3})
    assert {seq: row["a"] for seq, row in held(path).items()} == {3: 1, 4: 2}
    with Series(path) as series:
        with pytest.raises(SeriesError, match="no table 'epochs'"):
            series["epochs"]
        with pytest.raises(SeriesError, match="no column 'b'"):
            series["epoch"]["b"]
    for arguments, said in [({"block": 0}, "block"), ({"tables": ()}, "tables")]:
        with pytest.raises(ValueError, match=said):
            SeriesWriter(tmp_path / "b.h5", **{"tables": ("epoch",), **arguments})


def test_a_full_disk_is_told_of_with_the_way_out(tmp_path: Path) -> None:
    program = (
        "import resource, signal, sys\n"
        "from structure_net.errors import SeriesError\n"
        "from structure_net.logging.series import SeriesWriter\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "writer = SeriesWriter(sys.argv[1], tables=('epoch',), block=1)\n"
        "writer.append('epoch', 1, {'a': 1.0})\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536))\n"
        "try:\n"
        "    for seq in range(2, 10_000):\n"
        "        writer.append('epoch', seq, {f'a{seq % 300}': 1.0})\n"
        "except SeriesError as error:\n"
        "    print(error)\n"
        "    sys.stdout.flush()\n"
        "    import os; os._exit(0)\n"
    )
    assert resource.RLIMIT_FSIZE
    path = tmp_path / "a.h5"
    command = [sys.executable, "-c", program, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert f"{path} cannot be written" in done.stdout, done.stderr
    assert f"`structure-net rebuild {tmp_path}` makes it anew" in done.stdout
