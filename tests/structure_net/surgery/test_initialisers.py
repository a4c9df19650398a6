"""How new units begin: closed-form cases, and what each initialiser promises."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from structure_net.errors import SurgeryError
from structure_net.surgery import (
    AddNeurons,
    CopyUnits,
    GradMax,
    RandomOutgoing,
    SplitNeurons,
    UnitVariance,
    ZeroOutgoing,
    apply,
)


def network(activation: type[nn.Module] = nn.ReLU, width: int = 5) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, width), activation(), nn.Linear(width, 4)).double()


def data() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return (
        torch.randn(64, 6, dtype=torch.float64, generator=generator),
        torch.randn(64, 4, dtype=torch.float64, generator=generator),
    )


def outgoing_gradient(model: nn.Sequential, new: slice) -> float:
    inputs, targets = data()
    model.zero_grad()
    F.mse_loss(model(inputs), targets).backward()
    return model[2].weight.grad[:, new].norm().item()


def test_gradmax_finds_the_singular_vectors_of_a_linear_layer() -> None:
    model = network(nn.Identity)
    inputs, targets = data()
    error = 2 * (model(inputs) - targets) / targets.numel()
    values, vectors = torch.linalg.svd((error.T @ inputs).detach())[1:]
    apply(
        model,
        AddNeurons("0", 2),
        inputs,
        initialiser=GradMax(iterations=200),
        probe=(inputs, targets, F.mse_loss),
    )
    rows = F.normalize(model[0].weight.detach()[5:], dim=1)
    assert values[1] > 1.1 * values[2]
    span = vectors[:2].T @ vectors[:2]
    torch.testing.assert_close(rows.T @ rows, span, rtol=0, atol=1e-8)


@pytest.mark.parametrize("activation", [nn.ReLU, nn.GELU, nn.Tanh])
def test_gradmax_keeps_the_function_and_beats_random_rows(activation: type[nn.Module]) -> None:
    inputs, targets = data()
    gains = {}
    for initialiser in (ZeroOutgoing(), GradMax()):
        found = []
        for seed in range(6):
            model = network(activation)
            before = model(inputs)
            apply(
                model,
                AddNeurons("0", 2),
                inputs,
                initialiser=initialiser,
                probe=(inputs, targets, F.mse_loss),
                seed=seed,
            )
            torch.testing.assert_close(model(inputs), before, rtol=0, atol=1e-12)
            found.append(outgoing_gradient(model, slice(5, 7)))
        gains[type(initialiser)] = sum(found) / len(found)
    assert gains[GradMax] > 1.2 * gains[ZeroOutgoing]


@pytest.mark.parametrize(
    "initialiser", [None, GradMax(), UnitVariance(), CopyUnits(), RandomOutgoing()]
)
def test_newborn_units_learn_behind_a_relu(initialiser: object) -> None:
    model = network()
    inputs, targets = data()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    apply(
        model,
        AddNeurons("0", 3),
        inputs,
        optimizer=optimizer,
        initialiser=initialiser,
        probe=(inputs, targets, F.mse_loss),
    )
    born = model[0].weight.detach()[5:].clone(), model[2].weight.detach()[:, 5:].clone()
    for _ in range(3):
        optimizer.zero_grad()
        F.mse_loss(model(inputs), targets).backward()
        optimizer.step()
    assert bool((model[0].weight.detach()[5:] != born[0]).any(1).all())
    assert bool((model[2].weight.detach()[:, 5:] != born[1]).any(0).all())


def test_unit_variance_scales_the_new_outputs_and_keeps_the_function() -> None:
    model = network()
    inputs, targets = data()
    before = model(inputs)
    probe = (inputs, targets, F.mse_loss)
    apply(model, AddNeurons("0", 3), inputs, initialiser=UnitVariance(), probe=probe)
    torch.testing.assert_close(model(inputs), before, rtol=0, atol=1e-12)
    spread = model[0](inputs).std(0)[5:]
    torch.testing.assert_close(spread, torch.ones(3, dtype=torch.float64), rtol=0, atol=1e-10)


def test_copies_without_noise_keep_the_function_and_the_edit_says_what_was_done() -> None:
    model = network()
    inputs, _ = data()
    before = model(inputs)
    done = apply(model, AddNeurons("0", 3), inputs, initialiser=CopyUnits(noise=0.0))
    assert isinstance(done.edit, SplitNeurons)
    assert len(done.edit.indices) == 3
    torch.testing.assert_close(model(inputs), before, rtol=0, atol=1e-12)


def test_random_outgoing_weights_move_the_function_and_are_not_held_to_it() -> None:
    model = network()
    inputs, _ = data()
    before = model(inputs)
    apply(model, AddNeurons("0", 3), inputs, initialiser=RandomOutgoing())
    assert not torch.allclose(model(inputs), before)


@pytest.mark.parametrize("initialiser", [GradMax(), UnitVariance()])
def test_a_missing_probe_is_refused_and_nothing_is_touched(initialiser: object) -> None:
    model = network()
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(SurgeryError, match="pass probe="):
        apply(model, AddNeurons("0", 3), data()[0], initialiser=initialiser)
    after = model.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())


def test_the_same_seed_gives_the_same_weights() -> None:
    models = [network() for _ in range(3)]
    for model, seed in zip(models, (7, 7, 2**40), strict=True):
        apply(model, AddNeurons("0", 3), data()[0], seed=seed)
    assert torch.equal(models[0][0].weight, models[1][0].weight)
    assert not torch.equal(models[0][0].weight, models[2][0].weight)


class Centred(nn.Module):
    """New units are the mean of the old ones, which the norm silences, so that they may be read."""

    def __init__(self) -> None:
        super().__init__()
        self.enter = nn.Linear(6, 5)
        self.norm = nn.LayerNorm(5)
        self.leave = nn.Linear(5, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.leave(self.norm(self.enter(x)))


@pytest.mark.parametrize("initialiser", [GradMax(), UnitVariance()])
def test_units_that_a_norm_silences_are_not_scaled(initialiser: object) -> None:
    torch.manual_seed(0)
    model = Centred().double()
    inputs, targets = data()
    before = copy.deepcopy(model.state_dict())
    probe = (inputs, targets, F.mse_loss)
    with pytest.raises(SurgeryError, match="readers that are zero at birth"):
        apply(
            model,
            AddNeurons("enter", 1),
            inputs,
            initialiser=initialiser,
            probe=probe,
            verify=False,
        )
    after = model.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())
