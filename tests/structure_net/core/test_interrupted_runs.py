"""What runs a model for a while leaves it and torch as they were, wherever interrupts strike."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.backends import cuda

from structure_net.core.flops import count_flops
from structure_net.core.latency import measure_latency
from structure_net.core.lsuv import lsuv_
from structure_net.core.network_factory import create_standard_network
from structure_net.core.reachability import reachable
from structure_net.core.validation import validate_network
from tests.interrupting import left_alone

EXAMPLE = torch.arange(12.0).reshape(4, 3) - 5


def network() -> nn.Sequential:
    sparse = create_standard_network([3, 4, 2], density=0.5, seed=0)
    return nn.Sequential(sparse, nn.BatchNorm1d(2), nn.Dropout().eval())


RUNS: tuple[tuple[str, Callable[[nn.Module], object]], ...] = (
    ("core/flops.py", lambda model: count_flops(model, EXAMPLE)),
    ("core/latency.py", lambda model: measure_latency(model, EXAMPLE, repeats=1)),
    ("core/lsuv.py", lambda model: lsuv_(model, EXAMPLE, max_steps=1)),
    ("core/reachability.py", lambda model: reachable(model, EXAMPLE)),
    ("core/validation.py", lambda model: validate_network(model, EXAMPLE)),
)


@pytest.mark.parametrize(("file", "run"), RUNS, ids=[file for file, _ in RUNS])
def test_an_interrupt_at_any_point_leaves_model_and_torch_as_they_were(
    file: str, run: Callable[[nn.Module], object]
) -> None:
    model = network()
    run(model)  # what is computed once is there
    files = (file, "core/running.py", "utils/_python_dispatch.py", "torch/overrides.py")
    count = left_alone(model, lambda: run(model), files, every=7)
    assert count > 15
    assert cuda.flash_sdp_enabled()
    assert cuda.mem_efficient_sdp_enabled()
    assert cuda.cudnn_sdp_enabled()
    assert cuda.math_sdp_enabled()
