"""`operate` on a hand-written channel group, so that nothing here depends on tracing."""

import copy
from typing import Any

import pytest
import torch
from torch import nn

from structure_net.errors import SurgeryError
from structure_net.graph.channels import (
    AttributeSite,
    Axis,
    ChannelGroup,
    Fill,
    Growth,
    Role,
)
from structure_net.surgery import Reindex, operate
from structure_net.surgery.operating import perform
from structure_net.surgery.widths import double, grow, merge, rearrange, reset, split

OPTIMIZERS = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9),
    "adam": lambda p: torch.optim.Adam(p, lr=0.01),
    "adam_amsgrad": lambda p: torch.optim.Adam(p, lr=0.01, amsgrad=True),
    "adam_fused": lambda p: torch.optim.Adam(p, lr=0.01, fused=True),
    "adamw_foreach": lambda p: torch.optim.AdamW(p, lr=0.01, foreach=True),
    "rmsprop": lambda p: torch.optim.RMSprop(p, lr=0.01, momentum=0.5, centered=True),
    "adagrad": lambda p: torch.optim.Adagrad(p, lr=0.01),
    "adafactor": lambda p: torch.optim.Adafactor(p, lr=0.01),
    "nadam": lambda p: torch.optim.NAdam(p, lr=0.01),
}


def build(width: int = 6) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, width), nn.Tanh(), nn.Linear(width, 3)).double()


def hidden(width: int = 6) -> ChannelGroup:
    same = tuple
    return ChannelGroup(
        layer="0",
        size=width,
        granularity=1,
        units=width,
        channels=tuple((i,) for i in range(width)),
        axes=(
            Axis("0.weight", 0, Role.WRITES, Fill.RANDOM, same),
            Axis("0.bias", 0, Role.WRITES, Fill.RANDOM, same),
            Axis("2.weight", 1, Role.READS, Fill.ZERO, same),
        ),
        growth=Growth.FREE,
        attributes=(
            AttributeSite("0", "out_features", None, int),
            AttributeSite("2", "in_features", None, int),
        ),
    )


