from __future__ import annotations

import pytest
import torch
from torch import nn

from structure_net.core import SparseConv2d, StandardSparseLayer
from structure_net.evolution.observation import Need, observe
from structure_net.evolution.reductions import (
    ConnectionSample,
    ConnectionSamples,
    drawn_absent,
)


def _drawn(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _network(granularity: str) -> nn.Module:
    return nn.Sequential(
        SparseConv2d(2, 4, 3, density=0.4, granularity=granularity, generator=_drawn()),  # type: ignore[arg-type]  # one of the two
        nn.ReLU(),
        nn.Flatten(),
        StandardSparseLayer(4 * 9, 3, density=0.2, generator=_drawn(1)),
    ).double()


@pytest.mark.parametrize("granularity", ["kernel", "weight"])
def test_sampled_gradients_are_those_of_the_dense_weight(granularity: str) -> None:
    network = _network(granularity)
    data = [
        (torch.randn(6, 2, 5, 5, generator=_drawn(n)).double(), torch.arange(6) % 3)
        for n in range(3)
    ]
    needs = {Need.CONNECTION_GRADIENTS, Need.CONNECTION_SAMPLES}
    seen = observe(network, data, needs=needs, loss=nn.functional.cross_entropy, candidates=11)
    assert set(seen.connection_samples) == {"0", "3"}
    for name, sample in seen.connection_samples.items():
        assert isinstance(sample, ConnectionSample)
        layer = network.get_submodule(name)
        columns = layer.pattern.shape[1]
        inner = sample.gradient.shape[1:]
        dense = seen.connections[name].mean.reshape(-1, columns, *inner)
        rows, places = sample.places // columns, sample.places % columns
        torch.testing.assert_close(sample.gradient, dense[rows, places], rtol=0, atol=1e-10)


def test_a_full_layer_has_no_candidates() -> None:
    network = nn.Sequential(StandardSparseLayer(3, 2))
    data = [(torch.randn(4, 3, generator=_drawn()), torch.arange(4) % 2)]
    loss = nn.functional.cross_entropy
    seen = observe(network, data, needs={Need.CONNECTION_SAMPLES}, loss=loss, candidates=5)
    assert seen.connection_samples == {}
    assert ConnectionSamples(5, 0).result({}) == {}


@pytest.mark.parametrize("size", [(3, 4), (50, 40)])
def test_more_candidates_begin_with_the_same_ones(size: tuple[int, int]) -> None:
    taken = torch.tensor([0, 5, 7])
    most = size[0] * size[1] - 3
    whole = drawn_absent(taken, size, 10_000, _drawn())
    assert whole.sort().values.tolist() == [n for n in range(most + 3) if n not in {0, 5, 7}]
    for count in (1, most // 2, most - 1):
        assert torch.equal(drawn_absent(taken, size, count, _drawn()), whole[:count])


def test_candidates_are_drawn_evenly() -> None:
    counts = torch.zeros(6)
    for seed in range(600):
        counts[drawn_absent(torch.tensor([1, 4]), (2, 3), 2, _drawn(seed))] += 1
    # Each of four places with probability 1/2: 300 of 600, deviation 12.2.
    assert counts[[1, 4]].tolist() == [0, 0]
    assert bool(((counts[[0, 2, 3, 5]] - 300).abs() < 5 * 12.3).all())
