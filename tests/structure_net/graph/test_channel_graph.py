"""The graph of a model: groups and their units, refusals, and following width edits."""

from __future__ import annotations

import copy
import gc
import weakref
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from structure_net.errors import SurgeryError
from structure_net.graph import Axis, ChannelGraph, Fill, Growth, Role, adopt, graph_of, trace
from tests.zoo import ZOO

EXAMPLE = torch.ones(2, 4)


def mlp() -> nn.Sequential:
    """Two hidden layers."""
    return nn.Sequential(
        nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 5), nn.BatchNorm1d(5), nn.Linear(5, 3)
    )


def zoo_graph(name: str) -> ChannelGraph:
    """The graph of a test model."""
    return trace(ZOO[name].build(0), ZOO[name].inputs(2, 0))


def test_layers_are_named_in_order_of_execution() -> None:
    assert trace(mlp(), EXAMPLE).layers == ("0", "2", "4")


def test_every_layer_is_either_editable_or_frozen() -> None:
    graph = trace(mlp(), EXAMPLE)
    assert set(graph.editable) | set(graph.frozen) == set(graph.layers)
    assert not set(graph.editable) & set(graph.frozen)


def test_what_follows_a_layer_is_in_its_group() -> None:
    group = trace(mlp(), EXAMPLE).group("2")
    roles = {(axis.tensor, axis.dim): (axis.role, axis.fill) for axis in group.axes}
    assert roles == {
        ("2.weight", 0): (Role.WRITES, Fill.RANDOM),
        ("2.bias", 0): (Role.WRITES, Fill.RANDOM),
        ("3.weight", 0): (Role.SCALES, Fill.ONE),
        ("3.bias", 0): (Role.SHIFTS, Fill.ZERO),
        ("3.running_mean", 0): (Role.MEAN, Fill.ZERO),
        ("3.running_var", 0): (Role.VARIANCE, Fill.ONE),
        ("4.weight", 1): (Role.READS, Fill.ZERO),
    }


def test_the_output_of_the_model_is_fixed() -> None:
    with pytest.raises(SurgeryError, match=r"The width of '4' is fixed by the model's output\."):
        trace(mlp(), EXAMPLE).group("4")


def test_an_unknown_layer_is_answered_with_the_nearest_name() -> None:
    with pytest.raises(SurgeryError, match=r"no layer 'hiden'\. Did you mean 'hidden'\?"):
        zoo_graph("flip").group("hiden")


def test_a_refusal_names_the_operation() -> None:
    message = r"The width of 'hidden' is fixed by operation 'flip', which has no channel rule\."
    with pytest.raises(SurgeryError, match=message):
        zoo_graph("flip").group("hidden")


def test_a_layer_with_one_channel_is_fixed() -> None:
    model = nn.Sequential(nn.Linear(4, 1), nn.Linear(1, 3))
    with pytest.raises(SurgeryError, match="its only channel"):
        trace(model, EXAMPLE).group("0")


def test_streams_grow_as_their_normalisation_allows() -> None:
    expected = {
        "residual": Growth.FREE,
        "layernorm_stream": Growth.CENTRED,
        "layernorm_written": Growth.CENTRED,
        "rmsnorm_stream": Growth.SCALED,
        "rmsnorm_written": Growth.SCALED,
        "encoder_layer": Growth.DOUBLING,
        "convnext_block": Growth.DOUBLING,
    }
    found = {name: zoo_graph(name).group("stem") for name in expected}
    assert {name: group.growth for name, group in found.items()} == expected
    assert all((g.refusal is None) == (g.growth is not Growth.DOUBLING) for g in found.values())


def test_readers_of_normalised_zeros_are_free() -> None:
    axes = zoo_graph("layernorm_stream").group("stem").axes
    fills = {axis.tensor: axis.fill for axis in axes if axis.role is Role.READS}
    assert fills["up.weight"] is Fill.RANDOM


def test_norm_sites_name_gain_and_epsilon() -> None:
    sites = zoo_graph("rmsnorm_written").group("stem").norms
    assert sites
    assert all(site.gain.startswith(site.module) for site in sites)


def test_units_are_whole_and_disjoint() -> None:
    for name in ("gpt", "grouped", "lstm_deep", "gated", "pixel_shuffle"):
        for group in zoo_graph(name).editable.values():
            members = [channel for unit in group.channels for channel in unit]
            assert len(set(members)) == len(members) == group.units * group.granularity


def test_a_tied_table_is_copied_at_the_cost_of_the_last_norm() -> None:
    group = zoo_graph("gpt").group("tokens")
    halved = {axis.role for axis in group.axes if axis.halved}
    assert group.doubling_refusal is None
    assert halved == {Role.SCALES, Role.SHIFTS}


