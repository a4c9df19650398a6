from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from structure_net.core import SparsePattern, StandardSparseLayer
from structure_net.core.weights import unit_weights
from structure_net.evolution import ComposableEvolutionSystem, NetworkContext, observe
from structure_net.evolution.components import HebbianAnalyzer
from structure_net.evolution.components.analyzers import hebbian as tested
from structure_net.evolution.memory import AnalysisMemory
from structure_net.evolution.metrics import (
    OjaStatistics,
    Unavailable,
    correlation,
    growth_score,
    oja_statistics,
)
from structure_net.surgery import AddConnections, MergeNeurons
from structure_net.surgery import edit as edited


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def analyzed(network: nn.Module, inputs: Tensor, **options: Any) -> Any:
    targets = torch.arange(len(inputs)) % 2
    context = NetworkContext(
        network, [(inputs[:100], targets[:100]), (inputs[100:], targets[100:])]
    )
    return ComposableEvolutionSystem([HebbianAnalyzer(**options)]).analyze(context)


def network() -> nn.Sequential:
    """Ten units of which two are copies, read by a sparse layer."""
    generator = torch.Generator().manual_seed(0)
    first = nn.Linear(6, 10)
    reader = StandardSparseLayer(10, 8, density=0.4, generator=generator)
    made = nn.Sequential(first, nn.ReLU(), reader, nn.Tanh(), nn.Linear(8, 2))
    with torch.no_grad():
        for parameter in (*first.parameters(), *made[4].parameters()):
            parameter.copy_(torch.randn(parameter.shape, generator=generator) / 2)
        first.weight[9], first.bias[9] = first.weight[2].clone(), first.bias[2].clone()
    return made


def test_correlations_are_those_of_the_activations() -> None:
    made, inputs = network(), drawn(200, 6)
    found = analyzed(made, inputs)
    with torch.no_grad():
        first, second = made[:2](inputs).double(), made[:4](inputs).double()
    assert found["hebbian_correlation"]["0"].numpy() == pytest.approx(
        correlation(first).numpy(), abs=1e-5, nan_ok=True
    )
    between = found["hebbian_reader_correlation"]["0"]["2"]
    assert between.numpy() == pytest.approx(
        correlation(second, first).numpy(), abs=1e-5, nan_ok=True
    )


def test_copies_are_found_and_merging_them_keeps_the_function() -> None:
    made, inputs = network(), drawn(200, 6)
    found = analyzed(made, inputs)["hebbian_redundant"]
    assert set(found) == {"0", "2"}
    (pair,) = found["0"]
    assert {pair.kept, pair.dropped} == {2, 9}
    before = made(inputs)
    merged = edited(made, MergeNeurons("0", ((pair.kept, pair.dropped),)), inputs)
    assert merged(inputs).detach().numpy() == pytest.approx(before.detach().numpy(), abs=1e-5)


def test_pairs_worth_connecting_are_correlated_and_not_connected() -> None:
    made, inputs = network(), drawn(200, 6)
    found = analyzed(made, inputs, pairs=3)
    pairs = found["hebbian_unconnected"]
    assert set(pairs) == {"2"}
    assert 0 < len(pairs["2"]) <= 3
    reader = made[2]
    assert isinstance(reader, StandardSparseLayer)
    between = found["hebbian_reader_correlation"]["0"]["2"]
    for row, column, value in pairs["2"]:
        assert reader.dense_weight()[row, column] == 0
        assert value == pytest.approx(float(between[row, column]))
        assert abs(value) >= 0.2
    change = AddConnections("2", tuple((row, column) for row, column, _ in pairs["2"]))
    before = reader.connections
    edited(made, change, inputs)
    assert reader.connections == before + len(pairs["2"])


