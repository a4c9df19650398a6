from __future__ import annotations

import pytest
import torch
from torch import nn

from structure_net.core import (
    SparseConv2d,
    StandardSparseLayer,
    assign,
    create_standard_network,
    network_stats,
)
from structure_net.core.flops import count_flops
from structure_net.core.layers import Granularity
from structure_net.core.storage import StoredLayer
from structure_net.evolution import ComposableEvolutionSystem, NetworkContext
from structure_net.evolution.analysis import Analysis
from structure_net.evolution.components import NetworkStatsAnalyzer
from structure_net.evolution.components.analyzers.statistics import WeightSpectrum
from structure_net.evolution.metrics import Unavailable
from structure_net.testing import check_analyzer


def analysed(network: nn.Module, example: torch.Tensor) -> Analysis:
    context = NetworkContext(network, [(example, torch.zeros(len(example)))])
    return ComposableEvolutionSystem([NetworkStatsAnalyzer()]).analyze(context)


def test_it_keeps_the_promises_of_an_analyzer() -> None:
    check_analyzer(NetworkStatsAnalyzer(), prefix="network_")


def test_counts_are_those_of_the_core() -> None:
    network = create_standard_network([12, 16, 3], density=0.3, seed=0)
    found, stats = analysed(network, torch.randn(4, 12)), network_stats(network)
    assert found["network_connections"] == stats["total_connections"]
    assert found["network_parameters"] == stats["total_parameters"]
    assert found["network_density"] == stats["density"]
    assert found["network_depth"] == 2
    assert list(found["network_layers"].values()) == stats["layers"]
    assert found["network_fan_in"] == {r["name"]: r["fan_in"] for r in stats["layers"]}
    assert found["network_fan_out"] == {r["name"]: r["fan_out"] for r in stats["layers"]}
    assert found["network_flops"] == count_flops(network, torch.randn(2, 12))


def test_spectra_are_the_singular_values_of_outputs_by_inputs_and_kernel() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Flatten(), nn.Linear(8, 2), nn.LayerNorm(2))
    found = analysed(model.double(), torch.randn(2, 3, 3, 3, dtype=torch.float64))[
        "network_spectra"
    ]
    assert set(found) == {"0", "2"}
    for name, weight in (("0", model[0].weight.flatten(1)), ("2", model[2].weight)):
        sigma = torch.linalg.svdvals(weight.detach())
        spectrum = found[name]
        assert isinstance(spectrum, WeightSpectrum)
        # Through the Gram matrix: half of float64's digits for the smallest values.
        torch.testing.assert_close(spectrum.top, sigma[:5], rtol=1e-7, atol=0)
        assert spectrum.norm == pytest.approx(float(weight.detach().norm()), rel=1e-12)
        expected = float(sigma.square().sum() / sigma[0].square())
        assert spectrum.stable_rank == pytest.approx(expected, rel=1e-10)


@pytest.mark.usefixtures("either_storage")
@pytest.mark.parametrize("granularity", ["kernel", "weight"])
def test_spectra_of_sparse_layers_are_those_of_their_matrices(granularity: Granularity) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(
        SparseConv2d(3, 8, 3, density=0.5, granularity=granularity),
        nn.Flatten(),
        StandardSparseLayer(8, 7, density=0.4),
    ).double()
    found = analysed(model, torch.randn(2, 3, 3, 3, dtype=torch.float64))["network_spectra"]
    for name in ("0", "2"):
        layer = model.get_submodule(name)
        assert isinstance(layer, StoredLayer)
        sigma = torch.linalg.svdvals(layer.dense_weight().detach().flatten(1))
        torch.testing.assert_close(found[name].top[:3], sigma[:3], rtol=1e-10, atol=0)
        assert found[name].norm == pytest.approx(float(sigma.norm()), rel=1e-10)
        expected = float(sigma.square().sum() / sigma[0].square())
        assert found[name].stable_rank == pytest.approx(expected, rel=1e-10)
        layer.fill(torch.nan)
    again = analysed(model, torch.randn(2, 3, 3, 3, dtype=torch.float64))["network_spectra"]
    assert all(isinstance(one, Unavailable) for one in again.values())


@pytest.mark.usefixtures("either_storage")
def test_weights_of_zero_have_no_stable_rank_in_a_sparse_layer() -> None:
    layer = StandardSparseLayer(3, 2, density=0.5)
    layer.fill(0.0)
    (spectrum,) = analysed(nn.Sequential(layer), torch.randn(2, 3))["network_spectra"].values()
    assert spectrum.norm == 0.0
    assert spectrum.top.tolist() == [0.0, 0.0]
    assert isinstance(spectrum.stable_rank, Unavailable)


def test_weights_of_zero_have_no_stable_rank() -> None:
    model = nn.Linear(3, 2)
    with torch.no_grad():
        model.weight.zero_()
    (spectrum,) = analysed(model, torch.randn(2, 3))["network_spectra"].values()
    assert isinstance(spectrum.stable_rank, Unavailable)


def test_units_on_no_live_path_are_named() -> None:
    network = create_standard_network([6, 4, 5, 3], density=1.0, seed=0)
    first, second = network.layers[0], network.layers[1]
    assert isinstance(first, StandardSparseLayer)
    assert isinstance(second, StandardSparseLayer)
    assign(first, first.disconnected([(1, column) for column in range(6)]))  # fed by nothing
    assign(second, second.disconnected([(row, 2) for row in range(5)]))  # read by nothing
    found = analysed(network, torch.randn(2, 6))["network_dead_paths"]
    assert found == {"layers.0": (1, 2), "layers.1": (), "layers.2": ()}


def test_the_layer_that_is_narrowest_beside_its_neighbours_is_ranked_first() -> None:
    model = nn.Sequential(
        nn.Linear(8, 10), nn.ReLU(), nn.Linear(10, 2), nn.ReLU(), nn.Linear(2, 6), nn.Linear(6, 3)
    )
    found = analysed(model, torch.randn(2, 8))["network_ranking"]
    assert list(found) == ["2", "0", "4"]
    assert found == pytest.approx({"2": 8 / 2, "0": 5 / 10, "4": 2.5 / 6})


def test_a_network_that_cannot_be_linked_has_no_ranking() -> None:
    found = analysed(nn.Sequential(nn.Flatten(), nn.ReLU()), torch.randn(2, 4))
    assert isinstance(found["network_ranking"], Unavailable)
    assert found["network_connections"] == 0
    assert found["network_flops"].total == 0
