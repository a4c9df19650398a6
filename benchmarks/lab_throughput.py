"""Trials per minute under every runner, against what people do without one; and what a trial costs.

One experiment, a digits MLP (64-128-64-10, Adam, 440 steps of 64), with other seeds: in turn, in a
plainly started process each, under Optuna in one process, and under each of the lab's runners. The
replicas do a little more than the loop in turn: they are scored after each epoch, too.
"""

from __future__ import annotations

import gc
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.harness import Figure, interleaved
from neural_architecture_lab import (
    Arm,
    Hypothesis,
    HypothesisCategory,
    LabConfig,
    NeuralArchitectureLab,
    Prediction,
    Trial,
)
from neural_architecture_lab.replicas import ReplicaExperiment, ReplicaPlan
from neural_architecture_lab.runners import (
    Job,
    ProcessRunner,
    ReplicaRunner,
    Runner,
    SerialRunner,
)
from structure_net.data import load_dataset

SEEDS, SLOW_SEEDS, ROUNDS, AT_ONCE = 64, 16, 4, 2
EPOCHS, BATCH, RATE = 20, 64, 0.003
DENSITIES = (1.0, 0.05, 0.01)
PLAN = ReplicaPlan((64, 128, 64, 10), epochs=EPOCHS, batch_size=BATCH, learning_rate=RATE)
NO_OPS = 10_000
ROOT = Path(__file__).resolve().parents[1]


