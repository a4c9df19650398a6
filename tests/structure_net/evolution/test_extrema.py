from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from structure_net.core import StandardSparseLayer, create_standard_network
from structure_net.core.weights import by_output
from structure_net.errors import StructureNetError
from structure_net.evolution import ComposableEvolutionSystem, NetworkContext, observe
from structure_net.evolution.components import (
    ExtremaGrowthStrategy,
    NetworkStatsAnalyzer,
    StandardExtremaAnalyzer,
)
from structure_net.evolution.components.strategies.feasible import drawn_pairs
from structure_net.evolution.metrics import dead_units, overactive_units, saturated_units
from structure_net.surgery import AddConnections, AddNeurons, InsertLayer, ResetNeurons


def on(network: nn.Module, inputs: Tensor, **options: Any) -> NetworkContext:
    targets = torch.zeros(len(inputs), dtype=torch.int64)
    return NetworkContext(network, [(inputs, targets)], **options)


def analyzed(context: NetworkContext, **options: Any) -> Any:
    return ComposableEvolutionSystem([StandardExtremaAnalyzer(**options)]).analyze(context)


def grower(**options: Any) -> ComposableEvolutionSystem:
    return ComposableEvolutionSystem([StandardExtremaAnalyzer(), ExtremaGrowthStrategy(**options)])


def diagonal(values: list[float], activation: nn.Module) -> nn.Sequential:
    """Units that see the input times one value each; the input is 1 for all samples below."""
    first = nn.Linear(1, len(values))
    with torch.no_grad():
        first.weight.copy_(torch.tensor(values).unsqueeze(1))
        first.bias.zero_()
    return nn.Sequential(first, activation, nn.Linear(len(values), 2))


def test_dead_means_never_above_the_threshold() -> None:
    network = diagonal([-1.0, 0.0, 0.009, 0.011, 1.0], nn.ReLU())
    found = analyzed(on(network, torch.ones(4, 1)))
    assert found["extrema_dead"] == {"0": (0, 1, 2)}
    assert found["extrema_dead_ratio"] == {"0": 3 / 5}
    assert found["extrema_total_ratio"] == 3 / 5


def test_one_sample_above_the_threshold_is_life() -> None:
    network = diagonal([-1.0, 1.0], nn.ReLU())
    found = analyzed(on(network, torch.tensor([[1.0], [1.0], [-1.0]])))
    assert found["extrema_dead"] == {"0": ()}


def test_a_silent_unit_of_a_centred_activation_is_dead_and_a_negative_one_is_not() -> None:
    found = analyzed(on(diagonal([-1.0, 0.001, 1.0], nn.Tanh()), torch.ones(4, 1)))
    assert found["extrema_dead"] == {"0": (1,)}


def test_a_bounded_unit_is_saturated_where_its_slope_is_small() -> None:
    # 1 - tanh(x)^2 is .42 at 1, .18 at 1.5 and .07 at 2.
    found = analyzed(on(diagonal([1.0, 1.5, 2.0, -2.0, 5.0], nn.Tanh()), torch.ones(4, 1)))
    assert found["extrema_saturated"] == {"0": (2, 3, 4)}


def test_an_unbounded_unit_is_saturated_where_its_mean_stands_out() -> None:
    # Nine means of 1 and one of 11: mean 2, deviation 3, so that 11 lies 3 deviations above.
    values = [1.0] * 9 + [11.0]
    network, inputs = diagonal(values, nn.ReLU()), torch.ones(4, 1)
    assert analyzed(on(network, inputs))["extrema_saturated"] == {"0": (9,)}
    strict = analyzed(on(network, inputs), saturated_multiplier=3.1)
    assert strict["extrema_saturated"] == {"0": ()}


def test_the_head_has_no_activation_and_is_not_judged() -> None:
    found = analyzed(on(diagonal([1.0, 2.0], nn.ReLU()), torch.ones(4, 1)))
    assert set(found["extrema_ratio"]) == {"0"}
    assert found["extrema_readers"] == {"0": ("2",)}


