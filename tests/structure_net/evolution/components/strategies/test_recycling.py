from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from structure_net.evolution import (
    ComposableEvolutionSystem,
    EpochRecord,
    EveryNSteps,
    NetworkContext,
    TrainingHistory,
    part_from_dict,
    part_to_dict,
)
from structure_net.evolution.components.analyzers import (
    StandardExtremaAnalyzer,
    UtilityAnalysis,
    UtilityAnalyzer,
)
from structure_net.evolution.components.strategies import ContinualBackprop, ReDo
from structure_net.evolution.components.strategies.recycling import (
    Lives,
    unit_lives,
    whole_units,
)
from structure_net.graph import trace
from structure_net.surgery import (
    AddNeurons,
    EditEntry,
    EventEntry,
    Journal,
    ResetNeurons,
    WidthChange,
)
from structure_net.testing import check_analyzer, check_strategy, example_context


def _dense(seed: int = 0, *, after: int = 0) -> NetworkContext:
    """A small dense network; unit 1 of its first layer is silent."""
    draw = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3))
    with torch.no_grad():
        network[0].bias[1] = -100.0
    data = [(torch.randn(32, 4, generator=draw), torch.randint(3, (32,), generator=draw))]
    records = [EpochRecord(1, 0, after, {}, 0, 0)] if after else []
    return NetworkContext(network, data, history=TrainingHistory(records), seed=seed)


def test_redo_resets_units_up_to_tau() -> None:
    context = _dense()
    analysis = {"extrema_dormancy": {"0": torch.tensor([2.0, 0.0, 0.03, 0.02, 2.0, 1.95])}}
    assert [p.edit for p in ReDo(0.025).propose(context, analysis)] == [ResetNeurons("0", (1, 3))]
    assert [p.edit for p in ReDo(0.0).propose(context, analysis)] == [ResetNeurons("0", (1,))]
    assert ReDo(0.1).propose(context, {"extrema_dormancy": {"0": torch.ones(6)}}) == []


def test_redo_gives_fresh_incoming_and_zero_outgoing_weights_and_empty_moments() -> None:
    context = _dense()
    optimizer = torch.optim.Adam(context.network.parameters(), lr=0.01)
    for inputs, targets in context.data_loader:
        F.cross_entropy(context.network(inputs), targets).backward()
    optimizer.step()
    context = replace(context, optimizer=optimizer)
    grown = ComposableEvolutionSystem([StandardExtremaAnalyzer(), ReDo()]).evolve_network(
        context, 1
    )
    assert [entry.edit for entry in grown.journal.edits] == [ResetNeurons("0", (1,))]
    first, last = grown.network.get_submodule("0"), grown.network.get_submodule("2")
    assert first.bias[1] == 0
    assert bool(first.weight[1].any())
    assert not torch.equal(first.weight[1], context.network.get_submodule("0").weight[1])
    assert not bool(last.weight[:, 1].any())
    assert grown.optimizer is not None
    assert not bool(grown.optimizer.state[first.weight]["exp_avg"][1].any())
    assert not bool(grown.optimizer.state[last.weight]["exp_avg_sq"][:, 1].any())


def test_a_silent_unit_that_redo_resets_keeps_the_function_and_learns_again() -> None:
    context = _dense()
    check_strategy(ReDo(), (StandardExtremaAnalyzer(),), context)
    check_strategy(ReDo(), (StandardExtremaAnalyzer(),), example_context())
    grown = ComposableEvolutionSystem([StandardExtremaAnalyzer(), ReDo(0.0)]).evolve_network(
        context, 1
    )
    inputs = next(iter(context.train_batches(1)))[0]
    torch.testing.assert_close(grown.network(inputs), context.network(inputs))
    assert bool((grown.network.get_submodule("0")(inputs)[:, 1] > 0).any())


def test_layers_whose_width_is_fixed_are_passed_over() -> None:
    context = _dense()
    scores = {"extrema_dormancy": {"2": torch.zeros(3)}}
    assert ReDo().propose(context, scores) == []
    due = {"utility_contribution": {"2": torch.zeros(3)}}
    assert ContinualBackprop(1.0, 0).propose(replace(context, step=9), due) == []


def test_channels_that_move_together_are_reset_together() -> None:
    network = nn.Sequential(nn.Conv1d(2, 4, 1), nn.ReLU(), nn.Conv1d(4, 4, 1, groups=2))
    group = trace(network, torch.ones(1, 2, 3)).group("0")
    wanted = torch.tensor([True, False, True, True])
    assert set(whole_units(group, wanted)) <= {0, 2, 3}
    assert whole_units(group, torch.zeros(4, dtype=torch.bool)) == ()


def test_the_least_useful_mature_units_are_replaced_when_they_are_due() -> None:
    utility = {"utility_contribution": {"0": torch.tensor([5.0, 1.0, 4.0, 0.5, 3.0, 2.0])}}
    strategy = ContinualBackprop(0.01, maturity=10)
    # Six units, mature from step 10 on: .06 a step, so that the first is due at step 27.
    assert strategy.propose(replace(_dense(), step=26), utility) == []
    (one,) = strategy.propose(replace(_dense(), step=27), utility)
    assert one.edit == ResetNeurons("0", (3,))
    (two,) = strategy.propose(replace(_dense(), step=44), utility)
    assert two.edit == ResetNeurons("0", (1, 3))


