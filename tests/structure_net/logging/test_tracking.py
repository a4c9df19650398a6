"""Records as rows and tables, whatever tracker takes them."""

from __future__ import annotations

import math
import warnings
from pathlib import Path

import pytest

from structure_net.errors import RecordError
from structure_net.logging import RecordStream, Spool, Stored, check_blob, read
from structure_net.logging.records import (
    Analysis,
    Artifact,
    Evidence,
    Hypothesis,
    Iteration,
    Missed,
    NetworkFacts,
    Profile,
    RecordModel,
    Resumed,
    Section,
    Trial,
)
from structure_net.logging.sinks import TensorBoardSink
from structure_net.logging.sinks.event_files import EventFile, crc32c, framed
from structure_net.logging.sinks.wandb_orders import artifact_order
from structure_net.logging.tracking import (
    WIDEST,
    Story,
    Table,
    artifact_name,
    dataset_text,
    numbers_of,
    row_of,
    run_name,
)
from tests.structure_net.logging.recorded import RUN, epoch, grow, start, write_run

FACTS = NetworkFacts(widths=(4, 3, 2), parameters=20, connections=18, density=0.5)
OTHERS: tuple[RecordModel, ...] = (
    Analysis(values={"dead": {"fc1": 0.25, "fc2": True}, "list": [1, 2]}),
    Iteration(iteration=2, network=FACTS, metrics={"train_loss": 0.5}, label="add 3"),
    Trial(trial="a", hypothesis="h", arm="wide", seed=1, status="finished", metrics={"acc": 0.9}),
    Evidence(hypothesis="h", verdict="inconclusive", reason="too few"),
    Hypothesis(hypothesis="h", name="h", question="q", prediction="p"),
    Profile(sections=(Section(name="forward", calls=1, seconds=2.0),), seconds=3.0),
    Missed(sink="wandb", first=1, last=2, records=2, reason="dead"),
    Resumed(after=1),
)


def spooled(folder: Path, *records: RecordModel) -> list[Stored]:
    with Spool(folder) as spool:
        return [spool.append(record) for record in records]


def test_each_record_of_any_kind_makes_one_row(tmp_path: Path) -> None:
    write_run(tmp_path)
    rows = [row_of(stored) for stored in (*read(tmp_path), *spooled(tmp_path, *OTHERS))]
    assert all(row["record"] for row in rows)
    assert {type(cell) for row in rows for cell in row.values()} <= {int, float, str, bool}
    assert {"run_started", "epoch", "edit", "growth", "artifact", "run_ended", "trial"} <= {
        row["record"] for row in rows
    }


def test_rows_hold_the_numbers_that_were_recorded(tmp_path: Path) -> None:
    analysis, iteration, trial, *_ = (row_of(one) for one in spooled(tmp_path, *OTHERS))
    assert analysis["analysis/dead/fc1"] == 0.25
    assert "analysis/list" not in analysis
    assert (iteration["iteration/train_loss"], iteration["network/width_1"]) == (0.5, 3)
    assert (trial["trial/acc"], trial["trial/arm"]) == (0.9, "wide")
    assert "trial/arm" not in numbers_of(trial)


def test_a_wide_analysis_is_cut(tmp_path: Path) -> None:
    values = {f"unit{place}": float(place) for place in range(10 * WIDEST)}
    (stored,) = spooled(tmp_path, Analysis(values={"score": values}))
    assert len([name for name in row_of(stored) if name.startswith("analysis/")]) == WIDEST


def test_tables_forget_what_a_resumed_run_superseded(tmp_path: Path) -> None:
    story = Story()
    with RecordStream(Spool(tmp_path)) as stream:
        stream.emit(start())
        grow(stream, 1)
        grow(stream, 2)
        stream.emit(Resumed(after=3))
    for stored in read(tmp_path):
        story.note(stored)
    growth = story.tables["growth"]
    assert isinstance(growth, Table)
    assert [row[0] for row in growth.rows] == [3]
    assert [row[-3:] for row in story.tables["lineage"].rows] == [("hidden", 3, 6)]
    assert set(story.tables) == {"growth", "lineage"}


