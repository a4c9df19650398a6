"""Memory follows the connections: per live weight, and of a layer whose matrix would fill it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from structure_net.core import StandardSparseLayer
from structure_net.core.crossover import get_crossover, set_crossover

ROOT = Path(__file__).resolve().parents[3]

# A program of its own: peaks of memory are those of a whole process.
PROGRAM = """
import tempfile, torch
from structure_net import create_standard_network
from structure_net.core import network_stats, validate_network
from structure_net.surgery import (
    AddConnections, RemoveConnections, edit, load_checkpoint, save_checkpoint,
)

torch.set_num_threads(1)
model = create_standard_network([16384, 16384], density=0.001, seed=0)
optimizer = torch.optim.Adam(model.parameters(), fused=True)
inputs = torch.randn(8, 16384, generator=torch.Generator().manual_seed(0))

def train():
    for _ in range(2):
        optimizer.zero_grad()
        model(inputs).square().mean().backward()
        optimizer.step()

train()
layer = model.layers[0]
assert layer.storage == "live"
count = network_stats(model)["total_connections"]
pattern = layer.pattern
gone = torch.stack((pattern.rows[::50], pattern.columns[::50]), 1)
edit(model, RemoveConnections("layers.0", gone), None, optimizer=optimizer)
edit(model, AddConnections("layers.0", gone), None, optimizer=optimizer)
assert network_stats(model)["total_connections"] == count
train()
layer.reset_parameters(torch.Generator().manual_seed(1))
assert validate_network(model, inputs).complete
assert "density=0.001" in str(model)
with tempfile.TemporaryDirectory() as folder:
    save_checkpoint(f"{folder}/net", model, optimizer=optimizer)
    assert load_checkpoint(f"{folder}/net").model.layers[0].pattern == layer.pattern
# KiB; getrusage would count the memory of the process that began this one
print(open("/proc/self/status").read().split("VmHWM:")[1].split()[0])
"""


def memory(tensors: Iterable[Tensor]) -> int:
    """Bytes that the tensors' memory takes, memory that they share once."""
    return sum(
        {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in tensors}.values()
    )


def test_a_live_weight_takes_thirty_bytes_with_what_adam_remembers() -> None:
    """Weight, gradient and two moments of 4 bytes, and three indices of 4 bytes: 28."""
    before = get_crossover()
    set_crossover("live")
    layer = StandardSparseLayer(
        4096, 4096, density=0.01, generator=torch.Generator().manual_seed(0)
    )
    set_crossover(before)
    optimizer = torch.optim.Adam(layer.parameters(), fused=True)
    layer(torch.ones(2, 4096)).sum().backward()
    optimizer.step()
    state = (t for kept in optimizer.state.values() for t in kept.values())
    gradients = (p.grad for p in layer.parameters() if p.grad is not None)
    biases = 4 * 4096 * 4
    total = memory((*layer.parameters(), *layer.buffers(), *state, *gradients)) - biases
    assert total <= 30 * layer.connections
    assert layer.connections == round(0.01 * 4096**2)


@pytest.mark.skipif(sys.platform != "linux", reason="reads what Linux tells")
def test_a_layer_whose_matrix_fills_a_gibibyte_is_made_trained_and_edited_within_one() -> None:
    environment = {**os.environ, "STRUCTURE_NET_STORAGE": "live", "OMP_NUM_THREADS": "1"}
    environment["PYTHONPATH"] = str(ROOT)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) * 1024 < 2**30
