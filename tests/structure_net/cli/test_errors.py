"""Bad input ends in one line that says what was wrong, exit code 2, and nothing half-written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from structure_net.cli import main

EVOLVE = [
    (["--dataset", "digit"], r"no data set 'digit'. Did you mean 'digits'"),
    (["--dataset", "mine.npz"], "mine.npz"),
    (["--dataset", "mnist", "--data-dir", "nowhere"], "--download"),
    (["--architecture", "64,x,10"], "got '64,x,10'"),
    (["--architecture", "60,20,10"], "must start with the 64 features"),
    (["--architecture", "64,20,9"], "must end with the 10 outputs"),
    (["--architecture", "64"], "at least two positive widths"),
    (["--density", "0"], "density must be in (0, 1]"),
    (["--density", "many"], "'--density': must be a number, such as 0.02; got 'many'."),
    (["--iterations", "0"], "iterations must be at least 1; got 0"),
    (["--epochs", "1.5"], "'--epochs': must be a whole number, such as 3; got '1.5'."),
    (["--epochs", "-2"], "epochs must be at least 1; got -2"),
    (["--batch-size", "0"], "batch_size must be at least 1; got 0"),
    (["--learning-rate", "-1"], "learning_rate must be positive; got -1"),
    (["--seed", "-1"], "seed must not be negative; got -1"),
    (["--seed", "99999999999999999999"], "seed must be 9223372036854775807 or less"),
    (["--device", "cud"], "Did you mean cuda?"),
    (["--device", "cpu:x"], "cpu:x"),
    (["--epoch", "3"], "--epochs"),
    (["--system", "mine"], "FILE.py:NAME"),
    (["--system", "missing.py:system"], "no file 'missing.py'"),
    (["--system", "broken.py:system"], "cannot be imported"),
    (["--system", "empty.py:system"], "holds no 'system'. Did you mean 'systems'"),
    (["--system", "empty.py:number"], "must be a ComposableEvolutionSystem"),
    (["--system", "empty.py:looking", "--epochs", "3"], "brings its own trainer"),
    (["--system", "empty.py:looking", "--learning-rate", "1"], "brings its own trainer"),
    (["--system", "empty.py:looking", "--baseline"], "has no trainer"),
    (["--system", "empty.py:unknown_layer"], "layers.9"),
    (["--system", "empty.py:emptied"], "layers.0"),
    (["--system", "raising.py:system"], "raising.py, line 2: undefined_name"),
    (["--system", "leaving.py:system"], "cannot be imported: SystemExit: 3"),
    (["--system", "empty.py:unmade"], "cannot be made: ValueError: too few"),
    (["--system", "empty.py:failing"], "RuntimeError: lost its way"),
    (["--system", "empty.py:failing", "--dry-run"], "RuntimeError: lost its way"),
]
MODULE = """
from structure_net.evolution import ComposableEvolutionSystem, EditingStrategy
from structure_net.surgery import AddNeurons, RemoveNeurons

number = 3


class Propose(EditingStrategy):
    def __init__(self, edit):
        self.edit = edit

    def propose(self, context, analysis):
        return [self.edit]


class Fail(Propose):
    def propose(self, context, analysis):
        raise RuntimeError("lost its way")


def unmade():
    raise ValueError("too few")


