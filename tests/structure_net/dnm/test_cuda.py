"""Morphogenesis on a CUDA device: the change and its undoing are as on the CPU."""

from __future__ import annotations

import pytest
import torch

from structure_net.dnm import DNMFramework, collect_caches
from tests.elsewhere import away
from tests.structure_net.dnm.loops import SmallCNN, batch, contents

pytestmark = pytest.mark.away


def test_a_network_on_a_device_changes_there_and_goes_back() -> None:
    model = SmallCNN().to(away())
    optimizer = torch.optim.Adam(model.parameters())
    dnm = DNMFramework(model, {"max_morphogenesis_per_epoch": 2})
    inputs, targets = (part.to(away()) for part in batch())
    torch.nn.functional.cross_entropy(model(inputs), targets).backward()
    optimizer.step()
    dnm.record_performance(0.5)
    dnm.update_caches(*collect_caches(model, inputs, targets), targets, inputs=inputs)
    before = contents(model)
    assert len(dnm.execute_morphogenesis(1)["events"]) == 2
    assert all(parameter.device.type == away() for parameter in model.parameters())
    optimizer.step()
    assert len(dnm.record_performance(0.0)) == 2
    assert all(torch.equal(tensor, before[name]) for name, tensor in contents(model).items())