def test_nothing_is_worth_connecting_where_all_is_connected() -> None:
    made = nn.Sequential(nn.Linear(6, 4), nn.ReLU(), StandardSparseLayer(4, 3), nn.Linear(3, 2))
    made[2] = StandardSparseLayer(4, 3, pattern=SparsePattern.full((3, 4)))
    assert analyzed(made, drawn(200, 6))["hebbian_unconnected"] == {}


def test_oja_statistics_are_those_of_what_a_layer_reads() -> None:
    made, inputs = network(), drawn(200, 6) * torch.tensor([5.0, 1, 1, 1, 1, 1])
    found = analyzed(made, inputs)["hebbian_oja"]
    with torch.no_grad():
        read = {"0": inputs.double(), "2": made[:2](inputs).double()}
    for name, values in read.items():
        weights = unit_weights(made.get_submodule(name))
        assert weights is not None
        expected = oja_statistics(weights, values.T.cov(correction=0))
        assert isinstance(expected, OjaStatistics)
        for field in ("variance", "alignment", "drift"):
            got, want = getattr(found[name], field), getattr(expected, field)
            assert got.numpy() == pytest.approx(want.numpy(), abs=1e-4)


def test_a_kernel_looks_at_the_patches_that_it_reads() -> None:
    layer = nn.Conv2d(2, 3, 3, stride=2, padding=1)
    made = nn.Sequential(layer, nn.ReLU(), nn.Flatten(), nn.Linear(27, 2))
    inputs = drawn(200, 2, 6, 6)
    found = analyzed(made, inputs)["hebbian_oja"]["0"]
    patches = nn.functional.unfold(inputs, 3, padding=1, stride=2).movedim(1, 2).flatten(0, 1)
    expected = oja_statistics(layer.weight.flatten(1), patches.double().T.cov(correction=0))
    assert isinstance(expected, OjaStatistics)
    assert found.variance.numpy() == pytest.approx(expected.variance.numpy(), abs=1e-5)


