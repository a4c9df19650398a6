"""Protocol D by gromo, in an environment of its own that sees the torch of this one.

Run in that environment, this module trains one network and prints what it came to:

    python -m benchmarks.growth_race_gromo 0
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import venv
from importlib import import_module
from pathlib import Path
from time import process_time
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.growth_race_table import Run
from structure_net.files import cache_folder

VERSION = "gromo==0.1.0"
_STATISTICS, _BATCH = 10, 128
_FACTORS = tuple(10 ** (power / 4) for power in range(-12, 5))
"""Tried by the line search, on the batches that gave the statistics. A factor scales both sides of
new units; with 0 they would never learn."""


def run(seed: int) -> Run:
    """One network, trained in a process of gromo's own environment.

    Raises:
        RuntimeError: It failed; the message holds what it said.
    """
    here = Path(__file__).resolve().parents[1]
    done = subprocess.run(
        [str(environment()), "-m", "benchmarks.growth_race_gromo", str(seed)],
        capture_output=True,
        text=True,
        check=False,
        cwd=here,
        env={**os.environ, "PYTHONPATH": str(here), "OMP_NUM_THREADS": "1"},
    )
    if done.returncode:
        raise RuntimeError(f"gromo failed on seed {seed}: {done.stderr[-2000:]}")
    return Run(**json.loads(done.stdout.splitlines()[-1]))


def environment() -> Path:
    """The interpreter of gromo's environment, which is made where it is absent."""
    folder = cache_folder() / "gromo-environment"
    python = folder / "bin" / "python"
    if (folder / "installed").exists():
        return python
    venv.create(folder, with_pip=True, clear=True)
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    site = folder / "lib" / version / "site-packages"
    (site / "host.pth").write_text(sysconfig.get_path("purelib") + "\n", "utf-8")
    pip = [str(python), "-m", "pip", "install", "--quiet", VERSION]
    subprocess.run(pip, check=True, capture_output=True, text=True)
    (folder / "installed").touch()
    return python


def trained(seed: int) -> Run:
    """One network by gromo's own layers."""
    from benchmarks import growth_race_mnist as race

    mlp: Any = import_module("gromo.containers.growing_mlp").GrowingMLP

    train, test = race.images()
    torch.manual_seed(seed)  # gromo draws from torch's own generator
    shuffled = race.order(seed, len(train))
    model = mlp(784, 10, race.SMALL, 2, activation=nn.ReLU(), device=torch.device("cpu"))
    begun, growth = process_time(), 0.0
    for epoch in range(race.EPOCHS):
        optimizer = torch.optim.SGD(model.parameters(), lr=race.RATE, momentum=race.MOMENTUM)
        samples = shuffled()
        for chosen in samples[: len(samples) // _BATCH * _BATCH].split(_BATCH):
            optimizer.zero_grad()
            F.cross_entropy(model(train.inputs[chosen]), train.targets[chosen]).backward()
            optimizer.step()
        if epoch < race.EPOCHS - 1:
            before = process_time()
            chosen = samples[: _STATISTICS * _BATCH]
            for place in (1, 0):
                _grow(model, place, train.inputs[chosen], train.targets[chosen])
            growth += process_time() - before
    return Run(race.accuracy(model, test), process_time() - begun, growth)


def _grow(model: Any, place: int, inputs: Tensor, targets: Tensor) -> None:
    """The best units for one hidden layer, at the size that the line search finds."""
    model.set_growing_layers(index=place)
    model.init_computation()
    for some, wanted in zip(inputs.split(_BATCH), targets.split(_BATCH), strict=True):
        model.zero_grad()
        F.cross_entropy(model(some), wanted).backward()
        model.update_computation()
    model.compute_optimal_updates(maximum_added_neurons=8, compute_delta=False)
    model.reset_computation()
    model.dummy_select_update()
    layer = model.currently_updated_layer
    losses = []
    with torch.no_grad():
        for factor in _FACTORS:
            model.set_scaling_factor(factor)
            found = model.extended_forward(inputs)
            losses.append(F.cross_entropy(found, targets).item())
    best = min(range(len(_FACTORS)), key=losses.__getitem__)
    layer.apply_change(scaling_factor=_FACTORS[best])
    layer.delete_update()


def main() -> None:
    """Trains one network and prints the run as JSON."""
    torch.set_num_threads(1)
    one = trained(int(sys.argv[1]))
    print(json.dumps({"value": one.value, "seconds": one.seconds, "growth": one.growth}))


if __name__ == "__main__":
    main()