def test_a_replaced_unit_is_left_alone_until_it_is_mature() -> None:
    utility = {"utility_contribution": {"0": torch.tensor([5.0, 1.0, 4.0, 0.5, 3.0, 2.0])}}
    context = _dense()
    context.journal.append(EditEntry(ResetNeurons("0", (3,))))
    context.journal.append(EventEntry("grew", 0, "ContinualBackprop", {"step": 27}))
    strategy = ContinualBackprop(0.01, maturity=10)
    # Five units add .05 a step from 27 to 37, then six .06: 1.02 + .5 + .06 (t - 37).
    assert strategy.propose(replace(context, step=44), utility) == []
    (one,) = strategy.propose(replace(context, step=45), utility)
    assert one.edit == ResetNeurons("0", (3,))
    assert strategy.propose(replace(context, step=37), utility) == []


def test_lives_are_read_from_the_journal() -> None:
    journal = Journal()
    journal.append(EditEntry(ResetNeurons("a", (1,))))
    journal.append(EventEntry("grew", 0, "x", {"step": 10}))
    journal.append(EditEntry(ResetNeurons("a", (1, 2))))
    journal.append(EventEntry("grew", 0, "x", {"step": 25}))
    assert unit_lives(journal) == {"a": Lives(0, {1: 25, 2: 25}, [10, 15, 25], 3)}
    journal.append(EditEntry(AddNeurons("a", 2), changes=(WidthChange("a", 4, 6),)))
    journal.append(EventEntry("grew", 0, "x", {"step": 30}))
    assert unit_lives(journal) == {"a": Lives(30)}


def test_replacement_happens_in_the_middle_of_training() -> None:
    context = _dense()
    system = ComposableEvolutionSystem([UtilityAnalyzer()])
    system.add_component(ContinualBackprop(0.01, maturity=10), when=EveryNSteps(1))
    optimizer = torch.optim.SGD(context.network.parameters(), lr=0.1)
    session = system.attach(
        context.network, optimizer=optimizer, data_loader=context.data_loader, loss=context.loss
    )
    grew = []
    for step in range(1, 46):
        for inputs, targets in context.data_loader:
            optimizer.zero_grad()
            loss = F.cross_entropy(context.network(inputs), targets)
            loss.backward()
            optimizer.step()
            if session.after_step(loss):
                grew.append(step)
    assert grew == [27, 45]
    first = session.context.journal.edits[0].edit
    assert isinstance(first, ResetNeurons)
    assert (first.layer, first.indices, len(first.means)) == ("0", (1,), 1)


def test_continual_backprop_keeps_the_promises_of_a_strategy() -> None:
    check_strategy(ContinualBackprop(0.1, 10), (UtilityAnalyzer(),), _dense(after=100))


def test_utility_is_activity_times_outgoing_weights_through_a_flattening_too() -> None:
    check_analyzer(UtilityAnalyzer(), prefix="utility_")
    draw = torch.Generator().manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(27, 5), nn.Tanh(), nn.Linear(5, 2)
    )
    inputs = torch.randn(8, 1, 5, 5, generator=draw)
    context = NetworkContext(network, [(inputs, torch.randint(2, (8,), generator=draw))])
    found: UtilityAnalysis = ComposableEvolutionSystem([UtilityAnalyzer()]).analyze(context)  # type: ignore[assignment]  # by key
    hidden = network[:5](inputs).detach()
    expected = hidden.abs().mean(0) * network[5].weight.detach().abs().sum(0)
    utility = found["utility_contribution"]
    assert set(utility) == {"0", "3"}
    torch.testing.assert_close(utility["3"], expected.double(), atol=1e-6, rtol=0)
    assert list(found["utility_ranking"]) == sorted(
        found["utility_ranking"], key=lambda name: -found["utility_ranking"][name]
    )
    with pytest.raises(ValueError, match="max_batches"):
        UtilityAnalyzer(0)


@pytest.mark.parametrize("strategy", [ReDo(0.1), ContinualBackprop(score="other")])
def test_the_strategies_are_plain_data(strategy: Any) -> None:
    twin = part_from_dict(part_to_dict(strategy))
    assert part_to_dict(twin) == part_to_dict(strategy)
    assert twin.requires == strategy.requires


def test_arguments_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match="tau"):
        ReDo(-1.0)
    with pytest.raises(ValueError, match="replacement_rate"):
        ContinualBackprop(0.0)
    with pytest.raises(ValueError, match="maturity"):
        ContinualBackprop(maturity=-1)


def test_what_surgery_refuses_is_passed_over() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        normed = nn.utils.parametrizations.spectral_norm(nn.Linear(3, 7))
        network = nn.Sequential(normed, nn.ReLU(), nn.Linear(7, 2))
    context = replace(NetworkContext(network, (), example=torch.ones(1, 3)), step=9)
    scores = torch.tensor([0.0, *[1.0] * 6])
    assert ReDo().propose(context, {"extrema_dormancy": {"0": scores}}) == []
    due = {"utility_contribution": {"0": scores}}
    assert ContinualBackprop(0.02, 0).propose(context, due) == []


def test_one_unit_of_a_layer_stays() -> None:
    edits = ReDo().propose(_dense(), {"extrema_dormancy": {"0": torch.zeros(6)}})
    assert edits[0].edit == ResetNeurons("0", (0, 1, 2, 3, 4))
