"""Ages of entries across edits, and the rates that follow from them."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from structure_net import StandardNetwork, create_standard_network
from structure_net.evolution.adaptive_learning_rates import (
    AgeBasedRates,
    AttachedRates,
    GrowthPhaseScheduler,
    Place,
    UnifiedAdaptiveLearning,
)
from structure_net.evolution.adaptive_learning_rates.generations import Generations
from structure_net.surgery import (
    AddConnections,
    AddNeurons,
    EditEntry,
    InsertLayer,
    Journal,
    RemoveNeurons,
    SplitNeurons,
    apply,
    edit,
    load_checkpoint,
    save_checkpoint,
)

EXAMPLE = torch.zeros(2, 6, dtype=torch.float64)
KINDS = ["sgd", "momentum", "adam"]


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 2)).double()


def optimizer_of(kind: str, model: nn.Module) -> Optimizer:
    if kind == "adam":
        return torch.optim.Adam(model.parameters(), lr=0.01)
    return torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9 if kind == "momentum" else 0)


def step(model: nn.Module, optimizer: Optimizer, seed: int = 0) -> None:
    generator = torch.Generator().manual_seed(seed)
    first = next(iter(model.parameters()))
    width = model.architecture[0] if isinstance(model, StandardNetwork) else first.size(1)
    dtype = first.dtype
    inputs = torch.randn(16, width, generator=generator, dtype=dtype)
    optimizer.zero_grad()
    (model(inputs) - 1).square().mean().backward()
    optimizer.step()


def steps(model: nn.Module, optimizer: Optimizer, count: int) -> None:
    for seed in range(count):
        step(model, optimizer, seed)


def newborn(attached: AttachedRates) -> dict[str, int]:
    return {rate.parameter: rate.newborn for rate in attached.rates()}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("handed", [True, False])
def test_a_frozen_scaffold_stays_bit_for_bit_while_new_units_learn(kind: str, handed: bool) -> None:
    model = network()
    optimizer = optimizer_of(kind, model)
    rule = GrowthPhaseScheduler(scaffold_factor=0.0, warmup_steps=0)
    UnifiedAdaptiveLearning(rule).attach(optimizer, model)
    steps(model, optimizer, 3)
    edit(model, AddNeurons("0", 2), EXAMPLE, optimizer=optimizer if handed else None)
    before = [parameter.detach().clone() for parameter in model.parameters()]
    steps(model, optimizer, 2)
    first, bias, second, _ = (parameter.detach() for parameter in model.parameters())
    assert torch.equal(first[:5], before[0][:5])
    assert torch.equal(bias[:5], before[1][:5])
    assert torch.equal(second[:, :5], before[2][:, :5])
    assert not torch.equal(second[:, 5:], before[2][:, 5:])
    assert not torch.equal(first[5:], before[0][5:])


@pytest.mark.parametrize("kind", KINDS)
def test_newborn_units_warm_up_by_the_age_of_their_entries(kind: str) -> None:
    model, twin = network(), network()
    optimizer, plain = optimizer_of(kind, model), optimizer_of(kind, twin)
    rule = GrowthPhaseScheduler(newborn_factor=2.0, scaffold_factor=0.5, warmup_steps=4)
    UnifiedAdaptiveLearning(rule).attach(optimizer, model)
    for one, its in ((model, optimizer), (twin, plain)):
        steps(one, its, 3)
        edit(one, AddNeurons("0", 2), EXAMPLE, optimizer=its)
    start = [parameter.detach().clone() for parameter in model.parameters()]
    step(model, optimizer)
    step(twin, plain)
    for before, one, other in zip(start, model.parameters(), twin.parameters(), strict=True):
        expected = 0.5 * (other.detach() - before)
        if other.size(0) == 7:
            expected[5:] = 2.0 * (1 / 4) * (other.detach() - before)[5:]
        elif other.dim() == 2:
            expected[:, 5:] = 2.0 * (1 / 4) * (other.detach() - before)[:, 5:]
        torch.testing.assert_close(one.detach() - before, expected, rtol=0, atol=1e-14)


def test_the_phase_ends_and_factors_return_in_a_straight_line() -> None:
    rule = GrowthPhaseScheduler(1.0, 0.2, growth_steps=10, warmup_steps=0, return_steps=4)

    def scaffold(since: int) -> float | Tensor:
        return rule.local(Place("w", torch.zeros(2), age=100, since_growth=since))

    assert [scaffold(since) for since in (0, 9)] == [0.2, 0.2]
    assert [scaffold(since) for since in (10, 11, 12, 13, 14)] == pytest.approx(
        [0.4, 0.6, 0.8, 1, 1]
    )


def test_nothing_is_scaled_before_anything_was_born() -> None:
    model, twin = network(), network()
    optimizer, plain = optimizer_of("adam", model), optimizer_of("adam", twin)
    UnifiedAdaptiveLearning(GrowthPhaseScheduler(scaffold_factor=0.0)).attach(optimizer, model)
    steps(model, optimizer, 5)
    steps(twin, plain, 5)
    assert all(map(torch.equal, model.parameters(), twin.parameters()))


@pytest.mark.parametrize("kind", KINDS)
def test_ages_follow_growth_pruning_split_and_undo(kind: str) -> None:
    model = network()
    optimizer = optimizer_of(kind, model)
    attached = UnifiedAdaptiveLearning(GrowthPhaseScheduler()).attach(optimizer, model)
    steps(model, optimizer, 2)
    edit(model, AddNeurons("0", 3), EXAMPLE)
    steps(model, optimizer, 2)
    assert newborn(attached) == {"0.weight": 18, "0.bias": 3, "2.weight": 6, "2.bias": 0}
    edit(model, RemoveNeurons("0", (0, 7)), EXAMPLE)
    assert newborn(attached)["0.bias"] == 2
    edit(model, SplitNeurons("0", (4,)), EXAMPLE)
    assert newborn(attached)["0.bias"] == 3, "a half of a newborn unit is as old as the unit"
    grown = apply(model, AddNeurons("0", 1), EXAMPLE)
    assert newborn(attached)["0.bias"] == 4
    grown.undo()
    assert newborn(attached)["0.bias"] == 3


@pytest.mark.parametrize("kind", KINDS)
def test_the_parameters_of_an_inserted_layer_are_newborn(kind: str) -> None:
    model = network()
    optimizer = optimizer_of(kind, model)
    attached = UnifiedAdaptiveLearning(GrowthPhaseScheduler()).attach(optimizer, model)
    steps(model, optimizer, 2)
    edit(model, InsertLayer("0"), EXAMPLE, optimizer=optimizer)
    steps(model, optimizer, 1)
    rates = attached.rates()
    inserted = [rate for rate in rates if "inserted" in rate.parameter]
    assert len(inserted) == 2
    assert all(rate.newborn == rate.entries for rate in inserted)
    assert all(rate.newborn in (0, rate.entries) for rate in rates)
    assert sum(rate.newborn for rate in rates) > 0


@pytest.mark.parametrize("kind", KINDS)
def test_rates_are_known_before_the_first_step_of_an_inserted_layer(kind: str) -> None:
    model = network()
    optimizer = optimizer_of(kind, model)
    rule = GrowthPhaseScheduler(newborn_factor=2.0, scaffold_factor=0.1, warmup_steps=0)
    attached = UnifiedAdaptiveLearning(rule).attach(optimizer, model)
    steps(model, optimizer, 2)
    optimizer.zero_grad()
    edit(model, InsertLayer("0"), EXAMPLE, optimizer=optimizer)
    foreseen = {rate.parameter: rate.effective for rate in attached.rates()}
    rate = optimizer.param_groups[0]["lr"]
    for name, (low, high) in foreseen.items():
        factor = 2.0 if "inserted" in name else 0.1
        assert low == high == pytest.approx(factor * rate, rel=1e-12)
    steps(model, optimizer, 1)
    assert {rate.parameter: rate.effective for rate in attached.rates()} == foreseen
    assert "inserted" in attached.explain()


@pytest.mark.parametrize("kind", KINDS)
def test_steps_with_a_closure_are_scaled_from_the_first_one_on(kind: str) -> None:
    model, twin = network(), network()
    rules = UnifiedAdaptiveLearning(AgeBasedRates(), GrowthPhaseScheduler(warmup_steps=3))
    for one, by_closure in ((model, True), (twin, False)):
        optimizer = optimizer_of(kind, one)
        rules.attach(optimizer, one)
        for number in range(6):
            inputs = torch.full((3, 6), 0.1 * number, dtype=torch.float64)

            def made(one: nn.Module = one, inputs: Tensor = inputs) -> Tensor:
                one.zero_grad()
                loss: Tensor = (one(inputs) - 1).square().mean()
                loss.backward()
                return loss

            if number == 2:
                one.zero_grad()
                edit(one, InsertLayer("0"), EXAMPLE, optimizer=optimizer)
            if by_closure:
                optimizer.step(made)  # type: ignore[arg-type] # torch wants a float of it
            else:
                made()
                optimizer.step()
    assert all(map(torch.equal, model.parameters(), twin.parameters()))


def test_a_parameter_that_takes_no_steps_is_as_old_as_the_rates() -> None:
    model = network()
    model[0].weight.requires_grad_(False)
    optimizer = optimizer_of("adam", model)
    rules = UnifiedAdaptiveLearning(GrowthPhaseScheduler())
    rules.attach(optimizer, model)
    steps(model, optimizer, 2)
    saved = deepcopy(optimizer.state_dict())
    again = optimizer_of("adam", model)
    again.load_state_dict(saved)
    resumed = rules.attach(again, model)
    again.add_param_group({"params": [nn.Parameter(torch.zeros(3), requires_grad=False)]})
    steps(model, again, 1)
    assert all(rate.newborn == 0 for rate in resumed.rates())
    assert all(rate.effective == (0.01, 0.01) for rate in resumed.rates()[:4])


def test_new_connections_of_a_sparse_layer_are_newborn() -> None:
    model = create_standard_network([6, 5, 2], density=0.4, seed=0)
    optimizer = optimizer_of("adam", model)
    attached = UnifiedAdaptiveLearning(GrowthPhaseScheduler()).attach(optimizer, model)
    steps(model, optimizer, 2)
    name = next(n for n, m in model.named_modules() if hasattr(m, "pattern"))
    free = (~model.get_submodule(name).pattern.mask()).nonzero()[:2].tolist()
    edit(model, AddConnections(name, tuple(map(tuple, free))), None)
    steps(model, optimizer, 1)
    assert sum(newborn(attached).values()) == 2


@pytest.mark.parametrize("kind", KINDS)
def test_ages_go_where_the_state_of_the_optimizer_goes(kind: str) -> None:
    model = network()
    optimizer = optimizer_of(kind, model)
    rules = UnifiedAdaptiveLearning(GrowthPhaseScheduler())
    attached = rules.attach(optimizer, model)
    steps(model, optimizer, 2)
    edit(model, AddNeurons("0", 3), EXAMPLE)
    steps(model, optimizer, 1)
    twin = network()
    edit(twin, AddNeurons("0", 3), EXAMPLE)
    twin.load_state_dict(model.state_dict())
    again = optimizer_of(kind, twin)
    again.load_state_dict(deepcopy(optimizer.state_dict()))
    resumed = rules.attach(again, twin)
    assert newborn(resumed) == newborn(attached)
    steps(model, optimizer, 3)
    steps(twin, again, 3)
    assert all(map(torch.equal, model.parameters(), twin.parameters()))


def closed(model: nn.Module, optimizer: Optimizer, seed: int) -> None:
    """One step, with gradients that are made within it."""
    inputs = torch.randn(4, 6, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)

    def made() -> float:
        optimizer.zero_grad()
        loss = (model(inputs) - 1).square().mean()
        loss.backward()
        return float(loss.detach())

    optimizer.step(made)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("take", [step, closed], ids=["plain", "closure"])
def test_a_state_is_loaded_before_or_after_the_rates_are_attached(kind: str, take: Any) -> None:
    """The layer that is new when the state is saved has taken no step, so that no state is its."""
    model = network()
    optimizer = optimizer_of(kind, model)
    rules = UnifiedAdaptiveLearning(GrowthPhaseScheduler(), AgeBasedRates())
    attached = rules.attach(optimizer, model)
    steps(model, optimizer, 2)
    optimizer.zero_grad()
    edit(model, InsertLayer("0"), EXAMPLE, optimizer=optimizer)
    weights, saved = deepcopy(model.state_dict()), deepcopy(optimizer.state_dict())
    order = {id(p): place for place, p in enumerate(model.parameters())}
    for seed in range(3):
        take(model, optimizer, seed)
    for before in (True, False):
        twin = network()
        edit(twin, InsertLayer("0"), EXAMPLE)
        twin.load_state_dict(weights)
        own = list(twin.parameters())
        again = optimizer_of(kind, twin)
        again.param_groups[0]["params"] = [
            own[order[id(p)]] for p in optimizer.param_groups[0]["params"]
        ]
        early = rules.attach(again, twin) if before else None
        again.load_state_dict(deepcopy(saved))
        resumed = early or rules.attach(again, twin)
        for seed in range(3):
            take(twin, again, seed)
        assert newborn(resumed) == newborn(attached)
        assert all(map(torch.equal, model.parameters(), twin.parameters()))


def test_a_state_from_before_the_rates_begins_their_count_anew() -> None:
    model = network()
    optimizer = optimizer_of("adam", model)
    steps(model, optimizer, 2)
    saved = deepcopy(optimizer.state_dict())
    attached = UnifiedAdaptiveLearning(AgeBasedRates()).attach(optimizer, model)
    steps(model, optimizer, 3)
    optimizer.load_state_dict(saved)
    assert {rate.effective for rate in attached.rates()} == {(0.02, 0.02)}
    steps(model, optimizer, 1)
    assert Generations(optimizer, kept=True).memory["step"] == 1


def test_ages_survive_a_checkpoint(tmp_path: Path) -> None:
    model = create_standard_network([6, 5, 2], density=1.0, seed=0)
    optimizer = optimizer_of("adam", model)
    rules = UnifiedAdaptiveLearning(GrowthPhaseScheduler())
    attached = rules.attach(optimizer, model)
    steps(model, optimizer, 2)
    layer = next(n for n, m in model.named_modules() if hasattr(m, "pattern"))
    growth = AddNeurons(layer, 3)
    edit(model, growth, EXAMPLE.float())
    steps(model, optimizer, 1)
    path, journal = tmp_path / "c.safetensors", Journal([EditEntry(growth)])
    save_checkpoint(path, model, optimizer=optimizer, journal=journal, example=EXAMPLE.float())
    loaded = load_checkpoint(path)
    again = optimizer_of("adam", loaded.model)
    loaded.restore_optimizer(again)
    assert newborn(rules.attach(again, loaded.model)) == newborn(attached)


def test_young_entries_learn_faster_until_they_settle() -> None:
    rule = AgeBasedRates(young_factor=3.0, half_life=10)
    assert rule.local(Place("w", torch.zeros(1), age=0)) == 3.0
    assert rule.local(Place("w", torch.zeros(1), age=10)) == 2.0
    assert rule.local(Place("w", torch.zeros(1), age=1000)) == 1.0
    ages = torch.tensor([0, 10, 1000])
    factors = rule.local(Place("w", torch.zeros(3), age=ages))
    assert isinstance(factors, Tensor)
    assert factors.tolist() == [3.0, 2.0, 1.0]


def test_steps_are_counted_once_for_each_step() -> None:
    model = network()
    optimizer = optimizer_of("adam", model)
    UnifiedAdaptiveLearning(AgeBasedRates()).attach(optimizer, model)
    steps(model, optimizer, 4)
    assert Generations(optimizer, kept=True).memory["step"] == 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"newborn_factor": 0.0}, "newborn_factor must be positive; got 0.0."),
        ({"scaffold_factor": -0.1}, "scaffold_factor must be 0 or more; got -0.1."),
        ({"growth_steps": 0}, "growth_steps must be 1 or more; got 0."),
        ({"warmup_steps": -1}, "warmup_steps must be 0 or more; got -1."),
    ],
)
def test_arguments_out_of_range_are_refused(arguments: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        GrowthPhaseScheduler(**arguments)  # type: ignore[arg-type] # a table of arguments


def test_an_age_out_of_range_is_refused() -> None:
    with pytest.raises(ValueError, match="half_life must be positive; got 0"):
        AgeBasedRates(half_life=0)
