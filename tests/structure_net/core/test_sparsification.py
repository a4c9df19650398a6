"""A plan of what is to be sparse says what can be, and why the rest cannot."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils import parametrizations, prune

from structure_net.core import (
    ExtremaAwareSparseLayer,
    PlannedLayer,
    SparsityPlan,
    StandardSparseLayer,
    connection_counts,
    plan_sparsity,
    sparse_layers,
)
from structure_net.core.storage import StoredLayer
from structure_net.errors import SurgeryError
from structure_net.surgery import densify, sparsify
from structure_net.surgery.operating import refuse_strangers


class Named(nn.Module):
    """A convolution and three linear layers, one of which has two names."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.stem = nn.Conv2d(2, 8, 3)
            self.first, self.second = nn.Linear(8, 16), nn.Linear(16, 8)
            self.alias, self.out = self.second, nn.Linear(8, 3)


@given(
    density=st.floats(0.02, 1.0),
    shapes=st.lists(
        st.tuples(st.integers(1, 9), st.integers(1, 9), st.sampled_from([(), (1, 1), (3, 3)])),
        min_size=1,
        max_size=5,
    ),
    allocation=st.sampled_from(["uniform", "erdos_renyi", "erdos_renyi_kernel"]),
)
@settings(max_examples=100, deadline=None)
def test_whole_kernels_meet_the_budget_to_half_of_the_largest(
    density: float, shapes: list[Any], allocation: Any
) -> None:
    full = [(n, m, *kernel) for n, m, kernel in shapes]
    sizes = [9 if kernel == (3, 3) else 1 for _, _, kernel in shapes]
    counts = connection_counts(full, density, allocation)
    total = sum(n * m * size for (n, m, _), size in zip(shapes, sizes, strict=True))
    found = sum(count * size for count, size in zip(counts, sizes, strict=True))
    assert abs(found - max(round(density * total), sum(sizes))) <= max(sizes) / 2
    for count, (n, m, _) in zip(counts, shapes, strict=True):
        assert 1 <= count <= n * m


def tied() -> nn.Module:
    model = nn.ModuleDict({"embedding": nn.Embedding(6, 4), "out": nn.Linear(4, 6)})
    weight: Any = model["embedding"].weight
    model["out"].weight = weight
    return model


def shadowed() -> nn.Module:
    layer: Any = nn.Linear(4, 6)
    layer.forward = lambda inputs: inputs
    return nn.ModuleDict({"out": layer})


def hollow() -> nn.Module:
    layer = nn.Linear(4, 6)
    layer.weight = nn.Parameter(torch.empty(0, 4))
    return nn.ModuleDict({"out": layer})


def with_out(layer: Callable[[], nn.Module]) -> Callable[[], nn.Module]:
    return lambda: nn.ModuleDict({"out": layer()})


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (tied, "tied"),
        (shadowed, "'forward'"),
        (with_out(lambda: nn.Conv2d(4, 4, 3, groups=2)), "2 groups"),
        (with_out(lambda: nn.Conv2d(4, 4, 3, padding_mode="reflect")), "reflect"),
        (with_out(lambda: nn.Conv2d(4, 4, 2, padding="same")), "unevenly"),
        (hollow, "no entries"),
        (with_out(lambda: nn.Conv1d(4, 4, 3)), "class Conv1d"),
        (with_out(lambda: parametrizations.weight_norm(nn.Linear(4, 4))), "parametrized"),
        (with_out(lambda: type("Mine", (nn.Linear,), {})(4, 4)), "Mine"),
        (with_out(lambda: StandardSparseLayer(4, 4)), "sparse already"),
        (lambda: nn.MultiheadAttention(4, 2), "MultiheadAttention"),
        (with_out(nn.ReLU), "no weights"),
    ],
    ids=[
        "tied",
        "shadowed",
        "groups",
        "reflect",
        "uneven",
        "empty",
        "conv1d",
        "parametrized",
        "derived",
        "sparse",
        "attention",
        "none",
    ],
)
def test_what_cannot_be_sparse_is_refused_by_name_and_left_with_the_reason(
    make: Callable[[], nn.Module], reason: str
) -> None:
    with pytest.raises(ValueError, match=reason):
        sparsify(make(), 0.5)
    model = nn.ModuleDict({"part": make(), "plain": nn.Linear(3, 3)})
    plan = plan_sparsity(model, 0.5)
    assert [layer.name for layer in plan.layers] == ["plain"]
    assert not plan.left or any(reason in why for why in plan.left.values())
    assert all(f"{name} " in str(plan) for name in plan.left)


def test_a_module_with_pruned_weights_is_left() -> None:
    layer = nn.Linear(4, 4)
    prune.l1_unstructured(layer, "weight", 0.5)
    with pytest.raises(ValueError, match="other tensors than weight and bias"):
        sparsify(nn.Sequential(layer), 0.5)


