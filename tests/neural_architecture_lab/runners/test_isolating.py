from __future__ import annotations

import os
import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from neural_architecture_lab import ReplicaExperiment, ReplicaPlan, Trial
from neural_architecture_lab.outcomes import Outcome
from neural_architecture_lab.replicas import Trained
from neural_architecture_lab.runners import Job, ProcessRunner, ReplicaRunner, Runner, SerialRunner
from neural_architecture_lab.runners.isolating import isolated


def draws(trial: Trial, *, device: str) -> dict[str, float]:
    """Draws from the global generators, unseeded."""
    return {
        "python": random.random(),
        "numpy": float(np.random.random()),  # noqa: NPY002
        "torch": torch.rand(()).item(),
    }


def litters(trial: Trial, *, device: str) -> dict[str, float]:
    """Changes all that it can, and says what it found."""
    weight = torch.ones(2, requires_grad=True)
    (weight**2).sum().backward()
    found = {
        "gradient": float(weight.grad is not None),
        "bits": float(torch.finfo(torch.get_default_dtype()).bits),
        "told": float("LITTER" in os.environ),
    }
    os.environ["LITTER"] = "1"
    os.chdir("/")
    random.seed(0)
    torch.manual_seed(0)
    torch.set_default_dtype(torch.float64)
    torch.set_grad_enabled(False)
    torch.use_deterministic_algorithms(True)
    return found


def leaves(trial: Trial, *, device: str) -> dict[str, float]:
    sys.exit("enough")


def forks(trial: Trial, *, device: str) -> dict[str, float]:
    child = os.fork()
    if child:
        os.waitpid(child, 0)
    return {"seed": trial.seed}


class Switching(ReplicaExperiment):
    def brought(self, trial: Trial, trained: Trained) -> Outcome:
        torch.set_grad_enabled(False)
        return trained.outcome()


def jobs(experiment: Any, count: int = 3) -> list[Job]:
    return [Job(Trial("h", "a", seed, {}), experiment) for seed in range(count)]


def metrics(runner: Runner, experiment: Any) -> dict[int, dict[str, float]]:
    results = {result.trial.seed: result for result in runner.run(jobs(experiment))}
    assert {one.error for one in results.values()} == {""}
    return {seed: dict(one.outcome.metrics) for seed, one in results.items() if one.outcome}


@pytest.mark.parametrize("make", [SerialRunner, lambda: ProcessRunner(2)], ids=["serial", "forks"])
def test_global_generators_follow_from_the_seed_of_the_trial(make: Callable[[], Runner]) -> None:
    found = metrics(make(), draws)
    with isolated(1):
        assert found[1] == draws(Trial("h", "a", 1, {}), device="cpu")
    for name in ("python", "numpy", "torch"):
        assert len({one[name] for one in found.values()}) == 3


def test_what_a_trial_leaves_behind_is_undone(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    before = (random.getstate(), torch.get_rng_state().tolist(), os.environ.copy())
    with torch.no_grad():  # as a careless caller may
        found = metrics(SerialRunner(), litters)
        assert not torch.is_grad_enabled()
    assert all(one == {"gradient": 1.0, "bits": 32.0, "told": 0.0} for one in found.values())
    assert (random.getstate(), torch.get_rng_state().tolist(), os.environ.copy()) == before
    assert Path.cwd() == tmp_path
    assert torch.get_default_dtype() is torch.float32
    assert not torch.are_deterministic_algorithms_enabled()


def test_a_replica_trains_whatever_the_one_before_left_switched_off() -> None:
    experiment = Switching(ReplicaPlan((64, 8, 10), epochs=1, activation="tanh", batch_size=512))
    with torch.no_grad():
        assert len(metrics(ReplicaRunner(1), experiment)) == 3


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("make", [SerialRunner, ProcessRunner])
def test_a_process_that_a_trial_forks_does_not_go_on_as_a_second_lab(
    make: Callable[[], Runner],
) -> None:
    here = os.getpid()
    assert metrics(make(), forks) == {seed: {"seed": float(seed)} for seed in range(3)}
    assert os.getpid() == here


def test_a_folder_that_a_trial_removes_is_no_error(tmp_path: Path, monkeypatch: Any) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert len(metrics(SerialRunner(), draws)) == 3


def test_a_trial_that_leaves_is_a_record() -> None:
    results = list(SerialRunner().run(jobs(leaves)))
    assert [one.status for one in results] == ["failed"] * 3
    assert results[0].error.startswith("SystemExit: enough")
