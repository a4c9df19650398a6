"""W&B's own client, offline, read back with W&B's own reader; and the sink when it is killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from structure_net.errors import TrackingError
from structure_net.logging import RecordStream, Source, Spool, read
from structure_net.logging.sinks import WandbSink, WandbTarget
from structure_net.logging.sinks.credentials import key_for, server
from tests.structure_net.logging.recorded import RUN, epoch, start, write_run
from tests.structure_net.logging.stub_server import serving, wait_for

LIVE = "STRUCTURE_NET_WANDB_LIVE"


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No key, and every address is a dead one."""
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("WANDB_BASE_URL", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")


def inspected(folder: Path) -> list[dict[str, Any]]:
    """The records of an offline run, as W&B's reader prints them."""
    (file,) = (folder / "wandb").glob("offline-run-*/*.wandb")
    words = [sys.executable, "-P", "-m", "wandb", "leet", "inspect", "--json", str(file)]
    found = subprocess.run(words, check=True, capture_output=True, text=True)
    return [json.loads(line) for line in found.stdout.splitlines() if line.startswith("{")]


def of(records: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [record[kind] for record in records if record["type"] == kind]


@pytest.mark.usefixtures("no_network")
def test_an_offline_run_holds_what_was_recorded(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    sink = WandbSink(WandbTarget(project="growing"), patience=250.0)
    last = write_run(folder, sinks=[sink])
    assert sink.process is not None
    assert sink.process.gone(250)
    assert not sink.process.failed
    records = inspected(folder)
    (run,) = of(records, "run")
    assert (run["run_id"], run["project"], run["run_group"]) == (RUN, "growing", "pyramids")
    assert (run["job_type"], run["display_name"]) == ("wide", "demo")
    assert run["config"]["update"]["density"] == 0.02
    rows = [row["item"] for row in of(records, "history")]
    assert [row["_step"] for row in rows] == list(range(1, last + 1))
    losses = [row["train_loss"] for row in rows if row["record"] == "epoch"]
    assert losses == [1 / number for number in range(1, 7)]
    kinds = {one["type"] for one in of(records, "artifact")}
    assert kinds == {"dataset", "model", "report", "plot", "run_table"}
    assert any("charts/growth" in json.dumps(one) for one in of(records, "config"))
    tables = sorted(path.name for path in folder.glob("wandb/offline-run-*/files/media/table/*/*"))
    assert [name.split("_")[0] for name in tables] == ["growth", "lineage"]


@pytest.mark.usefixtures("no_network")
def test_killing_the_tracker_does_not_stop_the_run(tmp_path: Path) -> None:
    sink = WandbSink(patience=250.0)
    with RecordStream(Spool(tmp_path), [sink], patience=20.0) as stream:
        stream.emit(start())
        assert stream.flush(250.0)
        assert sink.process is not None
        os.killpg(sink.process.pid, signal.SIGKILL)
        assert sink.process.gone(250)
        for number in range(1, 40):
            stream.emit(epoch(number))
    (trouble,) = stream.troubles
    assert trouble.sink == "wandb"
    assert "structure-net sync" in trouble.reason
    assert [stored.kind for stored in read(tmp_path)][-1] == "missed"


def test_a_server_that_hangs_does_not_keep_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "k" * 40)
    with serving() as stub:
        stub.faults.hang["graphql"] = 999
        target = WandbTarget(mode="online", base_url=stub.url)
        began = time.monotonic()
        sink = WandbSink(target, patience=5.0)
        with RecordStream(Spool(tmp_path), [sink], patience=1.0) as stream:
            for record in (start(), epoch(1), epoch(2)):
                stream.emit(record)
        assert time.monotonic() - began < 100  # the server hangs for ten minutes
        assert stream.spool.last == 4  # with what the sink missed
        assert wait_for(lambda: sink.process is None, 250)


@pytest.mark.usefixtures("no_network")
def test_online_without_a_key_is_an_error_and_asks_nobody(tmp_path: Path) -> None:
    sink = WandbSink(WandbTarget(mode="online"))
    with pytest.raises(TrackingError, match="wandb login"):
        sink.open(Source(tmp_path, 0))
    assert sink.process is None


def test_the_disabled_sink_starts_nothing(tmp_path: Path) -> None:
    sink = WandbSink(WandbTarget(mode="disabled"))
    write_run(tmp_path, sinks=[sink])
    assert sink.process is None
    assert not (tmp_path / "wandb").exists()


def test_wandb_is_imported_by_no_module_of_ours_but_the_tracker() -> None:
    program = "import sys, structure_net.cli, structure_net.logging.sinks, " \
        "structure_net.logging.sending; sys.exit('wandb' in sys.modules)"  # fmt: skip
    subprocess.run([sys.executable, "-c", program], check=True, cwd=Path(__file__).parents[3])


@pytest.mark.parametrize(
    ("arguments", "word"), [({"mode": "dryrun"}, "mode"), ({"project": "a/b"}, "project")]
)
def test_a_target_that_wandb_would_not_take_is_refused(
    arguments: dict[str, Any], word: str
) -> None:
    with pytest.raises(ValueError, match=f"^{word} must be"):
        WandbTarget(**arguments)


def test_the_key_is_read_where_wandb_login_leaves_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    (tmp_path / "netrc").write_text("machine wandb.example\n  login user\n  password sesame\n")
    (tmp_path / "netrc").chmod(0o600)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("HOME", str(tmp_path))
    assert key_for("https://wandb.example/") == "sesame"
    assert key_for("https://another.example") is None
    assert server("https://wandb.example/") == "https://wandb.example"


@pytest.fixture
def live() -> str:
    """The project of a real account to write to."""
    project = os.environ.get(LIVE)
    if not project:
        pytest.skip(f"set {LIVE} to a project's name, after `wandb login`, to send to W&B itself")
    return project


def test_live_everything_arrives_at_wandb_itself(tmp_path: Path, live: str) -> None:
    from structure_net.logging.sending import Sender, WandbDestination

    write_run(tmp_path)
    target = WandbTarget(project=live, mode="online")
    assert Sender(tmp_path, WandbDestination(target, settling=30.0)).drain(deadline=300).complete