def test_a_recurrent_layer_has_no_oja_statistics_and_no_activity() -> None:
    class Reading(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cells, self.head = nn.GRU(6, 4, batch_first=True), nn.Linear(4, 2)

        def forward(self, inputs: Tensor) -> Tensor:
            outputs: Tensor = self.head(self.cells(inputs)[0][:, -1])
            return outputs

    found = analyzed(Reading(), drawn(200, 5, 6))
    assert isinstance(found["hebbian_oja"]["cells"], Unavailable)
    assert isinstance(found["hebbian_activity"]["cells"], Unavailable)
    assert "head" in found["hebbian_layer_activity"]


def test_activities_are_the_formulas_of_the_library() -> None:
    first, reader = nn.Linear(3, 2), nn.Linear(2, 2)
    with torch.no_grad():
        first.weight.copy_(torch.tensor([[1.0, -2.0, 0.5], [0.0, 0.25, -0.25]]))
        first.bias.copy_(torch.tensor([-0.5, 0.5]))
        reader.weight.copy_(torch.tensor([[3.0, 0.0], [4.0, -1.0]]))
    found = analyzed(nn.Sequential(first, nn.ReLU(), reader), drawn(200, 3))
    assert found["hebbian_activity"]["0"].tolist() == [1.0, 0.25]
    assert found["hebbian_importance"]["0"].tolist() == pytest.approx([1.0, 1.5 / 5.5])
    assert isinstance(found["hebbian_importance"]["2"], Unavailable)
    assert found["hebbian_layer_activity"]["0"] == 0.625
    assert found["hebbian_ranking"] == {"0": pytest.approx(growth_score(0.625, 2))}


def test_the_trace_is_the_mean_over_the_window_of_iterations(context: NetworkContext) -> None:
    analyzer, memory = HebbianAnalyzer(window=2), AnalysisMemory()
    seen = observe(context.network, context.train_batches(), needs=analyzer.needs, probe_size=8)
    looking = replace(context, observation=seen, memory=memory)
    layer = context.network.get_submodule("layers.0")
    activity, traces = [], []
    for iteration in range(4):
        with torch.no_grad():
            layer.bias[0] = 10.0 * (iteration + 1)  # type: ignore[operator]
        for _ in range(2):  # looking twice changes nothing
            found = analyzer.analyze(replace(looking, iteration=iteration))
        activity.append(found["hebbian_layer_activity"]["layers.0"])
        traces.append(found["hebbian_activity_trace"]["layers.0"])
    assert len(set(activity)) > 1
    assert traces[0] == activity[0]
    for now in (1, 2, 3):
        assert traces[now] == pytest.approx((activity[now - 1] + activity[now]) / 2)
    assert len(memory.notes("HebbianAnalyzer")) == 2


def twins() -> tuple[nn.Sequential, nn.Sequential]:
    """Sparse layers, and the same weights in layers that are matrices."""
    generator = torch.Generator().manual_seed(3)
    sparse = [
        StandardSparseLayer(i, o, density=0.3, generator=generator) for i, o in ((9, 12), (12, 7))
    ]
    dense = [nn.Linear(one.in_channels, one.out_channels) for one in sparse]
    with torch.no_grad():
        for one, other in zip(dense, sparse, strict=True):
            one.weight.copy_(other.dense_weight())
            one.bias.copy_(other.get_parameter("bias"))
    first, second = (
        nn.Sequential(a, nn.Tanh(), b, nn.Tanh(), nn.Linear(7, 2)).double()
        for a, b in (sparse, dense)
    )
    second[4].load_state_dict(first[4].state_dict())
    return first, second


@pytest.mark.usefixtures("either_storage")
def test_a_sparse_layer_is_described_as_the_matrix_that_it_stands_for() -> None:
    found, expected = (analyzed(one, drawn(200, 9).double()) for one in twins())
    for layer in ("0", "2", "4"):
        for key in ("hebbian_activity", "hebbian_importance", "hebbian_correlation"):
            got, want = found[key][layer], expected[key][layer]
            if layer == "4" and key == "hebbian_importance":
                assert isinstance(got, Unavailable)
            else:
                torch.testing.assert_close(got, want, rtol=0, atol=1e-10)
        for field in ("variance", "alignment", "drift"):
            got, want = (getattr(one["hebbian_oja"][layer], field) for one in (found, expected))
            torch.testing.assert_close(got, want, rtol=0, atol=1e-10, equal_nan=True)
    assert found["hebbian_ranking"] == pytest.approx(expected["hebbian_ranking"], abs=1e-10)


class Again(nn.Module):
    """A layer that reads what it gave."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.state = StandardSparseLayer(8, 8, density=0.3, generator=generator)
        self.head = nn.Linear(8, 2)

    def forward(self, inputs: Tensor) -> Tensor:
        state = inputs
        for _ in range(3):
            state = torch.tanh(self.state(state))
        output: Tensor = self.head(state)
        return output


@pytest.mark.usefixtures("either_storage")
def test_no_unit_of_a_layer_that_reads_itself_is_paired_with_itself() -> None:
    pairs = analyzed(Again(), drawn(200, 8), association=0.01)["hebbian_unconnected"]["state"]
    assert pairs
    assert all(row != column for row, column, _ in pairs)


def test_correlations_of_too_many_pairs_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tested, "MOST_UNITS", 8)
    found = analyzed(network(), drawn(200, 6))
    between = found["hebbian_reader_correlation"]
    assert isinstance(between["0"]["2"], Unavailable)
    assert "hebbian_unconnected" in between["0"]["2"].reason
    assert isinstance(between["2"]["4"], Tensor)
    assert found["hebbian_unconnected"]["2"]


@pytest.mark.parametrize(
    ("argument", "value"), [("redundancy", 0.0), ("association", 2.0), ("pairs", -1), ("window", 0)]
)
def test_arguments_out_of_range_are_refused(argument: str, value: float) -> None:
    options: dict[str, Any] = {argument: value}
    with pytest.raises(ValueError, match=argument):
        HebbianAnalyzer(**options)