def test_the_measures_are_pure_functions_of_vectors() -> None:
    assert dead_units(torch.tensor([0.0, 0.02]), 0.01).tolist() == [True, False]
    assert saturated_units(torch.tensor([0.05, 0.5]), 0.1).tolist() == [True, False]
    means = torch.tensor([1.0] * 9 + [11.0])
    assert overactive_units(means, 2.9).tolist() == [False] * 9 + [True]
    # Samuelson: seven values cannot hold one more than 2.5 deviations above their mean.
    assert not overactive_units(torch.tensor([0.0] * 6 + [1e6]), 2.5).any()


def test_an_analyzer_on_its_own_says_what_it_needs() -> None:
    context = on(diagonal([1.0], nn.ReLU()), torch.ones(4, 1))
    with pytest.raises(StructureNetError, match=r"context\.observation"):
        StandardExtremaAnalyzer().analyze(context)
    seen = observe(context.network, context.train_batches())
    found = StandardExtremaAnalyzer().analyze(replace(context, observation=seen))
    assert found["extrema_dead"] == {"0": ()}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_batches": 0}, "max_batches must be 1 or more; got 0"),
        ({"dead_threshold": -1.0}, "dead_threshold must be 0 or more"),
        ({"saturated_multiplier": 0.0}, "saturated_multiplier must be positive"),
    ],
)
def test_impossible_thresholds_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        StandardExtremaAnalyzer(**options)


def test_statistics_are_those_of_the_network(context: NetworkContext) -> None:
    found = ComposableEvolutionSystem([NetworkStatsAnalyzer()]).analyze(context)
    stats = context.network.get_network_stats()  # type: ignore[operator]
    assert found["network_connections"] == stats["total_connections"]
    assert found["network_parameters"] == stats["total_parameters"]
    assert found["network_density"] == stats["density"]
    assert found["network_depth"] == 3
    assert found["network_layers"]["layers.1"]["inputs"] == 16


def test_each_dead_unit_gets_its_patch_of_connections_into_it(context: NetworkContext) -> None:
    layer = context.network.layers[0]  # type: ignore[index]
    before = set(layer.pattern.pairs)
    (proposal,) = [
        edit
        for _, _, edit in grower(patch_size=3).propose(context)
        if isinstance(edit, AddConnections) and edit.scale > 0 and edit.layer == "layers.0"
    ]
    units = [unit for unit, _ in proposal.pairs]
    assert {unit: units.count(unit) for unit in units} == dict.fromkeys(range(8), 3)
    assert before.isdisjoint(proposal.pairs)


def test_revival_never_reads_an_input_that_is_always_zero() -> None:
    network = create_standard_network([12, 16, 3], density=0.2, seed=0)
    with torch.no_grad():
        network.layers[0].bias.fill_(-100.0)  # type: ignore[union-attr, operator]
    torch.manual_seed(0)
    inputs = torch.rand(32, 12)
    inputs[:, 4:] = 0
    proposed = grower(patch_size=20).propose(on(network, inputs))
    columns = {column for _, _, edit in proposed for _, column in edit.pairs}
    assert columns <= {0, 1, 2, 3}


def test_most_revived_units_fire_and_learn() -> None:
    network = create_standard_network([64, 100, 10], density=0.05, seed=0)
    with torch.no_grad():
        for parameter in network.layers[0].parameters():
            parameter.copy_(-parameter.abs() - 0.01 * (parameter != 0))
        network.layers[0].bias.fill_(-0.05)  # type: ignore[union-attr, operator]
    torch.manual_seed(0)
    context = on(network, torch.rand(256, 64))
    assert analyzed(context)["extrema_dead_ratio"]["layers.0"] == 1
    grown = grower().evolve_network(context, 1)
    dead = analyzed(grown)["extrema_dead_ratio"]["layers.0"]
    # Twenty random weights against three negative ones: nearly all units see a sample that
    # outweighs them.
    assert dead < 0.2
    loss = F.cross_entropy(grown.network(torch.rand(256, 64)), torch.zeros(256, dtype=torch.int64))
    loss.backward()
    layer = grown.network.get_submodule("layers.0")
    gradient = layer.get_parameter("weight").grad
    assert gradient is not None
    assert (by_output(layer, gradient.abs()) > 0).double().mean() > 0.8


