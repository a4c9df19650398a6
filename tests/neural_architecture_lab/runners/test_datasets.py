"""Data sets that a program registered are known wherever its trials run."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from neural_architecture_lab import Trial
from neural_architecture_lab.cli import main
from neural_architecture_lab.experiments import evolve
from neural_architecture_lab.replicas.material import dataset_of
from neural_architecture_lab.runners import (
    DaskRunner,
    Job,
    ProcessRunner,
    RayRunner,
    ReplicaRunner,
    Runner,
    SerialRunner,
)
from neural_architecture_lab.runners.working import Packing, Unsent, unpacked_job
from neural_architecture_lab.store import Archive
from structure_net.data import DatasetRequest, RawDataset, TensorSplit, load_dataset, registry
from structure_net.data.requests import Awaited, Registration
from structure_net.errors import DatasetError

ROOT = Path(__file__).resolve().parents[3]
SETTINGS: dict[str, Any] = {"dataset": "two_clouds", "hidden": [4], "iterations": 1, "epochs": 1}


def two_clouds(request: DatasetRequest) -> RawDataset:
    """Two classes apart."""
    generator = torch.Generator().manual_seed(0)
    targets = torch.arange(60) % 2
    inputs = torch.randn(60, 3, generator=generator) + 3 * targets[:, None]
    return RawDataset(TensorSplit(inputs, targets), None, "classification", ("a", "b"), "0" * 32)


@pytest.fixture
def clouds(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(registry, "_REGISTRY", dict(registry._REGISTRY))
    registry.register_dataset("two_clouds", two_clouds)
    yield
    dataset_of.cache_clear()


def accuracies(runner: Runner) -> list[float]:
    jobs = [Job(Trial("h", "a", seed, SETTINGS), evolve) for seed in range(2)]
    with runner:
        found = {result.trial.seed: result for result in runner.run(jobs)}
    assert [found[seed].error for seed in range(2)] == ["", ""]
    return [one.outcome.metrics["accuracy"] for one in found.values() if one.outcome]


@pytest.mark.parametrize(
    "make",
    [
        SerialRunner,
        ReplicaRunner,
        ProcessRunner,
        pytest.param(DaskRunner, marks=pytest.mark.extras),
        pytest.param(RayRunner, marks=pytest.mark.extras),
    ],
)
def test_a_registered_data_set_is_known_to_the_workers_of_every_runner(
    make: Any, clouds: None
) -> None:
    if make is DaskRunner:
        pytest.importorskip("distributed")
    if make is RayRunner:
        pytest.importorskip("ray")
    assert len(accuracies(make())) == 2


def test_what_loads_a_data_set_and_cannot_leave_its_process_says_so_where_it_is_asked_for(
    clouds: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = threading.Lock()
    registry.register_dataset("held", lambda request: lock)  # type: ignore[arg-type,return-value]
    packet = Packing()(Job(Trial("h", "a", 0, SETTINGS), evolve))
    monkeypatch.setattr(registry, "_REGISTRY", {one.name: one for one in registry._BUILT_IN})
    job = unpacked_job(packet)
    assert job.trial.settings == SETTINGS
    assert load_dataset("two_clouds").outputs == 2
    with pytest.raises(DatasetError, match=r"'held' cannot be sent .*lock.*runner='serial'"):
        load_dataset("held")
    assert isinstance(registry.find("held").loader, Unsent)


class Counted:
    """A loader that says how often it was packed, and unpacked."""

    packings, arrivals = 0, 0

    def __call__(self, request: DatasetRequest) -> RawDataset:
        return two_clouds(request)

    def __reduce__(self) -> Any:
        Counted.packings += 1
        return Counted.arrived, ()

    @staticmethod
    def arrived() -> Counted:
        Counted.arrivals += 1
        return Counted()


def test_a_loader_is_packed_once_in_a_run_and_read_only_where_it_is_asked_for(
    clouds: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry.register_dataset("counted", Counted())
    pack = Packing()
    packets = [pack(Job(Trial("h", "a", seed, SETTINGS), evolve)) for seed in range(3)]
    assert Counted.packings == 1
    monkeypatch.setattr(registry, "_REGISTRY", {one.name: one for one in registry._BUILT_IN})
    for packet in packets:
        unpacked_job(packet)
    assert "counted" in registry.available_datasets()
    assert Counted.arrivals == 0
    assert isinstance(registry._REGISTRY["counted"], Awaited)
    assert load_dataset("counted").outputs == 2
    assert load_dataset("counted").outputs == 2
    assert Counted.arrivals == 1


def test_a_loader_that_cannot_be_read_where_it_arrives_harms_no_trial_without_it(
    clouds: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Counted, "arrived", staticmethod(lambda: Counted.__call__(None)))  # type: ignore[arg-type]
    registry.register_dataset("counted", Counted())
    packet = Packing()(Job(Trial("h", "a", 0, SETTINGS), evolve))
    monkeypatch.setattr(registry, "_REGISTRY", {one.name: one for one in registry._BUILT_IN})
    assert unpacked_job(packet).trial.settings == SETTINGS
    with pytest.raises(DatasetError, match=r"'counted' cannot be sent"):
        load_dataset("counted")


def test_what_is_known_already_is_not_taken_over(clouds: None) -> None:
    before = registry.find("two_clouds")
    registry.take_over([Registration("two_clouds", Unsent("other"), {})])
    assert registry.find("two_clouds") is before
    assert registry.registered() == (before,)


FILE = """
import torch
from structure_net.data import RawDataset, TensorSplit, register_dataset

def load(request):
    targets = torch.arange(90) % 3
    inputs = torch.nn.functional.one_hot(targets, 4).float() * request.options["size"]
    return RawDataset(TensorSplit(inputs, targets), None, "classification", tuple("abc"), "1" * 32)

register_dataset("corners", load, options={"size": 2})
"""


def test_nal_runs_the_library_on_what_a_file_registers_and_goes_on_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "corner_data.py").write_text(FILE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(registry, "_REGISTRY", dict(registry._REGISTRY))
    words = ["weight_decay", "--seeds", "2", "--dataset", "corner_data.py:corners:size=3"]
    assert main(["run", *words, "--results", "r", "--runner", "serial"]) == 0
    folder = tmp_path / "r"
    spool = folder / "records" / "records.jsonl"
    lines = spool.read_bytes().splitlines(keepends=True)
    spool.write_bytes(b"".join(lines[:6]))  # the hypothesis and five trials: as after a kill
    again = subprocess.run(  # where nobody has imported the file
        [sys.executable, "-m", "neural_architecture_lab.cli", "resume", "--results", folder],
        cwd="/",
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert again.returncode == 0, again.stdout + again.stderr
    trials = list(Archive(folder).trials("weight_decay"))
    assert {one.status for one in trials} == {"finished"}
    assert len({one.trial for one in trials}) == len(trials) >= 4


def test_a_file_that_registers_no_such_data_set_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "no_data_here.py").write_text("")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    for words in ("no_data_here.py:squares", "no_data_here.py"):
        assert main(["run", "weight_decay", "--dataset", words]) == 2
        assert "no_data_here.py registers no data set" in capsys.readouterr().err
