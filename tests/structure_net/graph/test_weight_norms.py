"""Weights that are computed from others: gain and direction, spectral norms, other
parametrisations.

Tolerance: some dozen operations in double precision on numbers of size one.
"""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from structure_net.errors import SurgeryError
from structure_net.graph import WeightNormSite, trace
from structure_net.surgery import (
    AddNeurons,
    CopyUnits,
    DoubleWidth,
    EditEntry,
    GradMax,
    Journal,
    MergeNeurons,
    RandomOutgoing,
    RemoveNeurons,
    ResetNeurons,
    SplitNeurons,
    UnitVariance,
    apply,
    edit,
    replay,
)
from tests.zoo.normalised import CASES, TemporalNet, hooked

ZOO = {case.name: case for case in CASES}
EXACT = 1e-12


def gap(model: nn.Module, before: Tensor, x: Tensor) -> float:
    with torch.no_grad():
        return float((model(x) - before).abs().max())


def temporal() -> tuple[nn.Module, Tensor]:
    case = ZOO["tcn"]
    return case.build(), case.inputs(3, seed=5)


def test_a_group_lists_the_weight_norms_that_move() -> None:
    model, x = temporal()
    group = trace(model, x).group("blocks.0.conv1")
    weights = [f"blocks.0.conv{i}.parametrizations.weight." for i in (1, 2)]
    assert set(group.weight_norms) == {
        WeightNormSite(f"{name}original0", f"{name}original1", 0) for name in weights
    }


@pytest.mark.parametrize("change", [
    AddNeurons("blocks.0.conv1", 3), DoubleWidth("blocks.1.conv2"),
    SplitNeurons("blocks.1.conv1", (1, 4)), AddNeurons("blocks.2.conv2", 1),
], ids=str)  # fmt: skip
def test_edits_keep_the_function_while_it_trains(change: AddNeurons) -> None:
    model, x = temporal()
    model.train()
    before = model(x).detach()
    edit(model, change, x)
    assert gap(model, before, x) < EXACT
    model(x).square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_new_rows_are_as_long_as_their_gain_says() -> None:
    model, x = temporal()
    edit(model, AddNeurons("blocks.0.conv1", 2), x)
    held = model.get_submodule("blocks.0.conv1.parametrizations.weight")
    lengths = held.original1.flatten(1).norm(dim=1)
    torch.testing.assert_close(held.original0.flatten()[-2:], lengths[-2:])


def test_growth_and_pruning_come_back_to_the_same_bits() -> None:
    model, x = temporal()
    before = copy.deepcopy(model.state_dict())
    edit(model, AddNeurons("blocks.0.conv1", 2), x)
    edit(model, RemoveNeurons("blocks.0.conv1", (6, 7)), x)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("name", ["tcn", "hifigan", "weight_norm_of_columns", "weight_norm_of_all"])
def test_removal_equals_weights_of_zero(name: str) -> None:
    model, x = ZOO[name].build(), ZOO[name].inputs(3, seed=5)
    layer = {"tcn": "blocks.1.conv1", "hifigan": "pre"}.get(name, "first")
    reader = {"tcn": "blocks.1.conv2", "hifigan": "ups.0"}.get(name, "second")
    module, dim = model.get_submodule(reader), 0 if name == "hifigan" else 1
    plain = ZOO[name].build()
    parametrize.remove_parametrizations(plain.get_submodule(reader), "weight")
    with torch.no_grad():
        plain.get_submodule(reader).weight.index_fill_(dim, torch.tensor([2]), 0.0)
    assert parametrize.is_parametrized(module)
    edit(model, RemoveNeurons(layer, (2,)), x)
    assert gap(model, plain(x).detach(), x) < EXACT


def test_reset_units_are_silent_and_the_others_stay() -> None:
    model, x = temporal()
    edit(model, AddNeurons("blocks.0.conv1", 2), x)
    before = model(x).detach()
    edit(model, ResetNeurons("blocks.0.conv1", (6, 7)), x)
    assert gap(model, before, x) < EXACT


def test_a_row_without_length_has_a_gain_of_zero() -> None:
    model, x = ZOO["weight_norm_of_all"].build(), ZOO["weight_norm_of_all"].inputs(3)
    held = model.get_submodule("second.parametrizations.weight")
    with torch.no_grad():
        held.original1[:, 1:].zero_()
    edit(model, RemoveNeurons("first", (0,)), x)
    assert model(x).isfinite().all()
    assert not model.get_submodule("second").weight.any()


