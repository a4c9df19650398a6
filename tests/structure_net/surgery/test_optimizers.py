"""Which optimizers follow an edit that they were not handed to, and which do not."""

import copy
import gc
import pickle
import weakref

import pytest
import torch
from torch import nn

from structure_net.errors import SurgeryError
from structure_net.surgery import (
    AddNeurons,
    AddResidualBlock,
    AddSkipConnection,
    Edit,
    InsertLayer,
    RemoveNeurons,
    ResetNeurons,
    SplitNeurons,
    apply,
)
from structure_net.surgery.moments import Follow, ReplaceState
from structure_net.surgery.optimizers import LOG

X = torch.randn(5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def build() -> nn.Sequential:
    torch.manual_seed(0)
    layers = [nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 3)]
    return nn.Sequential(*layers).double()


def train(model: nn.Module, *optimizers: torch.optim.Optimizer, steps: int = 2) -> None:
    for _ in range(steps):
        model.zero_grad()
        model(X).square().sum().backward()
        for optimizer in optimizers:
            optimizer.step()


def moments(model: nn.Module, optimizer: torch.optim.Optimizer) -> list[torch.Tensor]:
    return [optimizer.state[p][key] for p in model.parameters() for key in ("exp_avg", "step")]


@pytest.mark.parametrize("made", ["before", "after"])
def test_state_that_is_loaded_after_edits_is_taken_as_it_is(made: str) -> None:
    model = build()
    optimizer = torch.optim.Adam(model.parameters())
    train(model, optimizer)
    early = torch.optim.Adam(model.parameters())
    apply(model, SplitNeurons("0", (0,)), X, optimizer=optimizer)
    apply(model, RemoveNeurons("0", (0,)), X, optimizer=optimizer)
    apply(model, ResetNeurons("0", (2,)), X, optimizer=optimizer)
    train(model, optimizer, steps=1)
    fresh = torch.optim.Adam(model.parameters()) if made == "after" else early
    fresh.load_state_dict(optimizer.state_dict())
    wanted = [value.clone() for value in moments(model, optimizer)]
    for parameter in model.parameters():
        parameter.grad = None
    fresh.step()
    assert all(torch.equal(a, b) for a, b in zip(moments(model, fresh), wanted, strict=True))


def test_state_of_other_shapes_that_is_loaded_after_an_edit_is_refused_clearly() -> None:
    model = build()
    optimizer = torch.optim.Adam(model.parameters())
    train(model, optimizer)
    saved = optimizer.state_dict()
    optimizer = torch.optim.Adam(model.parameters())
    apply(model, AddNeurons("0", 1), X)
    optimizer.load_state_dict(saved)
    with pytest.raises(SurgeryError, match="another shape than its parameter"):
        train(model, optimizer)


def test_an_optimizer_that_is_made_after_an_edit_keeps_to_its_own_parameters() -> None:
    model = build()
    old = torch.optim.SGD(model.parameters(), lr=0.1)
    before = list(model.parameters())
    apply(model, InsertLayer("0"), X)
    new = [p for p in model.parameters() if all(p is not one for one in before)]
    fresh = torch.optim.SGD(before, lr=0.1)
    newborn = torch.optim.SGD(new, lr=0.01)
    train(model, fresh, newborn, old)
    assert [id(p) for p in fresh.param_groups[0]["params"]] == [id(p) for p in before]
    assert [id(p) for p in old.param_groups[0]["params"]] == [id(p) for p in before]


def test_newborn_parameters_join_the_optimizer_of_their_layer() -> None:
    model = build()
    first = torch.optim.SGD(model[0].parameters(), lr=0.1)
    second = torch.optim.SGD(model[2].parameters(), lr=0.1)
    apply(model, InsertLayer("0"), X)
    train(model, first, second)
    assert len(first.param_groups[0]["params"]) == 2 + len(list(model[0].grafts.parameters()))
    assert len(second.param_groups[0]["params"]) == 2


@pytest.mark.parametrize("handed", [True, False])
@pytest.mark.parametrize(
    "change", [InsertLayer("0"), AddSkipConnection("0", "4"), AddResidualBlock("2")], ids=str
)
def test_newborn_parameters_join_fused_momentum_as_any_other(change: Edit, handed: bool) -> None:
    trained = []
    for fused in (True, False):
        model = build()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, fused=fused)
        train(model, optimizer)
        done = apply(model, change, X, optimizer=optimizer if handed else None)
        train(model, optimizer, steps=3)
        done.undo()
        train(model, optimizer)
        apply(model, change, X, optimizer=optimizer if handed else None)
        train(model, optimizer)
        trained.append([parameter.detach() for parameter in model.parameters()])
    # A dozen steps of values near 1, in another order of roundings of 1e-16.
    torch.testing.assert_close(trained[0], trained[1], rtol=0, atol=1e-12)


