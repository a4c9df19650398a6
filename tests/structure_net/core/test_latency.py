from __future__ import annotations

from itertools import count

import pytest
import torch
from torch import nn

from structure_net.core import measure_latency


def test_the_latency_is_the_median_pass_and_the_first_does_not_count() -> None:
    # A clock that is asked twice a pass: the passes take 100, 1, 2 and 9.
    times = iter([0, 100, 0, 1, 0, 2, 0, 9])
    network = nn.Linear(3, 2)
    found = measure_latency(network, torch.ones(1, 3), repeats=3, clock=lambda: next(times))
    assert found == 2


def test_measuring_leaves_the_model_as_it_was() -> None:
    network = nn.Sequential(nn.BatchNorm1d(3), nn.Dropout()).train()
    before = network[0].running_mean.clone()
    ticks = count()
    assert measure_latency(network, torch.ones(4, 3), clock=lambda: next(ticks)) == 1
    assert network.training
    assert torch.equal(network[0].running_mean, before)


def test_no_passes_are_refused() -> None:
    with pytest.raises(ValueError, match="repeats"):
        measure_latency(nn.Linear(1, 1), torch.ones(1, 1), repeats=0)
