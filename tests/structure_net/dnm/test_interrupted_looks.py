"""What caches are collected from is left as it was, wherever interrupts strike."""

from __future__ import annotations

import torch
from torch import nn

from structure_net.dnm import collect_caches
from tests.interrupting import left_alone


def test_an_interrupt_while_caches_are_collected_leaves_no_hook_and_no_mode() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 2))
    inputs, targets = torch.arange(12.0).reshape(4, 3), torch.zeros(4).long()
    files = ("dnm/caches.py", "core/running.py")
    assert left_alone(model, lambda: collect_caches(model, inputs, targets), files, every=3) > 10