def saturated_context() -> NetworkContext:
    """Units 0 and 1 of the first layer dominate it."""
    network = create_standard_network([12, 32, 16, 3], density=0.2, seed=0)
    with torch.no_grad():
        network.layers[0].bias[:2] = 50.0  # type: ignore[union-attr, index]
    torch.manual_seed(0)
    return on(network, torch.rand(64, 12))


def test_saturated_units_get_connections_out_of_them_and_the_function_stays() -> None:
    context = saturated_context()
    found = analyzed(context)
    assert found["extrema_saturated"]["layers.0"] == (0, 1)
    proposed = [
        edit
        for _, reason, edit in grower(patch_size=3).propose(context)
        if reason == "relieve 2 saturated units of layers.0"
    ]
    (edit,) = proposed
    assert edit.layer == "layers.1"
    assert edit.scale == 0
    sources = [column for _, column in edit.pairs]
    assert (sources.count(0), sources.count(1), len(sources)) == (3, 3, 6)
    relief = AddConnections(edit.layer, edit.pairs)
    inputs = next(iter(context.data_loader))[0]
    with torch.no_grad():
        before = context.network(inputs)
        grown = context.fork()
        from structure_net.surgery import apply

        apply(grown.network, relief, inputs)
        # Zero weights add zeros: exact.
        assert torch.equal(grown.network(inputs), before)


def test_a_pair_that_both_ends_ask_for_is_made_once() -> None:
    context = saturated_context()
    with torch.no_grad():
        context.network.layers[1].bias.fill_(-1e4)  # type: ignore[index, union-attr, operator]
    evolved = grower(patch_size=32).evolve_network(context, 1)
    # Every unit of the second layer is dead and reads all that is active, the saturated included.
    mask = evolved.network.layers[1].pattern.mask()  # type: ignore[index, union-attr]
    assert mask[:, :2].all()


def test_a_dense_network_resets_dead_units_and_widens_beside_saturated_ones() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(12, 32), nn.ReLU(), nn.Linear(32, 3))
    with torch.no_grad():
        network[0].bias.fill_(3.0)
        network[0].bias[:2] = 50.0
        network[0].bias[2:5] = -50.0
    context = on(network, torch.rand(64, 12))
    proposed = [edit for _, _, edit in grower().propose(context)]
    assert proposed == [ResetNeurons("0", (2, 3, 4)), AddNeurons("0", 2)]
    evolved = grower().evolve_network(context, 1)
    assert evolved.network[0].weight.shape == (34, 12)  # type: ignore[index, union-attr]
    assert analyzed(evolved)["extrema_dead"]["0"] == ()