def test_copies_of_a_unit_merge_into_it_exactly() -> None:
    model, x = temporal()
    before = model(x).detach()
    edit(model, SplitNeurons("blocks.0.conv1", (2,), 0.0), x)
    edit(model, MergeNeurons("blocks.0.conv1", ((2, 6),)), x)
    assert gap(model, before, x) < EXACT


def test_columns_with_gains_of_their_own_are_not_merged() -> None:
    case = ZOO["weight_norm_of_columns"]
    with pytest.raises(SurgeryError, match="remove_parametrizations"):
        edit(case.build(), MergeNeurons("first", ((0, 1),)), case.inputs())


@pytest.mark.parametrize("initialiser", [GradMax(), UnitVariance(), CopyUnits(0.0)], ids=repr)
def test_initialisers_keep_the_function(
    initialiser: GradMax | UnitVariance | CopyUnits,
) -> None:
    model, x = temporal()
    before = model(x).detach()
    probe = (x, torch.zeros_like(before), nn.functional.mse_loss)
    layer = "blocks.0.conv1"
    edit(model, AddNeurons(layer, 2), x, initialiser=initialiser, probe=probe)
    assert gap(model, before, x) < EXACT
    edit(model, AddNeurons(layer, 2), x, initialiser=RandomOutgoing())
    assert gap(model, before, x) > EXACT


def test_gradmax_chooses_directions_and_leaves_their_gains_alone() -> None:
    plain, x = temporal()
    chosen, _ = temporal()
    probe = (x, torch.zeros(3, 4, dtype=x.dtype), nn.functional.mse_loss)
    layer, name = "blocks.0.conv1", "blocks.0.conv1.parametrizations.weight.original"
    edit(plain, AddNeurons(layer, 4), x)
    edit(chosen, AddNeurons(layer, 4), x, initialiser=GradMax(), probe=probe)
    drawn, found = dict(plain.named_parameters()), dict(chosen.named_parameters())
    assert torch.equal(drawn[f"{name}0"], found[f"{name}0"])
    assert not torch.equal(drawn[f"{name}1"][-4:], found[f"{name}1"][-4:])


@pytest.mark.parametrize("initialiser", [GradMax(), UnitVariance()], ids=repr)
def test_rows_with_one_gain_for_all_are_not_chosen_alone(
    initialiser: GradMax | UnitVariance,
) -> None:
    case = ZOO["weight_norm_of_all"]
    model, x = case.build(), case.inputs(8, seed=5)
    probe = (x, torch.zeros(8, 3, dtype=x.dtype), nn.functional.mse_loss)
    with pytest.raises(SurgeryError, match="over all of its rows"):
        edit(model, AddNeurons("first", 2), x, initialiser=initialiser, probe=probe)


def test_the_optimizer_follows_and_replay_gives_the_same_shapes() -> None:
    model, x = temporal()
    start, journal = copy.deepcopy(model), Journal()
    optimizer = torch.optim.Adam(model.parameters())
    for change in (AddNeurons("blocks.0.conv1", 3), RemoveNeurons("blocks.1.conv2", (1,))):
        model(x).square().sum().backward()
        optimizer.step()
        optimizer.zero_grad()
        edit(model, change, x, optimizer=optimizer)
        journal.append(EditEntry(change))
    model(x).square().sum().backward()
    optimizer.step()
    state = optimizer.state
    assert all(state[p]["exp_avg"].shape == p.shape for p in model.parameters())
    replay(start, journal, x)
    assert [p.shape for p in start.parameters()] == [p.shape for p in model.parameters()]


def test_undo_is_exact() -> None:
    model, x = temporal()
    before = copy.deepcopy(model.state_dict())
    apply(model, DoubleWidth("blocks.0.conv1"), x).undo()
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.filterwarnings("ignore:.*weight_norm.* is deprecated")
def test_the_weight_norm_of_old_is_followed_as_well() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = TemporalNet(hooked).double().eval()
    x = ZOO["tcn"].inputs(3)
    before = model(x).detach()
    for change in (AddNeurons("blocks.0.conv1", 3), DoubleWidth("blocks.1.conv2")):
        edit(model, change, x)
        assert gap(model, before, x) < EXACT
    edit(model, RemoveNeurons("blocks.0.conv1", (6, 7, 8)), x)
    assert gap(model, before, x) < EXACT
