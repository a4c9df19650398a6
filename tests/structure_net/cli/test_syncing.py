"""``structure-net sync`` and the flags of ``--log``."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from structure_net.cli import main
from structure_net.cli.logs import NAMES, sinks_of
from structure_net.errors import RunError, TrackingError
from structure_net.logging.sinks.wandb_orders import Tracking
from tests.structure_net.logging.recorded import RUN, write_run
from tests.structure_net.logging.stub_server import Stub, serving
from tests.structure_net.logging.test_wandb_trials import write_lab


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stub]:
    monkeypatch.setenv("WANDB_API_KEY", "k" * 40)
    with serving() as server:
        monkeypatch.setenv("WANDB_BASE_URL", server.url)
        yield server


def test_a_run_is_sent_and_its_queue_is_empty_then(
    tmp_path: Path, stub: Stub, capsys: pytest.CaptureFixture[str]
) -> None:
    last = write_run(tmp_path / "run" / "records", artifacts=False)
    run = str(tmp_path / "run")
    assert main(["sync", run, "--status"]) == 1
    assert f"{last} pending" in capsys.readouterr().out
    assert main(["sync", run, "--project", "growth", "--deadline", "100"]) == 0
    assert stub.state.runs[RUN].project == "growth"
    assert stub.state.runs[RUN].steps == list(range(1, last + 1))
    capsys.readouterr()
    assert main(["sync", run, "--status", "--json"]) == 0
    (queue,) = json.loads(capsys.readouterr().out)["queues"]
    assert (queue["complete"], queue["pending"], queue["last"]) == (True, 0, last)


@pytest.mark.extras
@pytest.mark.filterwarnings("ignore")
def test_a_report_names_the_runs(tmp_path: Path, stub: Stub) -> None:
    from structure_net.logging.reports import build_report, publish_report
    from structure_net.logging.sinks import WandbTarget

    write_run(tmp_path)
    report = build_report([tmp_path], WandbTarget(), entity="tester", title="Growth")
    assert report.title == "Growth"
    assert publish_report([tmp_path], WandbTarget(), title="Growth").startswith(stub.url)
    (view,) = stub.state.views
    assert RUN in view["spec"]
    assert "# Report" in view["spec"]


@pytest.mark.extras
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("tracking", "word"), [("batch", "tables/evidence"), ("trials", '"jobType"')]
)
def test_a_report_of_a_lab_shows_its_arms_or_its_tables(
    tmp_path: Path, stub: Stub, tracking: Tracking, word: str
) -> None:
    from structure_net.logging.reports import publish_report
    from structure_net.logging.sinks import WandbTarget

    publish_report([write_lab(tmp_path)], WandbTarget(tracking=tracking))
    (view,) = stub.state.views
    assert word in view["spec"]
    assert ("deeper" in view["spec"]) == (tracking == "trials")


def test_sync_says_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sync", str(tmp_path)]) == 2
    assert "holds no records" in capsys.readouterr().err
    write_run(tmp_path, artifacts=False)
    assert main(["sync", str(tmp_path), "--to", "mars"]) == 2
    assert "there is wandb" in capsys.readouterr().err
    assert main(["sync", str(tmp_path), "--deadline", "0"]) == 2
    assert "deadline must be positive" in capsys.readouterr().err


def test_a_name_makes_its_sink_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert [sink.name for sink in sinks_of([*NAMES, "console"])] == list(NAMES)
    assert sinks_of(None) == ()
    with pytest.raises(RunError, match="must be one of"):
        sinks_of(["paper"])
    with pytest.raises(RunError, match="mode must be"):
        sinks_of(["wandb"], mode="sometimes")
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(TrackingError, match="wandb login"):
        sinks_of(["wandb"], mode="online")


def test_a_run_is_logged_where_it_is_told_to(tmp_path: Path) -> None:
    words = "evolve --iterations 1 --epochs 1 --architecture 64,16,10 --log series --log wandb"
    mode = ["--wandb-mode", "disabled", "--out", str(tmp_path / "run")]
    assert main([*words.split(), *mode]) == 0
    assert (tmp_path / "run" / "records" / "series.h5").is_file()
    assert not (tmp_path / "run" / "records" / "wandb").exists()
