"""A run that is stopped, in whatever way, leaves a whole folder and ends as if it had not been."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from safetensors.torch import load_file

from structure_net.cli import main
from structure_net.evolution import TrainingHistory
from structure_net.surgery.checkpoint import load_checkpoint, read_header
from structure_net.surgery.journal import Journal
from tests.programs import Ended, ended

# Stops its own process in the middle of iteration STOP_AT, by the signal STOP_BY.
PIPELINE = """
import os
import signal

from structure_net.evolution import ComposableEvolutionSystem, Trainer
from structure_net.evolution.components import (
    ExtremaGrowthStrategy,
    StandardExtremaAnalyzer,
    StandardNetworkTrainer,
)


class Stopper(Trainer):
    def train(self, context):
        if str(context.iteration) == os.environ.get("STOP_AT"):
            os.kill(os.getpid(), getattr(signal, os.environ["STOP_BY"]))
        return context


def build():
    first, second = StandardNetworkTrainer(epochs=1), StandardNetworkTrainer(epochs=1)
    parts = (StandardExtremaAnalyzer(), ExtremaGrowthStrategy(), first, Stopper(), second)
    return ComposableEvolutionSystem(parts)
"""
ITERATIONS = 3


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pipeline") / "stopping.py"
    path.write_text(PIPELINE)
    return path


def flags(pipeline: Path, out: Path) -> list[str]:
    """Of a run that is stopped where the environment says."""
    chosen = ["--dataset", "spirals", "--density", "0.2", "--iterations", str(ITERATIONS)]
    return ["evolve", *chosen, "--system", f"{pipeline}:build", "--out", str(out)]


def evolve(pipeline: Path, out: Path, **environment: str) -> Ended:
    """The end of a run in a process of its own."""
    words = flags(pipeline, out)
    program = f"import sys\nfrom structure_net.cli import main\nsys.exit(main({words!r}))"
    with tempfile.TemporaryDirectory() as home:
        return ended(program, Path(home), Path(home), **environment)


def limited(size: int, *words: str) -> subprocess.CompletedProcess[str]:
    """The end of a command of which no file may have more than ``size`` bytes."""
    return subprocess.run(
        [sys.executable, "-m", "structure_net.cli", *words],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size)),
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def uninterrupted(pipeline: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("uninterrupted") / "run"
    assert evolve(pipeline, out).returncode == 0
    return out


def assert_same_end(one: Path, two: Path) -> None:
    """The same network, optimizer, history and journal, bit for bit; clocks aside."""
    left, right = (load_file(path / "checkpoint.safetensors") for path in (one, two))
    # numpy seeds its global generator, which nothing here draws from, by the clock.
    for tensors in (left, right):
        tensors.pop("random.numpy.state.key")
        tensors.pop("journal")  # it says when; compared below
    assert left.keys() == right.keys()
    assert [name for name in left if not left[name].equal(right[name])] == []
    first, second = (read_header(path / "checkpoint.safetensors") for path in (one, two))
    assert first.optimizer == second.optimizer
    assert first.journal == second.journal
    histories = [TrainingHistory.from_list(header.history) for header in (first, second)]
    assert histories[0] == histories[1]
    assert Journal.load(one / "journal.json") == Journal.load(two / "journal.json")


@pytest.mark.parametrize("iteration", ["0", "1"])
def test_a_run_stopped_by_ctrl_c_can_be_resumed_to_the_same_end(
    pipeline: Path, uninterrupted: Path, tmp_path: Path, iteration: str
) -> None:
    out = tmp_path / "my run"
    stopped = evolve(pipeline, out, STOP_AT=iteration, STOP_BY="SIGINT")
    assert stopped.returncode == 130
    assert stopped.stderr.count("\n") == 1
    assert f"structure-net resume '{out}'" in stopped.stderr
    assert json.loads((out / "history.json").read_text())["status"] == "interrupted"
    assert f"Interrupted after {iteration} of 3 iterations" in (out / "report.md").read_text()
    assert main(["replay", str(out)]) == 0
    assert main(["resume", str(out)]) == 0
    assert_same_end(uninterrupted, out)


def test_a_run_that_was_killed_can_be_resumed_to_the_same_end(
    pipeline: Path, uninterrupted: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    stopped = evolve(pipeline, out, STOP_AT="1", STOP_BY="SIGKILL")
    assert stopped.returncode == -signal.SIGKILL
    assert main(["resume", str(out)]) == 0
    assert_same_end(uninterrupted, out)


@pytest.mark.parametrize("seconds", [0.05, 0.3])
def test_a_run_that_is_killed_at_any_moment_is_whole_or_not_there(
    tmp_path: Path, seconds: float
) -> None:
    out = tmp_path / "run"
    words = ["--iterations", "500", "--epochs", "1", "--dataset", "spirals", "--out", str(out)]
    command = [sys.executable, "-m", "structure_net.cli", "evolve", *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        next(line for line in process.stdout if line.startswith("iteration"))
        time.sleep(seconds)
        process.kill()
    reached = load_checkpoint(out / "checkpoint.safetensors").iteration
    assert reached >= 1
    assert main(["resume", str(out), "--iterations", str(reached + 1)]) == 0
    assert main(["replay", str(out)]) == 0


def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_last_good_checkpoint(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    code = main(["evolve", "--learning-rate", "1e30", "--out", str(out)])
    said = capsys.readouterr().err
    assert code == 2
    assert said.count("\n") == 1
    assert "epoch" in said
    assert "batch" in said
    assert str(out) in said
    checkpoint = load_checkpoint(out / "checkpoint.safetensors")
    assert checkpoint.iteration == 0
    assert all(bool(p.isfinite().all()) for p in checkpoint.model.parameters())
    assert json.loads((out / "history.json").read_text())["status"] == "stopped"
    assert "Stopped after 0 of 5 iterations" in (out / "report.md").read_text()


@pytest.mark.parametrize(
    ("size", "said"), [(200, "{out}/run.json: File too large."), (2000, "cannot be written")]
)
def test_a_full_disk_at_the_start_leaves_nothing(tmp_path: Path, size: int, said: str) -> None:
    out = tmp_path / "run"
    stopped = limited(size, "evolve", "--out", str(out))
    assert stopped.returncode == 2
    assert stopped.stderr.count("\n") == 1
    assert said.format(out=out) in stopped.stderr
    assert not out.exists()


def test_a_full_disk_on_the_way_keeps_the_checkpoint_before(
    pipeline: Path, uninterrupted: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    # Checkpoints grow with the history, so that only the last one is over this limit.
    size = (uninterrupted / "checkpoint.safetensors").stat().st_size
    stopped = limited(size - 100, *flags(pipeline, out))
    assert stopped.returncode == 2
    assert stopped.stderr.count("\n") == 1
    assert "cannot be written" in stopped.stderr
    assert str(out) in stopped.stderr
    assert load_checkpoint(out / "checkpoint.safetensors").iteration == ITERATIONS - 1
    assert not [path for path in out.iterdir() if path.name.startswith(".")]
    assert main(["resume", str(out)]) == 0
    assert_same_end(uninterrupted, out)


def test_a_damaged_checkpoint_is_refused_and_left_alone(
    uninterrupted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damaged = tmp_path / "run"
    shutil.copytree(uninterrupted, damaged)
    path = damaged / "checkpoint.safetensors"
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    path.write_bytes(data)
    for command in ("resume", "replay"):
        assert main([command, str(damaged)]) == 2
        said = capsys.readouterr().err
        assert said.count("\n") == 1
        assert "damaged" in said
    assert path.read_bytes() == data


def test_a_journal_that_belongs_to_another_run_is_found_by_replay(
    uninterrupted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mixed = tmp_path / "run"
    shutil.copytree(uninterrupted, mixed)
    journal = json.loads((mixed / "journal.json").read_text())
    edits = [entry for entry in journal["entries"] if entry["type"] == "edit"]
    journal["entries"].remove(edits[-1])
    (mixed / "journal.json").write_text(json.dumps(journal))
    assert main(["replay", str(mixed)]) == 1
    out = capsys.readouterr().out
    assert "DIFFERS  journal" in out
    assert "DIFFERS  connections" in out


def test_a_pipeline_that_changed_is_refused(
    pipeline: Path, uninterrupted: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pipeline.write_text(PIPELINE + "\n# changed\n")
    try:
        assert main(["resume", str(uninterrupted)]) == 2
    finally:
        pipeline.write_text(PIPELINE)
    assert "changed since the run began" in capsys.readouterr().err