def test_wrong_arguments_are_refused_with_the_way_out() -> None:
    model = Named()
    for arguments, text in (
        ({"by": "size"}, "by must be one of magnitude, random; got 'size'"),
        ({"granularity": "row"}, "granularity must be one of kernel, weight; got 'row'"),
        ({"allocation": "even"}, "allocation must be one of"),
        ({"layers": ["frist"]}, "no layer 'frist'. Did you mean 'first'"),
        ({"layers": []}, "layers is empty"),
        ({"density": 0.0}, "density must be in"),
    ):
        given_: dict[str, Any] = {"density": 0.5, **arguments}
        with pytest.raises(ValueError, match=text):
            sparsify(model, **given_)
    with pytest.raises(TypeError, match="a list of names"):
        sparsify(model, 0.5, layers="first")
    with pytest.raises(SurgeryError, match="run the model on a batch first"):
        sparsify(nn.Sequential(nn.LazyLinear(4)), 0.5)
    stranger = torch.optim.Adam(nn.Linear(4, 4).parameters())
    with pytest.raises(SurgeryError, match="Adam holds no parameter of the model"):
        sparsify(model, 0.5, optimizer=stranger)
    refuse_strangers(model, [torch.optim.Adam(model.parameters())])
    with pytest.raises(ValueError, match="no sparse layer that"):
        densify(model)
    with pytest.raises(ValueError, match="no sparse layer 'first'"):
        densify(model, layers=["first"])
    with pytest.raises(TypeError, match="a list of names"):
        densify(model, layers="first")
    aware: Any = nn.Sequential(ExtremaAwareSparseLayer(4, 4), StandardSparseLayer(4, 4))
    with pytest.raises(ValueError, match="'0' is a ExtremaAwareSparseLayer"):
        densify(aware)
    with pytest.raises(ValueError, match="layers is empty"):
        densify(aware, layers=[])
    densify(aware, layers=["1"])
    assert type(aware[1]) is nn.Linear


def test_the_sizes_of_weights_without_values_are_no_choice() -> None:
    model = nn.Sequential(nn.Linear(4, 4, device="meta"))
    with pytest.raises(ValueError, match=r"meta device.*by='random'"):
        plan_sparsity(model, 0.5)
    assert plan_sparsity(model, 0.5, by="random").connections == 8


def test_magnitudes_that_are_not_a_number_are_refused_and_nothing_is_chosen() -> None:
    model: Any = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2))
    with torch.no_grad():
        model[0].weight[1, 2] = torch.nan
    with pytest.raises(ValueError, match=r"1 of the 12 magnitudes .* \(3, 4\) are not a number"):
        plan_sparsity(model, 0.5)
    assert plan_sparsity(model, 0.5, layers=["1"]).layers[0].name == "1"
    assert plan_sparsity(model, 0.5, by="random").connections == 9


def test_a_layer_that_is_named_by_its_number_is_named_in_the_refusal() -> None:
    names: Any = [0]
    with pytest.raises(ValueError, match=r"no layer 0\. Did you mean '0'\?"):
        plan_sparsity(nn.Sequential(nn.Linear(4, 3)), 0.5, layers=names)


def test_only_the_layers_named_change_and_a_second_name_means_the_same() -> None:
    model = Named()
    plan = plan_sparsity(model, 0.5, layers=["alias"])
    assert [
        (layer.name, layer.kind, layer.connections, layer.density) for layer in plan.layers
    ] == [("second", "Linear", 64, 0.5)]
    assert plan.left["first"] == "it is not among the layers named"
    sparsify(model, 0.5, layers=["alias"])
    assert list(sparse_layers(model)) == ["second"]


def test_a_random_choice_follows_its_seed_and_reaches_every_unit() -> None:
    first, again, other = (
        plan_sparsity(Named(), 0.4, by="random", seed=seed) for seed in (1, 1, 2)
    )
    assert first == again != other
    assert all(layer.pattern.fan_in().min() > 0 for layer in first.layers)
    sparse = sparsify(Named(), 0.4, by="random", seed=1)
    dense = Named()
    for planned in first.layers:
        layer = sparse.get_submodule(planned.name)
        assert isinstance(layer, StoredLayer)
        assert layer.pattern == planned.pattern
        weight = dense.get_parameter(f"{planned.name}.weight")
        kept = weight[planned.pattern.rows, planned.pattern.columns]
        assert torch.equal(layer.live_weights, kept)


def test_a_plan_counts_weights_and_shows_a_row_for_every_layer() -> None:
    plan = plan_sparsity(nn.Sequential(nn.Conv2d(4, 4, 3), nn.Conv1d(4, 4, 3)), 0.5)
    assert isinstance(plan, SparsityPlan)
    (layer,) = plan.layers
    assert isinstance(layer, PlannedLayer)
    assert (layer.entries, layer.connections, layer.possible) == (9, 72, 144)
    assert (plan.connections, plan.density) == (72, 0.5)
    assert [line.split()[0] for line in str(plan).splitlines()] == ["0", "all", "1"]


@pytest.mark.parametrize(
    ("given_as", "message"),
    [
        ({"density": "0.1"}, r"density must be a number in \(0, 1\]; got '0.1'"),
        ({"density": None}, "density must be a number"),
        ({"density": 0.1j}, "density must be a number"),
        ({"density": True}, "density must be a number"),
        ({"density": torch.tensor([0.1, 0.2])}, r"density must be a number.*got tensor\(\["),
        ({"density": torch.tensor(0.1j)}, "density must be a number"),
        ({"density": 0.1, "seed": "a"}, "seed must be a whole number; got 'a'"),
        ({"density": 0.1, "model": 3}, r"model must be a torch\.nn\.Module; got 3"),
    ],
)
@pytest.mark.parametrize("call", [plan_sparsity, sparsify])
def test_what_is_no_number_or_no_model_is_refused(
    call: Callable[..., object], given_as: dict[str, Any], message: str
) -> None:
    model = Named()
    with pytest.raises(TypeError, match=message):
        call(**{"model": model, **given_as})
    assert not sparse_layers(model)
    with pytest.raises(TypeError, match="model must be"):
        densify("model")  # type: ignore[arg-type]


def test_a_density_may_be_a_tensor_of_one_number() -> None:
    dense = torch.tensor(0.25, requires_grad=True)
    assert str(plan_sparsity(Named(), dense)) == str(plan_sparsity(Named(), 0.25))  # type: ignore[arg-type]