def test_names_of_runs_and_artifacts_stay_the_same(tmp_path: Path) -> None:
    (begun,) = spooled(tmp_path / "a", start())
    (other,) = spooled(tmp_path / "b", epoch(1))
    assert run_name(begun) == RUN
    assert run_name(other) == run_name(next(read(tmp_path / "b")))
    assert len(run_name(other)) == 32
    assert artifact_name("a file.bin", RUN) == f"a-file.bin-{RUN[:12]}"
    assert dataset_text({"b": 1, "a": 2}) == dataset_text({"a": 2, "b": 1})


@pytest.mark.extras
def test_tensorboard_holds_the_numbers_under_the_records_numbers(tmp_path: Path) -> None:
    with warnings.catch_warnings():  # what tensorboard's own imports complain of
        warnings.simplefilter("ignore")
        event_accumulator = pytest.importorskip(
            "tensorboard.backend.event_processing.event_accumulator"
        )
        write_run(tmp_path, sinks=[TensorBoardSink()])
        found = event_accumulator.EventAccumulator(str(tmp_path / "tensorboard"))
        found.Reload()
    losses = [(event.step, event.value) for event in found.Scalars("train_loss")]
    steps = [stored.seq for stored in read(tmp_path) if stored.kind == "epoch"]
    assert [step for step, _ in losses] == steps
    assert all(
        math.isclose(value, 1 / number, rel_tol=1e-6)  # TensorBoard keeps float32
        for number, (_, value) in enumerate(losses, 1)
    )
    assert found.Tags()["images"] == ["evolution.png"]
    (picture,) = found.Images("evolution.png")
    kept = next(s.data["digest"] for s in read(tmp_path) if s.data.get("media") == "image/png")
    assert picture.encoded_image_string == check_blob(tmp_path, kept).path.read_bytes()
    (words,) = found.Tensors("growth/text_summary")
    assert b"(accepted)" in words.tensor_proto.string_val[0]


def test_the_checks_of_event_files_are_those_of_the_standard() -> None:
    assert crc32c(b"123456789") == 0xE3069283
    assert crc32c(bytes(32)) == 0x8A9136AA  # RFC 3720, B.4
    assert crc32c(b"\xff" * 32) == 0x62A8AB43
    assert framed(b"ab")[:8] == b"\x02" + bytes(7)
    assert len(framed(b"ab")) == 8 + 4 + 2 + 4


@pytest.mark.extras
def test_two_event_files_of_one_folder_do_not_overwrite_each_other(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    made = [EventFile(tmp_path) for _ in range(2)]
    for one in made:
        with pytest.raises(RecordError, match="PNG"):
            one.picture("a", b"no picture", step=1, moment=0.0)
        one.close()
    assert len(list(tmp_path.iterdir())) == 2


def stored(record: RecordModel) -> Stored:
    return Stored(1, "2026", record.kind, record.version, record.data_json())


def test_a_metric_never_takes_the_place_of_an_entry_of_the_record_or_of_the_tracker() -> None:
    names = ("epoch", "record", "_step", "_timestamp", "", "network/parameters", "loss")
    record = epoch(3).model_copy(update={"metrics": dict.fromkeys(names, 0.5)})
    row = row_of(stored(record))
    assert [row[name] for name in ("epoch", "record", "network/parameters")] == [3, "epoch", 50]
    assert {name for name, cell in row.items() if cell == 0.5} == {
        "loss",
        *(f"metrics/{name}" for name in names[:-1]),
    }


def test_whole_numbers_beyond_what_trackers_hold_are_floats_or_text() -> None:
    values = {"small": 2**62, "large": 2**70, "huge": 10**400}
    row = row_of(stored(Analysis(iteration=0, values=values)))
    assert (row["analysis/small"], row["analysis/large"]) == (2**62, float(2**70))
    assert str(row["analysis/huge"]).startswith("1000")
    assert "analysis/huge" not in numbers_of(row)


@pytest.mark.parametrize(
    ("name", "file"),
    [("../../etc/x", "etc/x"), ("/abs", "abs"), ("..", "file"), ("a\\..\\b/c", "a/b/c")],
)
def test_a_file_in_an_artifact_leads_nowhere_else(tmp_path: Path, name: str, file: str) -> None:
    with Spool(tmp_path) as spool:
        blob = spool.put(b"x")
        record = Artifact(name=name, type="report", digest=blob.digest, size=1)
        assert artifact_order(RUN, tmp_path, spool.append(record))["file"] == file
