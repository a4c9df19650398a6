"""Covariances, and what units are worth by the gradient."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from structure_net.evolution import LayerObservation, Need, observe
from structure_net.evolution.reductions import coactivation

EXACT = {"rtol": 1e-10, "atol": 1e-12}


class Net(nn.Module):
    """Two convolutions that read each other's channels, and a head on their means."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 3, 3)
        self.head = nn.Linear(3, 3)

    def after(self, first: Tensor) -> Tensor:
        return torch.relu(self.second(first))

    def forward(self, x: Tensor) -> Tensor:
        first = torch.tanh(self.first(x))
        out: Tensor = self.head(self.after(first).mean((2, 3)))
        return out


def data(batches: int) -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(0)
    return [
        (
            5 + torch.randn(6, 1, 5, 5, generator=generator, dtype=torch.float64),
            torch.randint(3, (6,), generator=generator),
        )
        for _ in range(batches)
    ]


@pytest.fixture
def network() -> Net:
    torch.manual_seed(0)
    return Net().double().eval()


def layers(network: nn.Module, *needs: Need, batches: int = 3) -> dict[str, LayerObservation]:
    found = observe(network, data(batches), needs=frozenset(needs), loss=F.cross_entropy)
    return dict(found.layers)


def test_covariances_are_those_of_all_values(network: Net) -> None:
    x = torch.cat([x for x, _ in data(3)])
    with torch.no_grad():
        first = torch.tanh(network.first(x))
        second = network.after(first)
    found = layers(network, Need.COACTIVATION)
    for name, values in (("first", first), ("second", second)):
        rows = values.movedim(1, -1).flatten(0, -2)
        expected = torch.cov(rows.T, correction=0)
        torch.testing.assert_close(found[name].covariance, expected, **EXACT)
        torch.testing.assert_close(
            found[name].covariance.diagonal(),  # type: ignore[union-attr]
            found[name].variance,
            rtol=1e-6,
            atol=1e-12,
        )


def test_large_means_leave_small_variances_their_digits() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(2, 3)).double()
    x = 1e7 + torch.randn(50, 2, dtype=torch.float64)
    batches = [(x[:20], torch.zeros(20)), (x[20:], torch.zeros(30))]
    seen = observe(network, batches, needs={Need.COACTIVATION}).layers["0"]
    with torch.no_grad():
        expected = torch.cov(network(x).T, correction=0)
    # The values themselves have 1e-9 of absolute precision left at 1e7.
    torch.testing.assert_close(seen.covariance, expected, rtol=1e-7, atol=1e-7)


def test_layers_too_wide_for_a_matrix_have_no_covariance(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coactivation, "MOST_UNITS", 3)
    torch.manual_seed(0)
    found = layers(Net().double(), Need.COACTIVATION)
    assert found["first"].covariance is None
    assert found["second"].covariance is not None


def effects(network: Net) -> Tensor:
    """Each sample's effect of each unit of the first layer, sample by sample. Shape (N, C)."""
    rows = []
    for x, y in data(3):
        for sample, target in zip(x, y, strict=True):
            first = torch.tanh(network.first(sample.unsqueeze(0)))
            output = network.head(network.after(first).mean((2, 3)))
            loss = F.cross_entropy(output, target.unsqueeze(0))
            (gradient,) = torch.autograd.grad(loss, first)
            rows.append((gradient * first).sum((0, 2, 3)).detach())
    return torch.stack(rows)


def test_taylor_and_fisher_are_moments_of_each_samples_effect(network: Net) -> None:
    expected = effects(network)
    found = layers(network, Need.GRADIENTS)["first"]
    torch.testing.assert_close(found.taylor, expected.abs().mean(0), **EXACT)
    torch.testing.assert_close(found.fisher, expected.square().mean(0), **EXACT)


def test_taylor_is_exact_where_the_loss_is_linear() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 1, bias=False)).double()
    x = torch.randn(8, 3, dtype=torch.float64)
    seen = observe(
        network, [(x, torch.zeros(8))], needs={Need.GRADIENTS}, loss=lambda out, _: out.mean()
    )
    with torch.no_grad():
        worth = (network[:2](x) * network[2].weight).abs().mean(0)
    torch.testing.assert_close(seen.layers["0"].taylor, worth, **EXACT)


class Rewriting(nn.Module):
    """Writes into what its first layer gave, after the layer that reads it."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(3, 4), nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        first = self.first(x)
        total = first * 3
        first += self.second(total)
        return first


def test_effects_are_those_of_the_values_before_they_were_written_over() -> None:
    torch.manual_seed(0)
    network = Rewriting().double()
    batches = [(torch.randn(5, 3, dtype=torch.float64), torch.zeros(5)) for _ in range(3)]
    found = observe(
        network, batches, needs={Need.GRADIENTS}, loss=lambda out, _: out.square().mean()
    ).layers["first"]
    rows = []
    for x, _ in batches:
        first = network.first(x)
        loss = (first + network.second(first * 3)).square().mean()
        (gradient,) = torch.autograd.grad(loss, first)
        rows.append((gradient * first).detach() * len(x))
    expected = torch.cat(rows)
    torch.testing.assert_close(found.taylor, expected.abs().mean(0), **EXACT)
    gradients = expected / torch.cat([network.first(x).detach() for x, _ in batches]) / 5
    torch.testing.assert_close(found.gradient_mean, gradients.mean(0), **EXACT)


def test_a_unit_that_the_loss_does_not_see_is_worth_nothing(network: Net) -> None:
    with torch.no_grad():
        network.second.weight[:, 2] = 0
    found = layers(network, Need.GRADIENTS)["first"]
    assert found.taylor is not None
    assert found.taylor[2] == 0
    assert (found.taylor[[0, 1, 3]] > 0).all()