systems = []
failing = ComposableEvolutionSystem([Fail(None)])
looking = ComposableEvolutionSystem()
unknown_layer = ComposableEvolutionSystem([Propose(AddNeurons("layers.9", 2))])
emptied = ComposableEvolutionSystem([Propose(RemoveNeurons("layers.0", tuple(range(64))))])
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "broken.py").write_text("def system(:\n")
    (tmp_path / "raising.py").write_text("number = 3\nundefined_name\n")
    (tmp_path / "leaving.py").write_text("raise SystemExit(3)\n")
    (tmp_path / "empty.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("STRUCTURE_NET_DATA", raising=False)
    return tmp_path


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """The one line that the command ends with."""
    assert main(words) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert said.startswith("structure-net: ")
    return said


@pytest.mark.parametrize(("flags", "message"), EVOLVE, ids=[" ".join(f) for f, _ in EVOLVE])
def test_a_run_that_cannot_be_carried_out_is_refused(
    place: Path, capsys: pytest.CaptureFixture[str], flags: list[str], message: str
) -> None:
    assert message in refused(capsys, "evolve", *flags, "--out", "run")
    left = place / "run"
    # A refused edit stops a run that has begun: its folder is whole, and says why.
    assert not left.exists() or "Stopped after 0" in (left / "report.md").read_text()


@pytest.mark.parametrize("values", [np.array([0.5, 1.5] * 20), np.array(["a", "b"] * 20)])
def test_a_damaged_npz_is_refused(
    place: Path, capsys: pytest.CaptureFixture[str], values: np.ndarray
) -> None:
    np.savez(place / "mine.npz", x=np.full((40, 3), np.nan), y=values)
    assert "mine.npz" in refused(capsys, "evolve", "--dataset", "mine.npz", "--out", "run")
    assert not (place / "run").exists()


def test_a_pipeline_that_lacks_an_analyzer_can_be_run_again_once_it_has_one(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["evolve", "--system", "needing.py:system", "--iterations", "1", "--out", "run"]
    (place / "needing.py").write_text(NEEDING)
    assert "ExtremaGrowthStrategy needs 'extrema" in refused(capsys, *words)
    assert not (place / "run").exists()
    (place / "needing.py").write_text(NEEDING.replace("([Ex", "([StandardExtremaAnalyzer(), Ex"))
    assert main(words) == 0


NEEDING = """
from structure_net.evolution import ComposableEvolutionSystem
from structure_net.evolution.components import ExtremaGrowthStrategy, StandardExtremaAnalyzer

system = ComposableEvolutionSystem([ExtremaGrowthStrategy()])
"""


def test_data_that_leave_nothing_to_validate_are_refused_before_anything_is_written(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    inputs = np.random.default_rng(0).normal(size=(7, 3))
    words = ["evolve", "--dataset", "mine.npz", "--iterations", "1", "--epochs", "1", "--json"]
    np.savez(place / "mine.npz", x=inputs[:6], y=np.array([0, 1] * 3))
    assert "at least 6 samples" in refused(capsys, *words, "--out", "run")
    np.savez(place / "mine.npz", x=inputs, y=np.arange(7), x_test=inputs, y_test=np.arange(7))
    assert "two of them in one class" in refused(capsys, *words, "--out", "run")
    assert not (place / "run").exists()
    np.savez(place / "mine.npz", x=inputs, y=np.array([0, 1] * 3 + [0]))
    assert main([*words, "--out", "run"]) == 0


def test_a_folder_that_exists_is_not_taken(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (place / "run").mkdir()
    (place / "run" / "mine.txt").write_text("mine")
    assert "exists already" in refused(capsys, "evolve", "--out", "run")
    assert [path.name for path in (place / "run").iterdir()] == ["mine.txt"]


def test_an_unknown_command_is_answered_with_the_nearest(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert "Did you mean 'evolve'?" in refused(capsys, "evolv")


@pytest.mark.parametrize("command", ["resume", "show", "replay"])
def test_a_folder_that_is_no_run_is_refused(
    place: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    assert "does not exist" in refused(capsys, command, "nowhere")
    assert "holds no run.json" in refused(capsys, command, ".")


@pytest.mark.parametrize(
    ("file", "damage", "commands"),
    [
        ("run.json", "{", ("show", "resume", "replay")),
        ("history.json", '{"status": 3}', ("show", "replay")),
        ("journal.json", "[]", ("replay",)),
        ("checkpoint.safetensors", "no tensors", ("resume", "replay")),
    ],
)
def test_a_damaged_file_of_a_run_is_named(
    place: Path,
    capsys: pytest.CaptureFixture[str],
    file: str,
    damage: str,
    commands: tuple[str, ...],
) -> None:
    main(["evolve", "--iterations", "1", "--epochs", "1", "--out", "run", "--json"])
    capsys.readouterr()
    (place / "run" / file).write_text(damage)
    for command in commands:
        assert file in refused(capsys, command, "run")


def test_fewer_iterations_than_are_done_are_refused(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["evolve", "--iterations", "2", "--epochs", "1", "--out", "run", "--json"])
    capsys.readouterr()
    assert "has done 2 iterations" in refused(capsys, "resume", "run", "--iterations", "1")


def test_other_data_than_the_runs_are_refused(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    generator = np.random.default_rng(0)

    def save() -> None:
        inputs = generator.normal(size=(200, 4))
        np.savez(place / "mine.npz", x=inputs, y=(inputs[:, 0] > 0).astype(np.int64))

    save()
    flags = ["--iterations", "1", "--epochs", "1", "--out", "run", "--json"]
    assert main(["evolve", "--dataset", "mine.npz", *flags]) == 0
    save()
    capsys.readouterr()
    assert "not the one that the run began with" in refused(capsys, "resume", "run")
