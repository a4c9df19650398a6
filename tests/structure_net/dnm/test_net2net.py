from __future__ import annotations

import pytest
import torch

from structure_net.dnm import DNMNet2Net
from structure_net.errors import SurgeryError
from tests.structure_net.dnm.loops import SmallCNN, batch, contents, step


def test_widening_dividing_and_deepening_keep_the_function() -> None:
    model = SmallCNN().double().eval()
    inputs = batch()[0].double()
    before = model(inputs)
    transfer = DNMNet2Net(inputs[:2])
    transfer.widen(model, "features.0", 3)
    transfer.divide(model, "features.2", [1, 5])
    transfer.deepen(model, "features.0")
    torch.testing.assert_close(model(inputs), before, rtol=1e-10, atol=1e-10)
    assert sum(p.numel() for p in model.parameters()) > sum(
        p.numel() for p in SmallCNN().parameters()
    )


def test_noise_tells_the_copies_apart() -> None:
    model = SmallCNN()
    DNMNet2Net(batch()[0][:2], noise=0.1).divide(model, "features.0", [2])
    weight = model.features[0].weight
    assert weight.shape[0] == 7
    assert not torch.equal(weight[6], weight[2])


def test_the_optimizer_goes_on_with_all_parameters() -> None:
    model = SmallCNN()
    optimizer = torch.optim.AdamW(model.parameters())
    step(model, optimizer)
    DNMNet2Net(batch()[0][:2], noise=0.1).widen(model, "features.2", 2, optimizer=optimizer)
    before = contents(model)
    step(model, optimizer, 1)
    assert (model.features[2].weight != before["features.2.weight"]).flatten(1).any(1).all()


def test_the_same_seed_makes_the_same_copies() -> None:
    made = []
    for _ in range(2):
        model = SmallCNN()
        transfer = DNMNet2Net(batch()[0][:2], noise=0.1, seed=4)
        transfer.widen(model, "features.0", 2)
        transfer.widen(model, "features.0", 2)
        made.append(contents(model))
    assert all(torch.equal(made[0][name], made[1][name]) for name in made[0])


def test_a_migration_can_be_undone() -> None:
    model = SmallCNN()
    before = contents(model)
    DNMNet2Net(batch()[0][:2]).widen(model, "features.0", 2).undo()
    assert all(torch.equal(tensor, before[name]) for name, tensor in contents(model).items())


def test_what_cannot_change_is_refused() -> None:
    with pytest.raises(SurgeryError, match="classifier"):
        DNMNet2Net(batch()[0][:2]).widen(SmallCNN(), "classifier", 1)
    with pytest.raises(ValueError, match="noise must be 0 or more; got -1"):
        DNMNet2Net(batch()[0][:2], noise=-1)
