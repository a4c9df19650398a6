"""Weights under spectral norm: new rows are what no step of the power iteration ever meets.

Tolerance: some dozen operations in double precision on numbers of size one; in training a few more
for each step of the iteration.
"""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize

from structure_net.errors import SurgeryError
from structure_net.graph import SpectralNormSite, trace
from structure_net.surgery import (
    AddNeurons,
    DoubleWidth,
    GradMax,
    MergeNeurons,
    RemoveNeurons,
    SplitNeurons,
    apply,
    edit,
)
from tests.zoo.normalised import Critic, Perceptron, Wrap, hooked_spectral

EXACT = 1e-12
KINDS: dict[str, Wrap] = {
    "parametrized": parametrizations.spectral_norm,
    "hooked": hooked_spectral,
}


def critic(kind: str = "parametrized") -> tuple[nn.Module, Tensor]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = Critic(KINDS[kind]).double()
        x = torch.randn(2, 3, 8, 8, dtype=torch.float64)
        for _ in range(3):
            model(x)
    return model.eval(), x


def gap(model: nn.Module, before: Tensor, x: Tensor) -> float:
    with torch.no_grad():
        return float((model(x) - before).abs().max())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("change", [AddNeurons("first", 1), AddNeurons("second", 3)], ids=str)
def test_growth_keeps_the_function(kind: str, change: AddNeurons) -> None:
    model, x = critic(kind)
    before = model(x).detach()
    edit(model, change, x)
    assert gap(model, before, x) < EXACT


@pytest.mark.parametrize("kind", KINDS)
def test_growth_keeps_what_the_iteration_finds_in_training(kind: str) -> None:
    model, x = critic(kind)
    twin, _ = critic(kind)
    for layer in ("first", "second", "third"):
        edit(twin, AddNeurons(layer, 2), x)
    model.train()
    twin.train()
    for _ in range(20):
        assert gap(twin, model(x).detach(), x) < EXACT


def test_new_units_learn() -> None:
    model, x = critic()
    edit(model, AddNeurons("second", 2), x)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model.train()
    weight = model.get_submodule("second.parametrizations.weight").original
    born = weight.detach()[-2:].clone()
    for _ in range(2):
        optimizer.zero_grad()
        (model(x) - 1.0).square().sum().backward()
        optimizer.step()
    assert not torch.equal(weight[-2:], born)


@pytest.mark.parametrize("kind", KINDS)
def test_removal_leaves_the_other_rows_as_they_are(kind: str) -> None:
    model, x = critic(kind)
    model(x)
    before = model.get_submodule("second").weight.detach().clone()
    readers = model.get_submodule("third").weight.detach().clone()
    edit(model, RemoveNeurons("second", (2, 5)), x)
    model(x)
    kept = [0, 1, 3, 4, 6, 7]
    torch.testing.assert_close(
        model.get_submodule("second").weight, before[kept], rtol=0, atol=EXACT
    )
    # The estimate for the reader no longer counts the columns that went.
    after = model.get_submodule("third").weight.detach()
    ratio = after / readers[:, kept]
    torch.testing.assert_close(ratio, ratio.mean().expand_as(ratio), rtol=0, atol=1e-9)


def test_a_group_lists_the_spectral_norms_that_move() -> None:
    model, x = critic()
    names = [f"{layer}.parametrizations.weight." for layer in ("first", "second")]
    assert set(trace(model, x).group("first").spectral_norms) == {
        SpectralNormSite(f"{n}original", f"{n}0._u", f"{n}0._v", 0) for n in names
    }


@pytest.mark.parametrize("change", [
    DoubleWidth("first"), SplitNeurons("first", (0,)), MergeNeurons("first", ((0, 1),)),
], ids=str)  # fmt: skip
def test_copies_and_sums_are_refused(change: DoubleWidth | SplitNeurons | MergeNeurons) -> None:
    model, x = critic()
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(SurgeryError, match="norm"):
        edit(model, change, x)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_rows_that_the_old_ones_span_are_refused_with_the_way_out() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = Perceptron(parametrizations.spectral_norm).double().eval()
    x = torch.ones(2, 5, dtype=torch.float64)
    with pytest.raises(SurgeryError, match="remove_parametrizations"):
        edit(model, AddNeurons("first", 2), x)
    for layer in ("first", "second"):
        parametrize.remove_parametrizations(model.get_submodule(layer), "weight")
    before = model(x).detach()
    edit(model, AddNeurons("first", 2), x)
    assert gap(model, before, x) < EXACT


def test_rows_are_not_chosen_by_gradients() -> None:
    model, x = critic()
    probe = (x, torch.zeros(2, 1, dtype=x.dtype), nn.functional.mse_loss)
    with pytest.raises(SurgeryError, match="over all of its rows"):
        edit(model, AddNeurons("second", 2), x, initialiser=GradMax(), probe=probe)


def test_undo_is_exact() -> None:
    model, x = critic()
    before = copy.deepcopy(model.state_dict())
    apply(model, AddNeurons("first", 2), x).undo()
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


class Scaled(nn.Module):
    """A parametrization of a user's own that depends on all entries at once."""

    def forward(self, weight: Tensor) -> Tensor:
        return weight / weight.norm()


def test_other_parametrizations_are_refused_by_name_with_the_way_out() -> None:
    def scaled(layer: nn.Module) -> nn.Module:
        parametrize.register_parametrization(layer, "weight", Scaled())
        return layer

    for wrap in (parametrizations.orthogonal, scaled):
        model = Perceptron(wrap).double().eval()
        x = torch.ones(2, 5, dtype=torch.float64)
        reason = trace(model, x).frozen["first"]
        assert "'first" in reason or "'second" in reason
        assert "remove_parametrizations" in reason
        for layer in ("first", "second"):
            parametrize.remove_parametrizations(model.get_submodule(layer), "weight")
        assert set(trace(model, x).editable) == {"first", "second"}


def test_a_trace_leaves_parametrizations_as_they_were() -> None:
    for kind in KINDS:
        model, x = critic(kind)
        trace(model, x)
        inner = [
            *model.modules(),
            *(h for m in model.modules() for h in m._forward_pre_hooks.values()),
        ]
        assert not any({"forward", "compute_weight"} & set(vars(part)) for part in inner)
        model.train()(x).sum().backward()
