"""Networks that are widened and deepened by number."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from structure_net.den import DynamicExpandableNetwork
from structure_net.den.hidden import activation_name
from structure_net.errors import CheckpointError
from structure_net.surgery import AddNeurons, Journal, apply, replay

ACTIVATIONS = [nn.ReLU, nn.Tanh, nn.GELU, nn.LeakyReLU, lambda: nn.ReLU(inplace=True)]


def network(
    activation: Callable[[], nn.Module] = nn.ReLU, hidden: tuple[int, ...] = (8, 6)
) -> DynamicExpandableNetwork:
    return DynamicExpandableNetwork(4, 2, hidden, activation, seed=0).double()


def inputs() -> Tensor:
    return torch.randn(9, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def stir(model: nn.Module) -> None:
    """Moves every weight, so that newborn ones are zero no more."""
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in model.parameters():
            noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            parameter.add_(0.1 * noise)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_both_expansions_preserve_the_output(activation: Callable[[], nn.Module]) -> None:
    grown = network(activation)
    steps = [
        lambda: grown.expand_layer_width(0, 3),
        lambda: grown.expand_depth(1, 5),
        lambda: grown.expand_depth(1, 15),
        lambda: grown.expand_depth(0, 3),
        lambda: grown.expand_depth(len(grown.hidden), 9),
        lambda: grown.expand_layer_width(-1, 2),
        lambda: grown.expand_layer_width(2, 2),
    ]
    for step in steps:
        stir(grown)
        before = grown(inputs())
        step()
        torch.testing.assert_close(grown(inputs()), before, rtol=0, atol=1e-10)
    assert grown.get_layer_sizes() == [3, 11, 17, 5, 6, 11]


@pytest.mark.parametrize("units", [3, 8, 12])
@pytest.mark.parametrize("position", [0, 1, 2])
def test_a_new_layer_stands_at_its_position_and_learns(position: int, units: int) -> None:
    grown = network()
    grown.expand_depth(position, units)
    sizes = [8, 6]
    sizes.insert(position, units)
    assert grown.get_layer_sizes() == sizes
    optimizer = torch.optim.SGD(grown.parameters(), lr=0.1)
    before = deepcopy(grown.state_dict())
    for _ in range(2):
        optimizer.zero_grad()
        grown(inputs()).square().sum().backward()
        optimizer.step()
    stuck = [name for name, value in grown.state_dict().items() if torch.equal(value, before[name])]
    assert not stuck


def test_new_units_read_by_kaiming_s_rule_and_nothing_reads_them() -> None:
    grown = DynamicExpandableNetwork(400, 2, [8, 6], seed=0).double()
    grown.expand_layer_width(0, 100)
    rows = grown.layers[0].get_parameter("weight")[8:]
    # 40,000 draws: five standard errors of the variance are 3.6 %.
    assert abs(float(rows.detach().var()) / (2 / 400) - 1) < 0.036
    assert not bool(grown.layers[1].get_parameter("weight")[:, 8:].any())


def test_pruning_units_that_nothing_reads_preserves_the_output() -> None:
    pruned = network()
    with torch.no_grad():
        pruned.layers[1].get_parameter("weight")[:, [2, 5]] = 0
    before = pruned(inputs())
    pruned.prune_neurons(0, [5, 2])
    assert pruned.get_layer_sizes() == [6, 6]
    torch.testing.assert_close(pruned(inputs()), before, rtol=0, atol=1e-10)


def test_an_optimizer_goes_on_through_growth_without_being_told() -> None:
    grown = network()
    optimizer = torch.optim.AdamW(grown.parameters(), lr=0.01)
    losses = []
    for step in range(6):
        optimizer.zero_grad()
        loss = (grown(inputs()) - 1).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        if step == 2:
            grown.expand_layer_width(0, 4)
            grown.expand_depth(1, 6)
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    assert {id(p) for p in grown.parameters()} == held
    assert all(later < earlier for earlier, later in pairwise(losses))


def test_the_journal_leads_from_birth_to_the_architecture() -> None:
    grown = network()
    grown.expand_depth(2, 4)
    grown.expand_layer_width(2, 3)
    again = replay(network(), grown.journal, grown.example)
    shapes = {name: value.shape for name, value in again.state_dict().items()}
    assert shapes == {name: value.shape for name, value in grown.state_dict().items()}


def test_a_checkpoint_restores_a_grown_network_into_one_of_other_sizes(tmp_path: Path) -> None:
    grown = network(nn.LeakyReLU)
    grown.expand_depth(1, 20)
    grown.expand_layer_width(0, 3)
    stir(grown)
    grown.save_checkpoint(tmp_path / "net.pt")
    other = DynamicExpandableNetwork(3, 1, [2], nn.LeakyReLU).double()
    other.load_checkpoint(tmp_path / "net.pt")
    assert torch.equal(other(inputs()), grown(inputs()))
    other.expand_layer_width(0, 1)
    other.save_checkpoint(tmp_path / "net.pt")
    grown.load_checkpoint(tmp_path / "net.pt")
    assert grown.get_layer_sizes() == [12, 20, 6]


def test_a_checkpoint_of_another_activation_is_refused_and_nothing_changes(tmp_path: Path) -> None:
    network(nn.Tanh).save_checkpoint(tmp_path / "net.pt")
    other = network()
    before = other(inputs())
    with pytest.raises(CheckpointError, match=r"Tanh\(\)"):
        other.load_checkpoint(tmp_path / "net.pt")
    assert torch.equal(other(inputs()), before)


def test_growth_that_the_journal_does_not_know_is_not_saved(tmp_path: Path) -> None:
    grown = network()
    apply(grown, AddNeurons("layers.0", 1), grown.example)
    with pytest.raises(CheckpointError, match="not in the journal"):
        grown.save_checkpoint(tmp_path / "net.pt")
    with pytest.raises(CheckpointError, match="not in the journal"):
        grown.save_checkpoint(tmp_path / "net.pt", journal=Journal())


def test_the_same_seed_gives_the_same_network_and_leaves_the_global_state_alone() -> None:
    state = torch.get_rng_state()
    one, other = network(), network()
    assert torch.equal(one(inputs()), other(inputs()))
    assert torch.equal(torch.get_rng_state(), state)


def test_dropout_works_in_training_only_and_lives_through_growth() -> None:
    grown = DynamicExpandableNetwork(4, 2, [32, 32], dropout=0.5, seed=0).double()
    assert not torch.equal(grown(inputs()), grown(inputs()))
    grown.eval()
    before = grown(inputs())
    grown.expand_depth(1, 32)
    grown.expand_layer_width(0, 4)
    torch.testing.assert_close(grown(inputs()), before, rtol=0, atol=1e-10)


def test_an_activation_without_a_name_widens_and_refuses_to_deepen() -> None:
    grown = network(nn.Mish)
    grown.expand_layer_width(1, 2)
    assert not grown.deepens
    with pytest.raises(ValueError, match="Mish"):
        grown.expand_depth(1, 4)
    assert activation_name(nn.LeakyReLU(0.2)) is None
    assert activation_name(nn.GELU(approximate="tanh")) is None
    assert activation_name(nn.ReLU(inplace=True)) == "relu"


def test_inputs_of_any_shape_are_flattened() -> None:
    assert network()(inputs().view(9, 2, 2)).shape == (9, 2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"hidden_sizes": []}, "at least one layer"),
        ({"hidden_sizes": [0]}, "1 or more"),
        ({"dropout": 1.0}, "dropout"),
        ({"task_type": "ranking"}, "task_type"),
        ({"input_size": 0}, "input_size"),
        ({"output_size": 1, "task_type": "classification"}, "2 outputs"),
    ],
)
def test_what_makes_no_network_is_refused(arguments: dict[str, object], message: str) -> None:
    given = {"input_size": 4, "output_size": 2, "hidden_sizes": [3], **arguments}
    with pytest.raises(ValueError, match=message):
        DynamicExpandableNetwork(**given)  # type: ignore[arg-type]


def test_an_activation_must_be_made_for_each_layer() -> None:
    with pytest.raises(TypeError, match="makes a module"):
        network(nn.ReLU())


def test_growth_out_of_range_is_refused() -> None:
    grown = network()
    with pytest.raises(IndexError, match="below 2"):
        grown.expand_layer_width(2, 1)
    with pytest.raises(ValueError, match="0 to 2"):
        grown.expand_depth(3, 1)
    with pytest.raises(ValueError, match="must keep a unit"):
        grown.prune_neurons(0, range(8))
    with pytest.raises(ValueError, match="0 to 7"):
        grown.prune_neurons(0, [8])


def test_growth_at_what_is_no_number_is_refused() -> None:
    network = DynamicExpandableNetwork(3, 1, [4, 5], seed=0)
    place: Any
    for place in ("first", None, 1.0):
        with pytest.raises(TypeError, match="layer_idx must be a whole number; got"):
            network.expand_layer_width(place, 2)
        with pytest.raises(TypeError, match="position must be a whole number; got"):
            network.expand_depth(place, 2)
    assert network.get_layer_sizes() == [4, 5]
