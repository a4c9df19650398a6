"""`structure-net evolve` and what its folder holds; `show`, `replay`, `diff` and `resume` of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from safetensors.torch import load_file

from structure_net import __version__
from structure_net.cli import main
from structure_net.surgery import Journal
from structure_net.surgery.checkpoint import load_checkpoint, read_header

FLAGS = ["--iterations", "2", "--epochs", "1", "--density", "0.05", "--seed", "3"]


def run(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    code = main([str(word) for word in words])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("evolved") / "run"
    assert main(["evolve", *FLAGS, "--baseline", "--json", "--out", str(folder)]) == 0
    return folder


def test_a_run_leaves_its_six_files_its_records_and_nothing_else(finished: Path) -> None:
    assert sorted(path.name for path in finished.iterdir()) == [
        "checkpoint.safetensors",
        "evolution.png",
        "history.json",
        "journal.json",
        "records",
        "report.md",
        "run.json",
    ]
    assert sorted(path.name for path in finished.parent.iterdir()) == ["run"]


def test_a_run_prints_one_line_for_each_iteration_and_its_folder_last(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    code, out, err = run(capsys, "evolve", *FLAGS, "--out", tmp_path / "run")
    lines = out.splitlines()
    assert (code, err) == (0, "")
    assert sum(line.startswith("iteration ") for line in lines) == 2
    assert all("connections" in line for line in lines if line.startswith("iteration "))
    assert lines[-1] == str(tmp_path / "run")


def test_edits_are_printed_with_their_reasons(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    _, out, _ = run(capsys, "evolve", *FLAGS, "--out", tmp_path / "run")
    entries = json.loads((tmp_path / "run" / "journal.json").read_text())["entries"]
    reasons = [entry["reason"] for entry in entries if entry["type"] == "edit"]
    assert reasons
    assert all(f"({reason})" in out for reason in reasons)


def test_the_default_folder_is_under_runs_and_named_after_the_data(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    _, out, _ = run(capsys, "evolve", "--dataset", "spirals", *FLAGS)
    assert out.splitlines()[-1].startswith("runs/spirals-")
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]


def test_json_is_one_document_and_words_go_to_standard_error(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    code, out, err = run(capsys, "evolve", *FLAGS, "--json", "--out", tmp_path / "run")
    document = json.loads(out)
    assert code == 0
    assert document["run"] == str(tmp_path / "run")
    assert [item["iteration"] for item in document["iterations"]] == [1, 2]
    assert document["scores"][0]["name"] == "evolved"
    assert "iteration 1/2" in err


def test_the_baselines_have_the_sizes_and_epochs_that_they_are_compared_by(finished: Path) -> None:
    history = json.loads((finished / "history.json").read_text())
    record = json.loads((finished / "run.json").read_text())
    evolved, start, final = history["scores"]
    assert start["connections"] == record["start_connections"] < evolved["connections"]
    assert final["connections"] == evolved["connections"]
    assert start["epochs"] == final["epochs"] == evolved["epochs"] == 2


def test_the_final_architecture_from_scratch_is_another_network(finished: Path) -> None:
    evolved, _, final = json.loads((finished / "history.json").read_text())["scores"]
    assert final["test_loss"] != evolved["test_loss"]


def test_the_report_names_every_iteration_and_the_command(finished: Path) -> None:
    text = (finished / "report.md").read_text()
    assert "structure-net evolve --iterations 2" in text
    assert "final architecture from scratch" in text
    assert "evolution.png" in text


def test_the_picture_is_a_png(finished: Path) -> None:
    assert (finished / "evolution.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_the_checkpoint_alone_holds_the_evolved_network(finished: Path) -> None:
    checkpoint = load_checkpoint(finished / "checkpoint.safetensors")
    assert checkpoint.iteration == 2
    assert len(checkpoint.history) == 2
    assert checkpoint.header.optimizer is not None


def journal_in(folder: Path) -> Journal:
    return read_header(folder / "checkpoint.safetensors").journal


def test_the_same_seed_gives_the_same_weights_bit_for_bit(finished: Path, tmp_path: Path) -> None:
    assert main(["evolve", *FLAGS, "--json", "--out", str(tmp_path / "again")]) == 0
    one = load_file(finished / "checkpoint.safetensors")
    two = load_file(tmp_path / "again" / "checkpoint.safetensors")
    assert one.keys() == two.keys()
    names = [name for name in one if not name.startswith(("random.", "journal"))]
    assert all(one[name].equal(two[name]) for name in names)
    assert journal_in(finished) == journal_in(tmp_path / "again")


def test_show_prints_what_happened(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "show", finished)
    assert code == 0
    assert "finished, 2 of 2 iterations" in out
    assert "final architecture from scratch" in out


def test_show_as_json_holds_the_request_and_the_history(
    finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, out, _ = run(capsys, "show", finished, "--json")
    document = json.loads(out)
    assert document["run"]["request"]["seed"] == 3
    assert document["history"]["status"] == "finished"


def test_replay_agrees_with_a_run_that_is_whole(
    finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = run(capsys, "replay", finished)
    assert code == 0
    assert "All agrees." in out


def test_a_run_does_not_differ_from_itself(
    finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, out, _ = run(capsys, "diff", finished, finished, "--json")
    document = json.loads(out)
    assert document["same"]
    assert document["only_a"] == document["only_b"] == []


def test_two_lineages_differ_where_they_part(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = [*FLAGS[:-1], "4"]
    run(capsys, "evolve", *flags, "--out", tmp_path / "other")
    code, out, _ = run(capsys, "diff", finished, tmp_path / "other")
    assert code == 0
    assert str(finished) in out
    _, out, _ = run(capsys, "diff", finished, tmp_path / "other", "--json")
    assert not json.loads(out)["same"]


def test_a_finished_run_can_be_carried_further(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--epochs", "1", "--density", "0.05"]
    run(capsys, "evolve", *flags, "--iterations", "1", "--out", tmp_path / "run")
    code, out, _ = run(capsys, "resume", tmp_path / "run", "--iterations", "2", "--json")
    assert code == 0
    assert len(json.loads(out)["iterations"]) == 2
    run(capsys, "evolve", *flags, "--iterations", "2", "--out", tmp_path / "whole")
    one = load_file(tmp_path / "run" / "checkpoint.safetensors")
    two = load_file(tmp_path / "whole" / "checkpoint.safetensors")
    names = [name for name in one if not name.startswith(("random.", "journal"))]
    assert all(one[name].equal(two[name]) for name in names)
    assert journal_in(tmp_path / "run") == journal_in(tmp_path / "whole")


def test_a_dry_run_says_what_would_be_edited_and_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, _ = run(capsys, "evolve", *FLAGS, "--dry-run", "--json")
    assert code == 0
    assert all(edit["change"] for edit in json.loads(out)["edits"])
    code, out, _ = run(capsys, "evolve", *FLAGS, "--dry-run")
    assert "Nothing was written." in out
    assert list(tmp_path.iterdir()) == []


def test_a_dry_run_foresees_the_first_edits_of_the_run(
    finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, out, _ = run(capsys, "evolve", *FLAGS, "--dry-run", "--json")
    foreseen = [edit["edit"] for edit in json.loads(out)["edits"]]
    first = json.loads((finished / "history.json").read_text())["iterations"][0]
    assert [note["text"] for note in first["edits"]] == foreseen


def test_a_pipeline_of_the_users_own_is_taken(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.py").write_text(PIPELINE)
    code, out, err = run(
        capsys,
        *("evolve", "--dataset", "spirals", "--iterations", "2", "--architecture", "2,8,8,2"),
        *("--density", "1", "--system", f"{tmp_path}/mine.py:build", "--out", tmp_path / "run"),
    )
    assert (code, err) == (0, "")
    assert "+2 neurons in layers.0 (wider is better)" in out
    assert run(capsys, "replay", tmp_path / "run")[0] == 0


PIPELINE = """
from structure_net.evolution import ComposableEvolutionSystem, EditingStrategy, Proposal
from structure_net.evolution.components import StandardNetworkTrainer
from structure_net.surgery import AddNeurons


