"""The quantities of the DEN library's formulas, each against a case that is computed by hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch

from structure_net.den import (
    AdaptiveGrowth,
    BiologicalGrowth,
    DynamicExpandableNetwork,
    GradientBasedGrowth,
    GrowthStrategy,
    LossBasedGrowth,
)
from structure_net.den.growth_strategy.signals import Moment, Signals, patience_counter
from structure_net.den.measuring import gradient_norms, layer_activities, unit_importances
from structure_net.errors import MissingAnalysisError
from structure_net.evolution import part_from_dict, part_to_dict

NAMES = ("layers.0", "layers.1", "layers.2", "layers.3")


def network(*hidden: int) -> DynamicExpandableNetwork:
    return DynamicExpandableNetwork(4, 1, hidden, seed=0)


def metrics(
    losses: Sequence[float],
    *,
    events: Sequence[tuple[int, str]] = (),
    gradients: Sequence[Sequence[float]] = ((0.0, 0.0),),
    activities: Sequence[float] = (0.1, 0.1),
    parameters: int = 100,
    magnitudes: Sequence[float] = (),
) -> dict[str, Any]:
    """Metrics of the last of some epochs; of gradients the newest one holds for those missing."""
    history = [
        {
            "epoch": epoch,
            "loss": loss,
            "num_parameters": parameters,
            "gradient_norms": dict(
                zip(NAMES, gradients[min(epoch, len(gradients) - 1)], strict=False)
            ),
            "activities": dict(zip(NAMES, activities, strict=False)),
            "activation_magnitudes": dict(zip(NAMES, magnitudes, strict=False)),
        }
        for epoch, loss in enumerate(losses)
    ]
    noted = [{"epoch": epoch, "type": kind} for epoch, kind in events]
    return {**history[-1], "history": history, "growth_events": noted}


def asked(
    strategy: GrowthStrategy, found: dict[str, Any], net: DynamicExpandableNetwork
) -> dict[str, Any] | None:
    """What a strategy does; None where it does not grow."""
    grow, reason = strategy.should_grow(found, net, found["epoch"])
    assert grow == (reason is not None)
    return dict(strategy.determine_growth_action(found, net)) if grow else None


def signals(*moments: Moment, sizes: tuple[int, ...] = (8, 8)) -> Signals:
    return Signals(moments, (), NAMES[: len(sizes)], sizes)


def test_the_patience_counter_counts_epochs_that_do_not_improve_the_best() -> None:
    # 1.0; .95 improves by .05, not more than .1; .8 by .15; .85 does not; .69 by .11.
    losses = [1.0, 0.95, 0.8, 0.85, 0.69]
    counted = [patience_counter(losses[: n + 1], 0.1) for n in range(5)]
    assert counted == [0, 1, 0, 1, 0]


def test_loss_based_growth_waits_for_patience_and_cooldown() -> None:
    strategy, net = LossBasedGrowth(patience=2, cooldown=3, min_delta=0.1), network(8, 8)
    assert asked(strategy, metrics([1.0, 1.0]), net) is None
    assert asked(strategy, metrics([1.0, 1.0, 1.0]), net) is not None
    assert asked(strategy, metrics([1.0] * 5, events=[(2, "width")]), net) is None
    assert asked(strategy, metrics([1.0] * 6, events=[(2, "width")]), net) is not None


@pytest.mark.parametrize(
    ("sizes", "ratio", "most", "wanted"),
    [
        ((9, 7), 0.5, 32, (1, 3)),  # the smaller one: floor(7 * .5)
        ((80, 90), 0.5, 32, (0, 32)),  # min(40, 32)
        ((1, 8), 0.5, 32, (0, 1)),  # floor(.5) would be nothing
    ],
)
def test_loss_based_growth_widens_the_smallest_layer(
    sizes: tuple[int, ...], ratio: float, most: int, wanted: tuple[int, int]
) -> None:
    strategy = LossBasedGrowth(1, width_growth_ratio=ratio, max_neurons_per_expansion=most)
    action = asked(strategy, metrics([1.0, 1.0]), network(*sizes))
    assert action == {"type": "width", "layer_idx": wanted[0], "num_neurons": wanted[1]}


def test_loss_based_growth_deepens_after_every_third_width() -> None:
    strategy, net = LossBasedGrowth(1, 0, max_neurons_per_expansion=9), network(8, 12, 13)
    widths = [(0, "width"), (1, "width"), (2, "width")]
    deeper = {"type": "depth", "position": 1, "num_neurons": 9}  # min(mean 11, 9) at floor(3 / 2)
    assert asked(strategy, metrics([1.0] * 5, events=widths), net) == deeper
    action = asked(strategy, metrics([1.0] * 6, events=[*widths, (3, "depth")]), net)
    assert action is not None
    assert action["type"] == "width"
    bounded = LossBasedGrowth(1, 0, max_layers=3)
    action = asked(bounded, metrics([1.0] * 5, events=widths), net)
    assert action is not None
    assert action["type"] == "width"


def test_gradient_norms_are_those_of_the_layers_weights() -> None:
    net = network(2, 2)
    assert gradient_norms(net) == {}
    net.layers[0].get_parameter("weight").grad = torch.full((2, 4), 0.5)  # sqrt(8 / 4)
    net.layers[1].get_parameter("weight").grad = torch.tensor([[3.0, 0.0], [0.0, 4.0]])
    assert gradient_norms(net) == pytest.approx({"layers.0": 2**0.5, "layers.1": 5.0})


def test_gradient_based_growth_needs_large_gradients_and_a_plateau() -> None:
    strategy, net = GradientBasedGrowth(patience=2, gradient_threshold=0.1), network(8, 8)
    assert asked(strategy, metrics([1.0] * 3, gradients=[(0.09, 0.1)]), net) is None
    assert asked(strategy, metrics([1.0] * 2, gradients=[(0.3, 0.1)]), net) is None
    assert asked(strategy, metrics([1.0] * 3, gradients=[(0.3, 0.1)]), net) is not None


def test_gradient_based_growth_averages_over_its_window() -> None:
    # The means of the last two epochs: layer 0 (.1 + .3) / 2 = .2, layer 1 (.2 + .22) / 2 = .21.
    gradients = [(9.0, 0.0), (0.1, 0.2), (0.3, 0.22)]
    strategy = GradientBasedGrowth(2, hebbian_window=2, gradient_threshold=0.204)
    action = asked(strategy, metrics([1.0] * 3, gradients=gradients), network(8, 10))
    assert action == {"type": "width", "layer_idx": 1, "num_neurons": 3}  # floor(10 * .3)
    strategy = GradientBasedGrowth(2, hebbian_window=2, gradient_threshold=0.206)
    assert asked(strategy, metrics([1.0] * 3, gradients=gradients), network(8, 10)) is None


@pytest.mark.parametrize(("size", "units"), [(3, 1), (10, 3), (200, 32)])
def test_gradient_based_growth_adds_three_in_ten(size: int, units: int) -> None:
    action = asked(
        GradientBasedGrowth(1), metrics([1.0] * 2, gradients=[(1.0, 0.0)]), network(size, 8)
    )
    assert action == {"type": "width", "layer_idx": 0, "num_neurons": units}


def test_stagnation_is_little_fall_and_little_spread() -> None:
    strategy = AdaptiveGrowth(patience=2, loss_threshold=0.1)
    flat = [Moment(n, loss, 10) for n, loss in enumerate([1.0, 0.95, 0.93])]
    assert strategy.is_stagnant(signals(*flat))  # fell by .07; the deviation of the last two: .01
    assert not strategy.is_stagnant(signals(*flat[:2]))  # too early
    wild = [Moment(n, loss, 10) for n, loss in enumerate([1.0, 0.75, 0.95])]
    assert strategy.is_stagnant(signals(*wild))  # the deviation of .75 and .95 is .1 to rounding
    wilder = [Moment(n, loss, 10) for n, loss in enumerate([1.0, 0.7, 0.95])]
    assert not strategy.is_stagnant(signals(*wilder))  # .125


def test_efficiency_declines_below_four_fifths_of_its_mean() -> None:
    # 1 / (.5 * 2) = 1 and 1 / (.5 * 4) = .5: the mean of both is .75, and .8 * .75 = .6.
    found = signals(Moment(0, 0.5, 1000), Moment(1, 0.5, 3000))
    assert found.efficiencies(5) == pytest.approx([1.0, 0.5])
    assert found.efficiency_declines(5)
    # 1 / (.5 * 2.6) = .769: above .8 * .885 = .708.
    assert not signals(Moment(0, 0.5, 1000), Moment(1, 0.5, 1600)).efficiency_declines(5)
    assert not signals(Moment(0, 0.5, 1000)).efficiency_declines(5)
    assert not signals(Moment(0, 0.5, 1000), Moment(1, 0.0, 3000)).efficiency_declines(5)


def test_adaptive_growth_needs_a_plateau_room_and_a_reason() -> None:
    strategy = AdaptiveGrowth(2, 0, loss_threshold=0.1, gradient_threshold=0.5)
    net = network(8, 8)
    assert asked(strategy, metrics([1.0] * 3), net) is not None  # stagnant
    # On a plateau, since no epoch beats the best by .1; not stagnant, since the loss swings by .25.
    swinging = [1.0, 1.5, 1.0]
    assert asked(strategy, metrics(swinging), net) is None
    assert asked(strategy, metrics(swinging, gradients=[(0.4, 0.7)]), net) is not None
    assert asked(strategy, metrics([1.0] * 3, parameters=10_000), net) is None
    assert asked(strategy, metrics([1.0] * 2), net) is None


def test_adaptive_growth_deepens_few_or_equal_layers_until_a_bound() -> None:
    strategy = AdaptiveGrowth(1, 0, max_layers=4, max_neurons_per_expansion=20)
    few = asked(strategy, metrics([1.0] * 2), network(8, 17))
    assert few == {"type": "depth", "position": 1, "num_neurons": 12}  # floor(12.5) at 2 / 2
    equal = asked(strategy, metrics([1.0] * 2), network(24, 24, 24))
    assert equal == {"type": "depth", "position": 1, "num_neurons": 20}
    bounded = asked(strategy, metrics([1.0] * 2, gradients=[(1, 1, 1, 1)]), network(9, 9, 9, 9))
    assert bounded == {"type": "width", "layer_idx": 0, "num_neurons": 4}


def test_adaptive_growth_widens_where_gradient_for_each_unit_and_activation_are_largest() -> None:
    # S = .9 / 9 * 1.5 = .15; .6 / 5 * 1 = .12; 1.7 / 17 * 2 = .2.
    found = metrics([1.0] * 2, gradients=[(0.9, 0.6, 1.7)], magnitudes=(0.5, 0.0, 1.0))
    strategy, net = AdaptiveGrowth(1, 0), network(8, 4, 16)
    moment = Moment(0, 1.0, 1, found["gradient_norms"], found["activation_magnitudes"])
    scores = strategy.scores(signals(moment, sizes=(8, 4, 16)))
    assert scores == pytest.approx({"layers.0": 0.15, "layers.1": 0.12, "layers.2": 0.2})
    assert asked(strategy, found, net) == {"type": "width", "layer_idx": 2, "num_neurons": 8}


def test_activity_is_relative_to_the_most_active_layer() -> None:
    net = network(2, 1)
    first, second = net.layers[0], net.layers[1]
    with torch.no_grad():
        first.get_parameter("weight").copy_(torch.tensor([[1.0, -1, 0, 0], [0, 0, 0, 3]]))
        first.get_parameter("bias").copy_(torch.tensor([1.0, 0]))  # units 3 and 3
        second.get_parameter("weight").copy_(torch.tensor([[0.5, -0.5]]))
        second.get_parameter("bias").fill_(0.2)  # 1.2
    assert layer_activities(net) == pytest.approx({"layers.0": 1.0, "layers.1": 0.4})


def test_importance_is_the_norm_of_what_reads_a_unit_and_its_bias() -> None:
    net = network(2, 2)
    with torch.no_grad():
        net.layers[1].get_parameter("weight").copy_(torch.tensor([[3.0, 0.0], [4.0, 1.0]]))
        net.layers[0].get_parameter("bias").copy_(torch.tensor([0.0, -0.5]))
    found = unit_importances(net)["layers.0"]
    torch.testing.assert_close(found, torch.tensor([5.0, 1.5], dtype=torch.float64))


def test_biological_growth_needs_activity_or_plasticity_on_a_plateau() -> None:
    strategy = BiologicalGrowth(2, 0, activity_threshold=0.3, max_layers=0)
    net = network(8, 8)
    assert asked(strategy, metrics([1.0] * 3, activities=(0.2, 0.39)), net) is None
    assert asked(strategy, metrics([1.0] * 3, activities=(0.2, 0.41)), net) is not None
    assert asked(strategy, metrics([1.0] * 3, gradients=[(0.0, 0.12)]), net) is not None
    assert asked(strategy, metrics([1.0] * 3, gradients=[(0.0, 0.09)]), net) is None
    assert asked(strategy, metrics([1.0] * 2, activities=(1.0, 1.0)), net) is None
    full = metrics([1.0] * 3, activities=(1.0, 1.0), parameters=10_000)
    assert asked(strategy, full, net) is None


def test_biological_growth_favours_active_and_small_layers() -> None:
    strategy = BiologicalGrowth(1, 0, max_neurons_per_expansion=16)
    # 2 * .6 + 1 / 21 = 1.248 and 2 * .5 + 1 / 3 = 1.333; base max(floor(.6), 2), bonus floor(1).
    action = asked(strategy, metrics([1.0] * 2, activities=(0.6, 0.5)), network(20, 2))
    assert action == {"type": "width", "layer_idx": 1, "num_neurons": 3}
    # base floor(20 * .3) = 6, bonus floor(6 * .6) = 3.
    action = asked(strategy, metrics([1.0] * 2, activities=(0.6, 0.1)), network(20, 2))
    assert action == {"type": "width", "layer_idx": 0, "num_neurons": 9}
    action = asked(strategy, metrics([1.0] * 2, activities=(0.6, 0.1)), network(90, 2))
    assert action == {"type": "width", "layer_idx": 0, "num_neurons": 16}


def test_biological_growth_deepens_where_a_layer_is_very_active() -> None:
    strategy, found = BiologicalGrowth(1, 0), metrics([1.0] * 2, activities=(0.71, 0.1))
    deeper = {"type": "depth", "position": 1, "num_neurons": 9}
    assert asked(strategy, found, network(10, 8)) == deeper
    bounded = asked(BiologicalGrowth(1, 0, max_layers=2), found, network(10, 8))
    assert bounded is not None
    assert bounded["type"] == "width"


def test_the_metabolic_cost_bounds_growth_where_it_is_asked_to() -> None:
    strategy = BiologicalGrowth(1, 0, energy_cost_weight=0.01, max_energy=2.5)
    assert strategy.energy_cost(100) == pytest.approx(100**1.2 * 0.01)  # 2.512
    assert asked(strategy, metrics([1.0] * 2, activities=(1.0, 1.0)), network(8, 8)) is None
    cheap = metrics([1.0] * 2, activities=(1.0, 1.0), parameters=99)
    assert asked(strategy, cheap, network(8, 8)) is not None


def weak_network() -> DynamicExpandableNetwork:
    """Of ten units of the first layer, the reader hears three hardly and one not at all."""
    net = network(10, 4)
    with torch.no_grad():
        reader = torch.ones(4, 10)
        reader[:, [1, 4, 7]] = 0.05
        reader[:, 9] = 0.0
        net.layers[1].get_parameter("weight").copy_(reader)
        net.output.weight.fill_(1.0)
    return net


def test_use_it_or_lose_it_prunes_the_weakest_down_to_the_least_size() -> None:
    strategy, net = BiologicalGrowth(99, 2, pruning_threshold=0.1), weak_network()
    found = metrics([1.0] * 6)
    prune, reason = strategy.should_prune(found, net, 5)
    assert prune
    assert reason == "2 of 10 units of layer 0 are hardly read"
    action = strategy.determine_pruning_action(found, net)
    # Ten units may lose two, of the four weak ones the weakest and the first of equals.
    assert action == {"type": "prune", "layer_idx": 0, "neuron_indices": [1, 9]}
    smaller = BiologicalGrowth(99, 2, min_layer_size=2)
    action = smaller.determine_pruning_action(found, net)
    assert action["neuron_indices"] == [1, 4, 7, 9]


def test_pruning_waits_for_more_than_twice_the_cooldown() -> None:
    strategy, net = BiologicalGrowth(99, 2), weak_network()
    assert not strategy.should_prune(metrics([1.0] * 4), net, 3)[0]
    assert strategy.should_prune(metrics([1.0] * 5), net, 4)[0]
    assert not strategy.should_prune(metrics([1.0] * 7, events=[(2, "prune")]), net, 6)[0]
    assert strategy.should_prune(metrics([1.0] * 8, events=[(2, "prune")]), net, 7)[0]
    assert not strategy.should_prune(metrics([1.0] * 8, events=[(6, "width")]), net, 7)[0]
    off = BiologicalGrowth(99, 2, enable_pruning=False)
    assert not off.should_prune(metrics([1.0] * 9), net, 8)[0]


def test_a_fifth_of_weak_units_is_not_enough() -> None:
    net = weak_network()
    with torch.no_grad():
        net.layers[1].get_parameter("weight")[:, [1, 4]] = 1.0
    strategy = BiologicalGrowth(99, 0, min_layer_size=2)
    assert not strategy.should_prune(metrics([1.0] * 9), net, 8)[0]
    with pytest.raises(ValueError, match="should_prune"):
        strategy.determine_pruning_action(metrics([1.0] * 9), net)


def test_a_strategy_that_is_asked_without_a_history_keeps_one() -> None:
    strategy, net = LossBasedGrowth(patience=2, cooldown=2, min_delta=0.1), network(8, 6)
    answers = [strategy.should_grow({"loss": 1.0}, net, epoch)[0] for epoch in range(7)]
    assert answers == [False, False, True, False, True, False, True]
    again = [strategy.should_grow({"loss": 1.0}, net, 6)[0] for _ in range(3)]
    assert again == [True] * 3
    action = strategy.determine_growth_action({"loss": 1.0}, net)
    assert action == {"type": "width", "layer_idx": 1, "num_neurons": 3}


def test_gradients_may_be_listed_by_layer() -> None:
    strategy, net = GradientBasedGrowth(patience=1), network(8, 10)
    found = {"loss": 1.0, "gradient_norms": [0.1, 0.9]}
    assert [strategy.should_grow(found, net, epoch)[0] for epoch in range(2)] == [False, True]
    assert strategy.determine_growth_action(found, net)["layer_idx"] == 1


def test_what_nobody_measured_is_named() -> None:
    strategy = GradientBasedGrowth(patience=0)
    with pytest.raises(MissingAnalysisError, match="gradient_norms"):
        strategy.should_grow({"loss": 1.0}, network(8, 8), 0)
    with pytest.raises(MissingAnalysisError, match="loss"):
        LossBasedGrowth().should_grow({}, network(8, 8), 0)


@pytest.mark.parametrize(
    "kind", [LossBasedGrowth, GradientBasedGrowth, AdaptiveGrowth, BiologicalGrowth]
)
def test_a_strategy_is_stored_as_data(kind: type[GrowthStrategy]) -> None:
    strategy = kind(patience=3, cooldown=1)  # type: ignore[call-arg]
    stored = part_to_dict(strategy)
    assert part_to_dict(part_from_dict(stored, known=[kind])) == stored


@pytest.mark.parametrize("name", ["patience", "cooldown", "min_delta", "width_growth_ratio"])
def test_an_argument_out_of_range_is_named(name: str) -> None:
    with pytest.raises(ValueError, match=name):
        LossBasedGrowth(**{name: -1})
    with pytest.raises(ValueError, match="max_neurons_per_expansion"):
        LossBasedGrowth(max_neurons_per_expansion=0)


def test_a_strategy_that_never_prunes_says_so() -> None:
    assert LossBasedGrowth().should_prune({}, network(8), 0) == (False, None)
    with pytest.raises(NotImplementedError, match=r"never prunes\. Override determine_pru"):
        LossBasedGrowth().determine_pruning_action({}, network(8))