def test_layers_that_cannot_be_edited_are_left_alone() -> None:
    class Literal(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Linear(12, 32)
            self.second = nn.Linear(32, 3)

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = self.second(torch.relu(self.first(x)).flip(1))
            return out

    network = Literal()
    with torch.no_grad():
        network.first.bias[:5] = -50.0
    context = on(network, torch.rand(64, 12))
    assert grower().propose(context) == ()
    # A layer behind it needs no free width.
    (proposal,) = grower(add_layer_on_extrema=True).propose(context)
    assert proposal[2] == InsertLayer("first")


def test_a_layer_is_added_where_extrema_exceed_the_threshold(context: NetworkContext) -> None:
    def inserted(**options: Any) -> list[Any]:
        proposed = grower(**options).propose(context)
        return [edit for _, _, edit in proposed if isinstance(edit, InsertLayer)]

    # Half of the first layer is dead.
    assert inserted(extrema_threshold=0.4, add_layer_on_extrema=True) == [InsertLayer("layers.0")]
    assert inserted(extrema_threshold=0.6, add_layer_on_extrema=True) == []
    assert inserted(extrema_threshold=0.4) == []
    assert inserted(extrema_threshold=0.4, add_layer_on_extrema=True, max_layers=3) == []


def test_added_layers_stop_at_the_limit(context: NetworkContext) -> None:
    system = grower(extrema_threshold=0.0, add_layer_on_extrema=True, max_layers=5)
    evolved = system.evolve_network(context, 4)
    kinds = [type(entry.edit) for entry in evolved.journal.edits]
    assert kinds.count(InsertLayer) == 2
    layers = [m for m in evolved.network.modules() if isinstance(m, StandardSparseLayer)]
    assert len(layers) == 5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"extrema_threshold": 1.5}, r"extrema_threshold must be in \[0, 1\]; got 1.5"),
        ({"patch_size": 0}, "patch_size must be 1 or more"),
        ({"max_layers": 0}, "max_layers must be 1 or more"),
    ],
)
def test_impossible_growth_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ExtremaGrowthStrategy(**options)


def test_draws_follow_their_weights_and_never_repeat() -> None:
    weight = torch.tensor([[0.0, 1.0, 1.0, 8.0]]).expand(4000, -1)
    generator = torch.Generator().manual_seed(0)
    one = drawn_pairs(weight, 1, generator)
    counts = torch.bincount(torch.tensor([column for _, column in one]), minlength=4) / 4000
    # Binomial standard deviation sqrt(.8 * .2 / 4000) = .006; five of them.
    torch.testing.assert_close(counts, torch.tensor([0.0, 0.1, 0.1, 0.8]), atol=0.032, rtol=0)
    all_of_them = drawn_pairs(weight[:2], 10, generator)
    assert all_of_them == [(row, column) for row in range(2) for column in (1, 2, 3)]


def normed() -> nn.Sequential:
    """A normalisation behind the activation: its layer's units cannot be changed by a count."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.LayerNorm(16), nn.Linear(16, 3))


@pytest.mark.parametrize("bias", [-100.0, 100.0])
def test_units_that_cannot_be_changed_are_passed_over(bias: float) -> None:
    network = normed()
    with torch.no_grad():
        network[0].bias[0] = bias
    context = on(network, torch.rand(32, 4))
    found = analyzed(context)
    assert 0 in found["extrema_dead"]["0"] + found["extrema_saturated"]["0"]
    grown = grower().evolve_network(context, 1)
    assert not grown.journal.edits


@pytest.mark.parametrize("make", [nn.ReLU6, lambda: nn.Hardtanh(0.0, 6.0)])
def test_a_rectifier_with_a_ceiling_is_saturated_at_the_ceiling_alone(make: Any) -> None:
    # At rest, dead; within, neither; at 6, saturated.
    found = analyzed(on(diagonal([-1.0, 2.0, 5.0, 7.0], make()), torch.ones(4, 1)))
    assert found["extrema_dead"] == {"0": (0,)}
    assert found["extrema_saturated"] == {"0": (3,)}


def test_a_unit_of_a_rectifier_with_a_ceiling_that_rarely_fires_is_not_saturated() -> None:
    inputs = torch.zeros(100, 1)
    inputs[0] = 1.0
    assert analyzed(on(diagonal([2.0], nn.ReLU6()), inputs))["extrema_saturated"] == {"0": ()}


def test_the_bounds_of_a_hardtanh_are_those_of_its_call() -> None:
    wide = analyzed(on(diagonal([1.5, -1.5, 2.5, -2.5], nn.Hardtanh(-2, 2)), torch.ones(4, 1)))
    assert wide["extrema_saturated"] == {"0": (2, 3)}
    usual = analyzed(on(diagonal([0.5, 1.5, -1.5], nn.Hardtanh()), torch.ones(4, 1)))
    assert usual["extrema_saturated"] == {"0": (1, 2)}