def digits_mlp(trial: Trial, *, device: str) -> dict[str, float]:
    """Trains one network in plain PyTorch."""
    inputs, targets, held, labels = _digits()
    generator = torch.Generator().manual_seed(trial.seed)
    network = nn.Sequential(
        nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 10)
    )
    with torch.no_grad():
        for parameter in network.parameters():
            bound = parameter.shape[-1] ** -0.5
            parameter.uniform_(-bound, bound, generator=generator)
    optimizer = torch.optim.Adam(network.parameters(), lr=RATE)
    for _ in range(EPOCHS):
        for batch in torch.randperm(len(inputs), generator=generator).split(BATCH):
            loss = F.cross_entropy(network(inputs[batch]), targets[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    with torch.no_grad():
        accuracy = (network(held).argmax(1) == labels).float().mean().item()
    return {"accuracy": accuracy}


def no_op(trial: Trial, *, device: str) -> dict[str, float]:
    """Does nothing."""
    return {"accuracy": 0.5 + trial.seed % 7 / 100 + (trial.arm == "b")}


@cache
def _digits() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    data = load_dataset("digits").flattened()
    return data.train.inputs, data.train.targets, data.test.inputs, data.test.targets


def jobs(count: int, density: float | None = None) -> list[Job]:
    """The same experiment with other seeds; described, where a density is given."""
    experiment = digits_mlp if density is None else ReplicaExperiment(PLAN)
    settings = {} if density is None else {"density": density}
    return [Job(Trial("h", "a", seed, settings), experiment) for seed in range(count)]


def spawned(count: int) -> float:
    """Seconds for each trial, with a Python of its own for each, two at once."""
    program = (
        "from benchmarks.lab_throughput import digits_mlp\n"
        "from neural_architecture_lab import Trial\n"
        "digits_mlp(Trial('h', 'a', {seed}, {{}}), device='cpu')\n"
    )
    settings = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    begun = time.perf_counter()
    for first in range(0, count, AT_ONCE):
        pair = [
            subprocess.Popen([sys.executable, "-c", program.format(seed=seed)], env=settings)
            for seed in range(first, first + AT_ONCE)
        ]
        if any(one.wait() for one in pair):
            raise RuntimeError("a spawned trial failed")
    return (time.perf_counter() - begun) / count


def run_by(runner: Runner, count: int, density: float | None = None) -> float:
    """Seconds for each trial under a runner that is warm."""
    begun = time.perf_counter()
    if any(result.status != "finished" for result in runner.run(jobs(count, density))):
        raise RuntimeError(f"a trial failed under {runner.name}")
    return (time.perf_counter() - begun) / count


def by_optuna(count: int) -> float:
    """Seconds for each trial under Optuna, in this process, in memory."""
    import optuna  # type: ignore[import-not-found, unused-ignore]  # an extra

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(direction="maximize")

    def objective(trial: optuna.Trial) -> float:
        seed = trial.suggest_int("seed", 0, 10**6)
        return digits_mlp(Trial("h", "a", seed, {}), device="cpu")["accuracy"]

    begun = time.perf_counter()
    study.optimize(objective, n_trials=count)
    return (time.perf_counter() - begun) / count


def throughput() -> list[Figure]:
    """Seconds for each trial, and how many times faster than a spawned process each."""
    torch.set_num_threads(1)
    runners: dict[str, Runner] = {
        "in turn": SerialRunner(),
        "ProcessRunner": ProcessRunner(AT_ONCE),
    }
    if find_spec("distributed") is not None:
        from neural_architecture_lab.runners.dask import DaskRunner

        runners["DaskRunner"] = DaskRunner(AT_ONCE)
    count = SLOW_SEEDS
    candidates: dict[str, Callable[[], float]] = {
        name: partial(run_by, runner, count) for name, runner in runners.items()
    }
    replicas = ReplicaRunner(AT_ONCE)
    for density in DENSITIES:
        candidates[_replicas(density)] = partial(run_by, replicas, SEEDS, density)
    candidates["a spawned process each"] = partial(spawned, AT_ONCE)
    if find_spec("optuna") is not None:
        candidates["Optuna, in one process"] = partial(by_optuna, count)
    try:
        each = interleaved(candidates, ROUNDS)
    finally:
        for runner in runners.values():
            runner.close()
    return _figures(each)


def _replicas(density: float) -> str:
    return "ReplicaRunner" if density == 1 else f"ReplicaRunner, {100 * density:g} % of connections"


def _figures(each: Mapping[str, float]) -> list[Figure]:
    note = f"digits MLP, {AT_ONCE} at once, warm; median of {ROUNDS} rounds"
    if find_spec("distributed") is None:
        note += "; DaskRunner left out, since the extra cluster is not installed"
    if find_spec("optuna") is None:
        note += "; Optuna left out, since the extra optuna is not installed"
    found = [
        Figure(f"{name}: per minute", 60 / one, "trials", note=note) for name, one in each.items()
    ]
    spawn, turn = each["a spawned process each"], each["in turn"]
    share = each["ProcessRunner"] / spawn
    found.append(Figure("ProcessRunner over a spawned process each", share, "x", 1 / 8))
    for density in DENSITIES:
        name = _replicas(density)
        goal = 1 / 10 if density == 1 else 1 / 30
        how = "the loop trains a dense network" if density < 1 else ""
        found.append(Figure(f"{name} over the loop in turn", each[name] / turn, "x", goal, how))
    share = each[_replicas(1.0)] / spawn
    found.append(Figure("ReplicaRunner over a spawned process each", share, "x", 1 / 30))
    return found


def overhead() -> list[Figure]:
    """What the lab adds to a trial that does nothing, and what it keeps in memory."""
    hypothesis = Hypothesis(
        name="h",
        category=HypothesisCategory.TRAINING,
        question="?",
        prediction="!",
        experiment=no_op,
        arms=(Arm("a", {}, control=True), Arm("b", {})),
        predictions=(Prediction("accuracy", "higher", 0.2),),
        seeds=NO_OPS // 2,
    )
    held: list[float] = []

    def watch(result: object, ended: int, of: int) -> None:
        if ended in (of // 10, of):
            held.append(_resident())

    with tempfile.TemporaryDirectory() as folder:
        lab = NeuralArchitectureLab(LabConfig(results_dir=folder))
        lab.register_hypothesis(hypothesis)
        begun = time.perf_counter()
        lab.run_hypothesis_test("h", on_result=watch)
        each = (time.perf_counter() - begun) / NO_OPS
    note = f"{NO_OPS:,} trials that do nothing, serial, judged at the end"
    return [
        Figure("the lab's overhead for each trial", each * 1000, "ms", 5, note),
        Figure("memory from the 1,000th trial to the last", held[1] - held[0], "MiB", 8, note),
    ]


def _resident() -> float:
    """MiB that this process holds."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize() / 2**20


def figures() -> list[Figure]:
    """Throughput, then overhead."""
    return [*throughput(), *overhead()]