class Scaled(nn.Module):
    """A pre-norm block whose branch goes through a gain."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Linear(4, 6)
        self.norm = nn.LayerNorm(6)
        self.branch = nn.Linear(6, 6)
        self.gain = nn.Parameter(torch.rand(6))
        self.final = nn.LayerNorm(6)
        self.head = nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        return self.head(self.final(x + self.gain * self.branch(self.norm(x))))


def test_a_branch_behind_a_gain_is_filled_with_the_weighted_mean() -> None:
    group = trace(Scaled(), EXAMPLE).group("stem")
    weights = {axis.tensor: axis.weights for axis in group.axes if axis.fill is Fill.MEAN}
    assert group.growth is Growth.CENTRED
    assert weights == {
        "stem.weight": None,
        "stem.bias": None,
        "branch.weight": "gain",
        "branch.bias": "gain",
    }


def resize(model: nn.Module, axes: tuple[Axis, ...], units: int) -> None:
    """Gives every tensor of a group its new shape; values do not matter here."""
    tensors: dict[str, Tensor] = dict(model.named_parameters())
    tensors.update(dict(model.named_buffers()))
    for axis in axes:
        source = torch.tensor(axis.lift([0] * units))
        tensor = tensors[axis.tensor]
        tensor.data = tensor.data.index_select(axis.dim, source)


@pytest.mark.parametrize("name", ["mlp_batchnorm", "dense_concat", "your_cnn", "lstm_deep"])
def test_a_resized_graph_is_the_graph_of_the_resized_model(name: str) -> None:
    model, example = ZOO[name].build(0), ZOO[name].inputs(2, 0)
    graph = trace(model, example)
    for layer in graph.editable:
        group = graph.group(layer)
        resize(model, group.axes, group.units + 3)
        for site in group.attributes:
            setattr(model.get_submodule(site.module), site.name, site.value(group.units + 3))
        graph.resized(group, group.units + 3)
    fresh = trace(model, example)
    assert graph.shapes() == fresh.shapes()
    assert {k: (g.size, g.channels) for k, g in graph.editable.items()} == {
        k: (g.size, g.channels) for k, g in fresh.editable.items()
    }


def test_a_group_must_keep_a_unit() -> None:
    graph = trace(mlp(), EXAMPLE)
    with pytest.raises(ValueError, match="at least one unit"):
        graph.resized(graph.group("0"), 0)


def test_a_copy_follows_edits_by_itself() -> None:
    graph = trace(mlp(), EXAMPLE)
    twin = graph.copy()
    twin.resized(twin.group("0"), 9)
    assert (graph.group("0").units, twin.group("0").units) == (6, 9)


def test_a_graph_is_traced_once_while_it_describes_the_model() -> None:
    model = mlp()
    assert graph_of(model, EXAMPLE) is graph_of(model, torch.ones(7, 4))


def test_a_graph_is_traced_again_when_it_is_stale_or_shapes_changed() -> None:
    model = mlp()
    first = graph_of(model, EXAMPLE)
    first.stale = True
    second = graph_of(model, EXAMPLE)
    model[0], model[2] = nn.Linear(4, 7), nn.Linear(7, 5)
    third = graph_of(model, EXAMPLE)
    assert len({id(first), id(second), id(third)}) == 3
    assert third.group("0").units == 7


def test_a_deep_copy_can_adopt_the_graph() -> None:
    model = mlp()
    graph = graph_of(model, EXAMPLE)
    twin = copy.deepcopy(model)
    adopt(twin, model)
    assert graph_of(twin, EXAMPLE).structure is graph.structure


def test_the_graph_does_not_keep_the_model_alive() -> None:
    model = mlp()
    graph = graph_of(model, EXAMPLE)
    alive = weakref.ref(model)
    del model
    gc.collect()
    assert graph.layers
    assert alive() is None


def test_groups_that_an_edit_does_not_touch_are_kept() -> None:
    graph = trace(mlp(), EXAMPLE)
    first, second = graph.group("0"), graph.group("2")
    graph.resized(first, 9)
    assert graph.group("2") is second
    assert graph.group("0").units == 9


class Headed(nn.Module):
    """Two layers, and a function of the second one's result."""

    def __init__(self, outputs: int, behind: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.hidden = nn.Linear(4, 8)
        self.head = nn.Linear(8, outputs)
        self.behind = behind

    def forward(self, x: Tensor) -> Tensor:
        return self.behind(self.head(torch.relu(self.hidden(x))))


BEHIND: dict[str, tuple[int, Callable[[Tensor], Tensor]]] = {
    "nothing": (1, lambda x: x),
    "log_softmax": (3, lambda x: x.log_softmax(-1)),
    "sigmoid": (1, lambda x: x.sigmoid().squeeze(-1)),
    "view": (1, lambda x: x.view(-1)),
    "scaled": (3, lambda x: 2 * x.softmax(1)),
}


@pytest.mark.parametrize("name", BEHIND)
def test_a_head_is_called_the_output_whatever_stands_behind_it(name: str) -> None:
    graph = trace(Headed(*BEHIND[name]), EXAMPLE)
    assert graph.frozen == {"head": "the model's output"}


def test_a_layer_whose_result_is_contracted_is_no_head() -> None:
    graph = trace(Headed(3, lambda x: x @ x.t()), EXAMPLE)
    assert "operation 'matmul'" in graph.frozen["head"]


REPARAMETRISED = {
    "spectral_norm": nn.utils.parametrizations.spectral_norm,
    "orthogonal": nn.utils.parametrizations.orthogonal,
    "old_spectral_norm": nn.utils.spectral_norm,
}


@pytest.mark.parametrize("name", REPARAMETRISED)
def test_a_layer_with_a_computed_weight_goes_by_its_modules_name(name: str) -> None:
    model = nn.Sequential(nn.Linear(4, 6), REPARAMETRISED[name](nn.Linear(6, 5)), nn.Linear(5, 3))
    assert trace(model, EXAMPLE).layers == ("0", "1", "2")


def test_an_operation_inside_a_parametrization_is_placed() -> None:
    class Inverse(nn.Module):
        def forward(self, weight: Tensor) -> Tensor:
            return torch.linalg.pinv(weight).t()

    model = nn.Sequential(nn.Linear(4, 6), nn.Linear(6, 3))
    parametrize.register_parametrization(model[0], "weight", Inverse())
    reason = trace(model, EXAMPLE).frozen["0"]
    where = "operation 'linalg_pinv' in the parametrization of '0', which has no channel rule"
    assert reason.startswith(where)
    assert "remove_parametrizations" in reason