def inputs() -> torch.Tensor:
    return torch.randn(5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def train(model: nn.Module, optimizer: torch.optim.Optimizer, steps: int = 2) -> None:
    for _ in range(steps):
        optimizer.zero_grad()
        model(inputs()).square().sum().backward()
        optimizer.step()


def image(model: nn.Module, optimizer: torch.optim.Optimizer | None = None) -> list[object]:
    """Everything that an edit may touch, as comparable values."""
    content: list[object] = [[t.tolist() for t in model.state_dict().values()], repr(model)]
    content.append([None if p.grad is None else p.grad.tolist() for p in model.parameters()])
    if optimizer is not None:
        content.append([[id(p) for p in g["params"]] for g in optimizer.param_groups])
        content.append(
            [
                {k: v.tolist() if isinstance(v, torch.Tensor) else v for k, v in state.items()}
                for state in (optimizer.state[p] for p in model.parameters())
            ]
        )
    return content


def test_growth_preserves_the_function_and_attributes_stay_true() -> None:
    model, x = build(), inputs()
    before = model(x)
    operate(model, grow(hidden(), 3))
    torch.testing.assert_close(model(x), before, rtol=0, atol=1e-12)
    assert (model[0].out_features, model[2].in_features) == (9, 9)
    assert model[0].weight.shape == (9, 4)


def test_a_model_that_was_let_through_is_not_asked_again() -> None:
    class Asked(nn.Sequential):
        times = 0

        def named_buffers(self, *args: Any, **kwargs: Any) -> Any:
            self.times += 1
            return super().named_buffers(*args, **kwargs)

    done = []
    for way in (operate, perform):
        model = Asked(*build())
        way(model, grow(hidden(), 3), ())
        done.append((model.times, *model.parameters()))
    assert done[0][0] == done[1][0] + 1
    assert all(map(torch.equal, done[0][1:], done[1][1:]))


def test_split_and_double_preserve_the_function() -> None:
    x = inputs()
    for moves in (split(hidden(), (0, 4)), double(hidden())):
        model = build()
        before = model(x)
        operate(model, moves)
        torch.testing.assert_close(model(x), before, rtol=0, atol=1e-12)


def test_noise_tells_the_copies_apart_and_keeps_the_original() -> None:
    model = build()
    old = model[0].weight.detach().clone()
    operate(model, split(hidden(), (2,), noise=0.1))
    new = model[0].weight.detach()
    assert torch.equal(new[:6], old)
    assert not torch.equal(new[6], old[2])


def test_merging_equal_units_preserves_the_function() -> None:
    model, x = build(), inputs()
    with torch.no_grad():
        model[0].weight[3] = model[0].weight[1]
        model[0].bias[3] = model[0].bias[1]
    before = model(x)
    operate(model, merge(hidden(), [(1, 3)]))
    torch.testing.assert_close(model(x), before, rtol=0, atol=1e-12)


def test_a_reset_unit_is_silent_and_forgotten() -> None:
    model = build()
    optimizer = torch.optim.Adam(model.parameters())
    train(model, optimizer)
    old = model[0].weight.detach().clone()
    operate(model, reset(hidden(), (2,)), optimizer)
    assert torch.count_nonzero(model[2].weight[:, 2]) == 0
    assert not torch.equal(model[0].weight[2], old[2])
    assert torch.equal(model[0].weight[[0, 1, 3, 4, 5]], old[[0, 1, 3, 4, 5]])
    assert torch.count_nonzero(optimizer.state[model[0].weight]["exp_avg"][2]) == 0


def test_parameters_stay_the_same_objects() -> None:
    model = build()
    before = [id(p) for p in model.parameters()]
    operate(model, grow(hidden(), 2))
    assert [id(p) for p in model.parameters()] == before


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("handed", [True, False])
def test_moments_follow_and_training_continues(name: str, handed: bool) -> None:
    model = build()
    optimizer = OPTIMIZERS[name](model.parameters())
    train(model, optimizer)
    old = {
        k: v.clone()
        for k, v in optimizer.state[model[0].weight].items()
        if isinstance(v, torch.Tensor) and v.shape == model[0].weight.shape
    }
    operate(model, grow(hidden(), 3), optimizer if handed else None)
    if handed:
        for key, value in old.items():
            now = optimizer.state[model[0].weight][key]
            assert torch.equal(now[:6], value)
            assert torch.count_nonzero(now[6:]) == 0
    train(model, optimizer)
    assert all(p.isfinite().all() for p in model.parameters())


def test_an_optimizer_that_was_not_handed_over_steps_as_one_that_was() -> None:
    results = []
    for handed in (True, False):
        model = build()
        optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
        train(model, optimizer)
        given = optimizer if handed else None
        operate(model, grow(hidden(), 2), given)
        operate(model, rearrange(hidden(8), Reindex.drop(8, (1, 6))), given)
        train(model, optimizer)
        results.append([p.detach().clone() for p in model.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_undo_restores_bit_for_bit(name: str) -> None:
    model = build()
    optimizer = OPTIMIZERS[name](model.parameters())
    train(model, optimizer)
    before = image(model, optimizer)
    operate(model, grow(hidden(), 3), optimizer).undo()
    assert image(model, optimizer) == before


def test_undo_after_further_training_restores_optimizers_that_followed_on_their_own() -> None:
    model = build()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    train(model, optimizer)
    before = [optimizer.state[p]["exp_avg"].clone() for p in model.parameters()]
    undo = operate(model, grow(hidden(), 3))
    train(model, optimizer)
    undo.undo()
    after = [optimizer.state[p]["exp_avg"] for p in model.parameters()]
    assert [p.shape for p in after] == [p.shape for p in model.parameters()]
    assert all(torch.equal(a, b) for a, b in zip(after[:3], before[:3], strict=True))
    train(model, optimizer)


def test_undo_works_once() -> None:
    undo = operate(build(), grow(hidden(), 3))
    undo.undo()
    with pytest.raises(SurgeryError, match="undone before"):
        undo.undo()


@pytest.mark.parametrize("kind", ["lbfgs", "own"])
def test_state_that_cannot_follow_is_refused_before_anything_is_touched(kind: str) -> None:
    model = build()
    if kind == "lbfgs":
        optimizer: torch.optim.Optimizer = torch.optim.LBFGS(model.parameters())

        def closure() -> torch.Tensor:
            optimizer.zero_grad()
            loss = model(inputs()).square().sum()
            loss.backward()
            return loss

        optimizer.step(closure)
    else:
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        optimizer.state[model[0].weight]["factors"] = [torch.zeros(4, 4)]
    before = repr(model), [p.tolist() for p in model.parameters()]
    with pytest.raises(SurgeryError, match="cannot follow an edit"):
        operate(model, grow(hidden(), 3), optimizer)
    assert (repr(model), [p.tolist() for p in model.parameters()]) == before


def test_backward_through_a_graph_from_before_the_edit_says_so() -> None:
    model = build()
    loss = model(inputs()).square().sum()
    undo = operate(model, grow(hidden(), 3))
    with pytest.raises(SurgeryError, match="recorded before an edit"):
        loss.backward(retain_graph=True)
    model(inputs()).square().sum().backward()
    undo.undo()
    loss.backward()


def test_hooks_and_gradients_follow_the_parameter() -> None:
    model = build()
    seen: list[tuple[int, ...]] = []
    model[0].weight.register_hook(lambda g: seen.append(tuple(g.shape)))
    model[0].weight.register_post_accumulate_grad_hook(lambda p: seen.append(tuple(p.grad.shape)))
    model(inputs()).square().sum().backward()
    gradient = model[0].weight.grad.clone()
    operate(model, grow(hidden(), 3))
    assert torch.equal(model[0].weight.grad[:6], gradient)
    model(inputs()).square().sum().backward()
    assert seen == [(6, 4), (6, 4), (9, 4), (9, 4)]


def test_a_copied_model_with_its_optimizer_goes_on() -> None:
    model = build()
    optimizer = torch.optim.Adam(model.parameters())
    train(model, optimizer)
    operate(model, grow(hidden(), 3), optimizer)
    copied, copied_optimizer = copy.deepcopy((model, optimizer))
    train(copied, copied_optimizer)
    train(model, optimizer)
    assert all(
        torch.equal(a, b) for a, b in zip(model.parameters(), copied.parameters(), strict=True)
    )


def test_a_copied_optimizer_whose_state_is_of_before_an_edit_is_refused_clearly() -> None:
    model = build()
    optimizer = torch.optim.Adam(model.parameters())
    train(model, optimizer)
    saved = copy.deepcopy(optimizer.state_dict())
    operate(model, grow(hidden(), 3))
    copied, stale = copy.deepcopy((model, optimizer))
    stale.load_state_dict(saved)
    with pytest.raises(SurgeryError, match="saved before it"):
        train(copied, stale)


def test_channels_last_weights_stay_so() -> None:
    model = nn.Sequential(nn.Conv2d(3, 6, 3), nn.Conv2d(6, 2, 1)).to(
        memory_format=torch.channels_last
    )
    group = ChannelGroup(
        "0",
        6,
        1,
        6,
        tuple((i,) for i in range(6)),
        (
            Axis("0.weight", 0, Role.WRITES, Fill.RANDOM, tuple),
            Axis("0.bias", 0, Role.WRITES, Fill.RANDOM, tuple),
            Axis("1.weight", 1, Role.READS, Fill.ZERO, tuple),
        ),
        Growth.FREE,
    )
    operate(model, grow(group, 2))
    assert model[0].weight.is_contiguous(memory_format=torch.channels_last)