class Widen(EditingStrategy):
    def propose(self, context, analysis):
        return [Proposal(AddNeurons("layers.0", 2), "wider is better")]


def build():
    return ComposableEvolutionSystem([Widen(), StandardNetworkTrainer(epochs=1)])
"""


DATA = """
import torch
from structure_net.data import RawDataset, TensorSplit, register_dataset

def blobs(request):
    targets = torch.arange(120) % 2
    inputs = torch.randn(120, 2, generator=torch.Generator().manual_seed(0)) + targets[:, None]
    return RawDataset(TensorSplit(inputs, targets), None, "classification", ("a", "b"), "0" * 32)

register_dataset("blobs_of_my_pipeline", blobs)
"""


def test_a_data_set_that_the_pipelines_file_registers_can_be_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.py").write_text(DATA + PIPELINE)
    told = ("--system", f"{tmp_path}/mine.py:build", "--out", tmp_path / "run")
    asked = ("--dataset", "blobs_of_my_pipeline", "--architecture", "2,8,8,2", "--density", "1")
    code, _, err = run(capsys, "evolve", *asked, "--iterations", "1", *told)
    assert (code, err) == (0, "")
    code, _, err = run(capsys, "resume", tmp_path / "run", "--iterations", "2")
    assert (code, err) == (0, "")


def test_a_users_own_npz_is_taken(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import numpy as np

    generator = np.random.default_rng(0)
    inputs = generator.normal(size=(300, 6)).astype(np.float32)
    np.savez(tmp_path / "mine.npz", x=inputs, y=(inputs.sum(1) > 0).astype(np.int64))
    code, out, _ = run(
        capsys, "evolve", "--dataset", tmp_path / "mine.npz", *FLAGS, "--out", tmp_path / "run"
    )
    assert code == 0
    assert "6-64-32-2" in out


def test_a_regression_is_told_by_its_losses(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import numpy as np

    inputs = np.random.default_rng(0).normal(size=(300, 6)).astype(np.float32)
    np.savez(tmp_path / "mine.npz", x=inputs, y=inputs.sum(1))
    flags = ("--dataset", tmp_path / "mine.npz", *FLAGS, "--baseline", "--out", tmp_path / "run")
    code, out, _ = run(capsys, "evolve", *flags)
    assert code == 0
    first = next(line for line in out.splitlines() if line.startswith("iteration 1/2"))
    history = json.loads((tmp_path / "run" / "history.json").read_text())
    assert f"train loss {history['iterations'][0]['train_loss']:.3f} (running)" in first
    assert f"validation loss {history['iterations'][0]['validation_loss']:.3f}" in first
    for score in history["scores"]:
        assert f"{score['train_loss']:.3f}" in out
        assert f"{score['validation_loss']:.3f}" in out
    code, out, _ = run(capsys, "replay", tmp_path / "run")
    assert code == 0
    assert f"loss: {history['scores'][0]['test_loss']:.4g} on the test data" in out


def test_a_run_can_be_resumed_from_another_place(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import numpy as np

    inputs = np.random.default_rng(0).normal(size=(300, 6)).astype(np.float32)
    (tmp_path / "elsewhere").mkdir()
    np.savez(tmp_path / "mine.npz", x=inputs, y=(inputs.sum(1) > 0).astype(np.int64))
    monkeypatch.chdir(tmp_path)
    assert run(capsys, "evolve", "--dataset", "mine.npz", *FLAGS, "--out", "run")[0] == 0
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert run(capsys, "resume", "../run", "--iterations", "3")[0] == 0


@pytest.mark.data
def test_mnist_is_read_from_the_folder_that_is_named(
    data_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--dataset", "mnist", "--data-dir", data_dir, "--batch-size", "512"]
    code, out, _ = run(
        capsys, "evolve", *flags, "--iterations", "1", "--epochs", "1", "--out", tmp_path / "run"
    )
    assert code == 0
    assert "784-256-128-10 starts" in out


@pytest.mark.parametrize("command", ["evolve", "demo", "resume", "show", "replay", "diff"])
def test_every_command_explains_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, command, "--help")
    assert code == 0
    assert "--json" in out
    assert "<bool>" not in out


def test_the_program_tells_its_version_and_its_commands(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(capsys, "--version") == (0, f"structure-net {__version__}\n", "")
    code, out, err = run(capsys)
    assert (code, err) == (0, "")
    assert all(command in out for command in ("evolve", "demo", "resume", "replay"))