def test_a_newborn_bias_joins_the_group_of_biases() -> None:
    model = build()
    matrices = [p for p in model.parameters() if p.dim() > 1]
    vectors = [p for p in model.parameters() if p.dim() < 2]
    groups = [{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups)
    apply(model, InsertLayer("0"), X, optimizer=optimizer)
    assert [{p.dim() > 1 for p in g["params"]} for g in optimizer.param_groups] == [{True}, {False}]
    assert sum(len(g["params"]) for g in optimizer.param_groups) == len(list(model.parameters()))


def test_state_is_read_as_that_of_the_parameters_as_they_are() -> None:
    model = build()
    optimizer = torch.optim.Adam(model.parameters())
    train(model, optimizer)
    undo = apply(model, AddNeurons("0", 2), X)
    assert optimizer.state_dict()["state"][0]["exp_avg"].shape == (8, 4)
    undo.undo()
    assert optimizer.state_dict()["state"][0]["exp_avg"].shape == (6, 4)
    train(model, optimizer)


def test_state_that_is_read_in_inference_mode_can_be_trained_on() -> None:
    model = build()
    optimizer = torch.optim.Adam(model.parameters())
    train(model, optimizer)
    apply(model, AddNeurons("0", 2), X)
    with torch.inference_mode():
        optimizer.state_dict()
    train(model, optimizer)


@pytest.mark.parametrize("how", ["copied", "pickled", "copied first"])
def test_a_copy_of_an_optimizer_that_has_an_edit_to_follow_goes_on_as_it_does(how: str) -> None:
    model = build()
    optimizer = torch.optim.Adam(model.parameters(), amsgrad=True)
    train(model, optimizer)
    apply(model, AddNeurons("0", 2), X)
    if how == "pickled":
        twin, its = pickle.loads(pickle.dumps((model, optimizer)))
    elif how == "copied":
        twin, its = copy.deepcopy((model, optimizer))
    else:
        its, twin = copy.deepcopy((optimizer, model))
    for one, own in ((model, optimizer), (twin, its)):
        train(one, own)
        apply(one, InsertLayer("0"), X)
        train(one, own)
    for a, b in zip(model.parameters(), twin.parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_copy_follows_edits_from_before_its_first_step() -> None:
    model = build()
    optimizer = torch.optim.Adam(model.parameters())
    train(model, optimizer)
    twin, its = copy.deepcopy((model, optimizer))
    for one in (model, twin):
        apply(one, AddNeurons("0", 2), X)
    train(model, optimizer)
    train(twin, its)
    for a, b in zip(model.parameters(), twin.parameters(), strict=True):
        assert torch.equal(a, b)


class Around(torch.optim.Optimizer):
    """Shares groups and state with another optimizer, as Lookahead does."""

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        super().__init__(optimizer.param_groups[0]["params"], {})
        self.within, self.state = optimizer, optimizer.state
        self.param_groups = optimizer.param_groups
        del self._optimizer_state_dict_pre_hooks  # some never call the constructor above

    def step(self, closure: object = None) -> None:  # type: ignore[override]  # no loss
        """Steps the other one."""
        del closure
        self.within.step()


@pytest.mark.parametrize("handed", ["none", "inner", "outer"])
def test_state_that_two_optimizers_share_follows_once(handed: str) -> None:
    model, twin = build(), build()
    LOG.holders(())  # from now on, optimizers are noted
    alone, inner = (torch.optim.Adam(one.parameters()) for one in (twin, model))
    outer = Around(inner)
    train(model, outer)
    train(twin, alone)
    for change in (AddNeurons("0", 2), InsertLayer("0"), RemoveNeurons("0", (1,))):
        told = {"none": None, "inner": inner, "outer": outer}[handed]
        apply(model, change, X, optimizer=told)
        apply(twin, change, X, optimizer=alone)
        train(model, outer)
        train(twin, alone)
    assert len(inner.param_groups[0]["params"]) == len(list(model.parameters()))
    for a, b in zip(model.parameters(), twin.parameters(), strict=True):
        assert torch.equal(a, b)


def test_an_optimizer_that_never_steps_keeps_no_moments_of_others() -> None:
    model = build()
    idle = torch.optim.SGD(model.parameters(), lr=0.1)
    optimizer = torch.optim.Adam(model.parameters())
    train(model, optimizer)
    apply(model, AddNeurons("0", 2), X, optimizer=optimizer)
    gone = [weakref.ref(state["exp_avg"]) for state in optimizer.state.values()]
    del optimizer
    gc.collect()
    assert [one() for one in gone] == [None] * len(gone)
    train(model, idle)


def test_an_optimizer_that_was_interrupted_follows_at_its_next_step(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = build()
    optimizer = torch.optim.Adam(model.parameters())
    train(model, optimizer)
    apply(model, AddNeurons("0", 2), X)

    def interrupted(step: ReplaceState) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(ReplaceState, "apply", interrupted)
        with pytest.raises(KeyboardInterrupt):
            train(model, optimizer)
    train(model, optimizer)
    for parameter in model.parameters():
        assert optimizer.state[parameter]["exp_avg"].shape == parameter.shape


def test_edits_that_were_followed_are_undone_one_by_one() -> None:
    model = build()
    optimizer = torch.optim.Adam(model.parameters())
    train(model, optimizer)
    wanted = [[value.clone() for value in moments(model, optimizer)]]
    first = apply(model, AddNeurons("0", 2), X)
    second = apply(model, AddNeurons("0", 1), X)
    train(model, optimizer)
    second.undo()
    assert optimizer.state[model[0].weight]["exp_avg"].shape == (8, 4)
    train(model, optimizer)
    first.undo()
    assert optimizer.state[model[0].weight]["exp_avg"].shape == (6, 4)
    changed = [model[0].weight, model[0].bias, model[2].weight]
    for number, parameter in ((0, changed[0]), (1, changed[1]), (2, changed[2])):
        state = optimizer.state[parameter]
        assert torch.equal(state["exp_avg"], wanted[0][2 * number])
        assert torch.equal(state["step"], wanted[0][2 * number + 1])
    train(model, optimizer)


@pytest.mark.parametrize("handed", [True, False])
def test_undo_takes_the_step_count_back_as_well(handed: bool) -> None:
    model = build()
    optimizer = torch.optim.Adam(model.parameters())
    train(model, optimizer, steps=3)
    done = apply(model, AddNeurons("0", 1), X, optimizer=optimizer if handed else None)
    train(model, optimizer, steps=2)
    done.undo()
    assert optimizer.state[model[0].weight]["step"] == 3


@pytest.mark.parametrize("change", [AddNeurons("2", 1), RemoveNeurons("2", (0,)), InsertLayer("2")])
def test_a_flat_history_of_all_parameters_cannot_follow(change: object) -> None:
    model = build()
    optimizer = torch.optim.LBFGS(model.parameters())

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = model(X).square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    with pytest.raises(SurgeryError, match="LBFGS remembers flat history"):
        apply(model, change, X, optimizer=optimizer)
    done = apply(model, change, X)
    with pytest.raises(SurgeryError, match="LBFGS remembers flat history"):
        optimizer.step(closure)
    done.undo()
    optimizer.step(closure)


def test_nothing_is_kept_of_an_edit_that_every_optimizer_has_followed() -> None:
    model = build()
    optimizer = torch.optim.Adam(model.parameters())
    other = torch.optim.Adam(model[4].parameters())
    train(model, optimizer, other)
    known = {id(one) for one in gc.get_objects() if type(one) is Follow}
    for handed in (optimizer, None):
        apply(model, AddNeurons("0", 1), X, optimizer=handed)
        apply(model, ResetNeurons("2", (1,)), X, optimizer=handed)
    train(model, optimizer, other)
    gc.collect()
    assert not [one for one in gc.get_objects() if type(one) is Follow and id(one) not in known]


def test_an_optimizer_of_another_model_is_refused() -> None:
    model, other = build(), build()
    with pytest.raises(SurgeryError, match="holds no parameter of the model"):
        apply(model, AddNeurons("0", 1), X, optimizer=torch.optim.Adam(other.parameters()))
    assert model[0].weight.shape == (6, 4)


def test_the_holders_of_parameters_are_found_and_brought_up_to_date() -> None:
    model, other = build(), build()
    held = torch.optim.Adam(model.parameters())
    elsewhere = torch.optim.SGD(other.parameters(), lr=0.1)
    train(model, held)
    apply(model, AddNeurons("0", 2), X[:2])
    found = LOG.holders(model.parameters())
    assert any(one is held for one in found)
    assert all(one is not elsewhere for one in found)
    assert held.state[model[0].weight]["exp_avg"].shape == (8, 4)
