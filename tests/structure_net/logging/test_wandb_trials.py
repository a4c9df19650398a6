"""A lab's trials as runs of W&B: offline read back with its own reader, and through the queue."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from structure_net.logging import RecordStream, Sink, Spool, read
from structure_net.logging.records import Evidence, Hypothesis, Trial
from structure_net.logging.sending import Sender, WandbDestination
from structure_net.logging.sinks import WandbSink, WandbTarget
from structure_net.logging.sinks.wandb_orders import lab_order
from structure_net.logging.sinks.wandb_trials import MARK, is_told, trial_order, trial_run
from structure_net.logging.tracking import run_name
from tests.structure_net.logging.stub_server import serving

pytestmark = pytest.mark.timeout(600)


def trial(arm: str, seed: int, **changes: Any) -> Trial:
    said: dict[str, Any] = {
        "trial": f"deeper/{arm}/0/{seed}",
        "hypothesis": "deeper",
        "arm": arm,
        "seed": seed,
        "factors": {"width": 8},
        "settings": {"depth": 3, "width": 8},
        "status": "finished",
        "metrics": {"accuracy": 0.5 + seed},
        "curves": {"train_loss": (3.0, 2.0, 1.0)},
        "events": ((2, "Grew"),),
    }
    return Trial(**{**said, **changes})


def write_lab(folder: Path, *, sinks: Sequence[Sink] = ()) -> Path:
    """The spool of a lab with two arms of two seeds, one failure and one that was called off."""
    spool = folder / "lab" / "records"
    with RecordStream(Spool(spool), sinks, patience=200.0) as stream:
        stream.emit(
            Hypothesis(
                hypothesis="deeper", name="Deeper", question="?", prediction="!",
                statement={"alpha": 0.05},
            )
        )  # fmt: skip
        for seed in range(2):
            stream.emit(trial("flat", seed))
        stream.emit(trial("deep", 0))
        stream.emit(trial("deep", 1, status="failed", metrics={}, curves={}, error="no luck"))
        stream.emit(trial("deep", 2, status="cancelled", metrics={}, curves={}))
        stream.emit(Evidence(hypothesis="deeper", verdict="inconclusive"))
    return spool


def inspected(file: Path) -> dict[str, list[dict[str, Any]]]:
    """The records of an offline run by kind, as W&B's reader prints them."""
    words = [sys.executable, "-P", "-m", "wandb", "leet", "inspect", "--json", str(file)]
    said = subprocess.run(words, check=True, capture_output=True, text=True).stdout
    found: dict[str, list[dict[str, Any]]] = {}
    for record in map(json.loads, (line for line in said.splitlines() if line.startswith("{"))):
        found.setdefault(record["type"], []).append(record.get(record["type"], {}))
    return found


def test_offline_each_trial_is_a_run_of_its_hypothesis(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    sink = WandbSink(WandbTarget(project="labs", tracking="trials"), patience=250.0)
    spool = write_lab(tmp_path, sinks=[sink])
    assert sink.process is not None
    assert sink.process.gone(250)
    assert not sink.process.failed
    first, *others = read(spool)
    batch = run_name(first)
    names = {trial_run(batch, one): one for one in others if is_told(one)}
    files = {file.stem.removeprefix("run-"): file for file in spool.glob("wandb/*/*.wandb")}
    assert set(files) == {batch, *names}
    told = inspected(files[batch])
    assert (told["run"][0]["display_name"], told["run"][0]["job_type"]) == ("lab", "batch")
    assert "hypotheses/deeper" in json.dumps(told["config"])
    name = next(name for name, one in names.items() if one.data["trial"] == "deeper/flat/0/1")
    told = inspected(files[name])
    (run,) = told["run"]
    assert (run["run_group"], run["job_type"]) == ("deeper", "flat")
    assert run["display_name"] == "deeper/flat/0/1"
    assert {"seed 1", "finished"} <= set(run["tags"])
    config = run["config"]["update"]
    assert (config["depth"], config["width"], config["seed"]) == (3, 8, 1)
    rows = [row["item"] for row in told["history"]]
    assert [(row["epoch"], row["train_loss"]) for row in rows] == [(1, 3.0), (2, 2.0), (3, 1.0)]
    assert rows[2]["growth/by"] == "Grew"
    summary = [one["update"] for one in told["summary"] if "accuracy" in one.get("update", {})]
    assert summary[-1]["accuracy"] == 1.5
    assert summary[-1][MARK] == names[name].seq


def test_the_queue_sends_runs_of_trials_once_and_asks_whether_they_arrived(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "k" * 40)
    spool = write_lab(tmp_path)
    with serving() as stub:
        target = WandbTarget(base_url=stub.url, tracking="trials")
        sender = Sender(spool, WandbDestination(target, settling=0.5))
        assert sender.drain(deadline=280).complete
        assert len(stub.state.runs) == 5  # the batch, three that went well and one that failed
        groups = {run.fields.get("groupName") for run in stub.state.runs.values()}
        assert groups == {None, "deeper"}
        failed = [run for run in stub.state.runs.values() if "trial/error" in run.summary]
        assert [run.summary["trial/error"] for run in failed] == ["no luck"]
        (spool / "sync.json").unlink()
        before = dict(stub.requests)
        assert sender.drain(deadline=280).complete
        assert stub.requests["mutation UpsertBucket"] == before["mutation UpsertBucket"]
        assert len(stub.state.runs) == 5
        of_batch = WandbDestination(WandbTarget(base_url=stub.url))
        assert of_batch.name != sender.destination.name


def test_a_batch_of_many_trials_is_one_run_unless_more_are_asked_for(tmp_path: Path) -> None:
    spool = write_lab(tmp_path)
    assert WandbTarget().tracking == "batch"
    assert lab_order(spool) == {"name": "lab", "job_type": "batch"}
    with pytest.raises(ValueError, match="tracking must be 'batch' or 'trials'; got 'all'"):
        WandbTarget(tracking="all")  # type: ignore[arg-type]


def test_an_order_says_all_that_a_run_is_found_by(tmp_path: Path) -> None:
    stored = next(one for one in read(write_lab(tmp_path)) if is_told(one))
    order = trial_order(WandbTarget(tags=("mine",)), "batch", "folder", stored)
    assert order["run"] == trial_run("batch", stored) != trial_run("other", stored)
    assert order["tags"] == ["finished", "mine", "seed 0"]
    assert order["config"]["batch"] == "batch"
    assert order["summary"][MARK] == stored.seq
