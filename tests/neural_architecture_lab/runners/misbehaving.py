"""Experiments that do what experiments should not, each as its settings say."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import sys
import time
from pathlib import Path

import torch

from neural_architecture_lab.runners import Job
from neural_architecture_lab.trials import Trial


def experiment(trial: Trial, *, device: str) -> dict[str, object]:
    kind = trial.settings.get("kind", "")
    if note := trial.settings.get("notes"):
        with Path(str(note)).open("a", encoding="utf-8") as stream:
            stream.write(f"{trial.seed} {os.getpid()} {_begun_by()}\n")
    actions = {
        "raises": lambda: 1 / 0,
        "hangs": lambda: time.sleep(600),
        "spins": _spin,
        "fills": _fill,
        "asks for too much": lambda: torch.ones(4 * 2**30 // 4),
        "exits": lambda: os._exit(3),
        "leaves": lambda: sys.exit("enough"),
        "segfaults": lambda: ctypes.string_at(0),
        "sleeps": lambda: time.sleep(float(str(trial.settings["seconds"]))),
    }
    if action := actions.get(str(kind)):
        action()
    return {"seed": trial.seed, "process": os.getpid(), "threads": torch.get_num_threads()}


def _begun_by() -> int:
    """The process that began this one: the lab, or a worker of a cluster."""
    parent = multiprocessing.parent_process()
    return 0 if parent is None or parent.pid is None else parent.pid


def _spin() -> None:
    while True:
        pass


def _fill() -> list[bytearray]:
    return [bytearray(2**20) for _ in range(4096)]


def training(trial: Trial, *, device: str) -> dict[str, float]:
    """Trains a network, in the precision that the settings name."""
    dtype = torch.float64 if trial.settings.get("double") else torch.float32
    generator = torch.Generator().manual_seed(trial.seed)
    inputs = torch.randn(256, 64, generator=generator, dtype=dtype)
    targets = inputs[:, :4].sin() @ torch.ones(4, 1, dtype=dtype)
    first = torch.randn(64, 96, generator=generator, dtype=dtype) / 8
    second = torch.randn(96, 1, generator=generator, dtype=dtype) / 10
    weights = [first.requires_grad_(), second.requires_grad_()]
    optimizer = torch.optim.Adam(weights, lr=0.01)
    for _ in range(40):
        loss = ((inputs @ weights[0]).tanh() @ weights[1] - targets).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return {"loss": loss.item(), "weight": weights[0].sum().item()}


def job(seed: int, kind: str = "", **settings: object) -> Job:
    said = {"kind": kind, **settings}
    return Job(Trial("h", "a", seed, said), experiment)  # type: ignore[arg-type]


def training_job(seed: int, double: bool = False) -> Job:
    return Job(Trial("h", "a", seed, {"double": double}), training)
