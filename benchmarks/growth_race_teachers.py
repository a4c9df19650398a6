"""Protocol A of the growth race: a student grows to its teacher's size (GradMax, figure 3a)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from time import process_time

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.growth_race_table import Protocol, Run
from structure_net.surgery import (
    AddNeurons,
    CopyUnits,
    GradMax,
    Initialiser,
    OptimalUnits,
    RandomOutgoing,
    ZeroOutgoing,
    edit,
)

SIZE, SMALL, POINTS = 10, 5, 1000
STEPS, EVERY, RATE = 1500, 200, 0.1


def protocols() -> list[Protocol]:
    """The one protocol."""
    starts: dict[str, Initialiser] = {
        "zero fan-out": ZeroOutgoing(),
        "random": RandomOutgoing(),
        "Net2Net": CopyUnits(0.1),
        "GradMax": GradMax(),
        "TINY": OptimalUnits(),
        "TINY, zero fan-out": OptimalUnits(amplitude=0.0),
    }
    grown = {name: _racer(SMALL, start) for name, start in starts.items()}
    methods = {"small, fixed": _racer(SMALL), **grown, "large, fixed": _racer(SIZE)}
    return [
        Protocol("A", "Teacher and student", _TASK, "loss", methods, _GOALS, seeds=20, digits=3)
    ]


_TASK = (
    f"Teacher {SIZE}-{SIZE}-{SIZE}, ReLU, no bias, weights U(-1, 1); {POINTS} points N(0, 1). The "
    f"student starts at {SIZE}-{SMALL}-{SIZE} and gets a unit every {EVERY} steps up to {SIZE}; "
    f"full-batch SGD at a rate of {RATE}, mean squared error, {STEPS} steps; the final loss, over "
    "20 teachers (Evci et al., GradMax, ICLR 2022, figure 3a). A replication with plain code gave: "
    "small .739, zero fan-out .216, random .179, GradMax .112 ± .051, large .047."
)
_GOALS = "To reach: below .112."
_FINDING = (
    "Here a unit's inputs are as many as its teacher's and vary alike, so that the best directions "
    "are well known. The published GradMax sets incoming weights to zero, which under torch's ReLU "
    "never learn; ours sets the outgoing ones to zero and sizes the incoming ones by their output."
)


def _racer(width: int, start: Initialiser | None = None) -> Callable[[int], Run]:
    return partial(run, width, start)


def network(width: int, drawn: torch.Generator, bound: float | None = None) -> nn.Sequential:
    """Two layers without biases; torch's own weights where ``bound`` is None."""
    layers = [nn.Linear(SIZE, width, bias=False), nn.Linear(width, SIZE, bias=False)]
    with torch.no_grad():
        for layer in layers:
            size = layer.in_features**-0.5 if bound is None else bound
            layer.weight.uniform_(-size, size, generator=drawn)
    return nn.Sequential(layers[0], nn.ReLU(), layers[1])


def task(seed: int) -> tuple[Tensor, Tensor]:
    """Points and what the teacher says of them."""
    drawn = torch.Generator().manual_seed(seed)
    inputs = torch.randn(POINTS, SIZE, generator=drawn)
    with torch.no_grad():
        return inputs, network(SIZE, drawn, 1.0)(inputs)


def run(width: int, start: Initialiser | None, seed: int) -> Run:
    """One student of one teacher; it grows where ``start`` says how."""
    inputs, targets = task(seed)
    student = network(width, torch.Generator().manual_seed(1000 + seed))
    optimizer = torch.optim.SGD(student.parameters(), lr=RATE)
    begun, growth = process_time(), 0.0
    for step in range(STEPS):
        if start and step and step % EVERY == 0 and width < SIZE:
            before = process_time()
            edit(
                student,
                AddNeurons("0", 1),
                inputs[:2],
                optimizer=optimizer,
                initialiser=start,
                probe=(inputs, targets, F.mse_loss),
                seed=step,
            )
            growth, width = growth + process_time() - before, width + 1
        optimizer.zero_grad()
        F.mse_loss(student(inputs), targets).backward()
        optimizer.step()
    seconds = process_time() - begun
    with torch.no_grad():
        return Run(F.mse_loss(student(inputs), targets).item(), seconds, growth)
