"""A plan is made once for what it depends on."""

from __future__ import annotations

import gc
import weakref

import pytest
import torch

from structure_net.core.drawing import random_pattern
from structure_net.core.live_index import LiveIndex
from structure_net.core.plans import Plans
from structure_net.core.products import sparse_linear


def joined(*given: object) -> list[object]:
    return [*given]


def test_a_plan_serves_for_the_same_maker_numbers_and_threads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plans: Plans[list[object]] = Plans()
    first = plans.of(joined, "whose", 1, "a")
    assert first == ["whose", 1, "a"]
    assert plans.of(joined, "whose", 1, "a") is first
    assert plans.of(joined, "whose", 2, "a") is not first
    assert plans.of(lambda *given: [given], "whose", 1, "a") is not first
    monkeypatch.setattr(torch, "get_num_threads", lambda: 7)
    assert plans.of(joined, "whose", 1, "a") is not first


def test_plans_do_not_pile_up() -> None:
    plans: Plans[list[object]] = Plans()
    for number in range(1000):
        plans.of(joined, "whose", number)
    assert len(vars(plans)["_made"]) < 100


def test_an_index_goes_with_its_last_user() -> None:
    """Its plans keep no cycle that only the garbage collector would find."""
    index = LiveIndex.from_pattern(random_pattern((30, 40), 50))
    inputs, values = torch.randn(7, 40, requires_grad=True), torch.randn(50, requires_grad=True)
    bias = torch.randn(30, requires_grad=True)
    sparse_linear(inputs, values, bias, index).sum().backward()
    torch.autograd.grad(sparse_linear(inputs, values, None, index).sum(), inputs)
    torch.autograd.grad(sparse_linear(inputs, values, None, index).sum(), values)
    gone = weakref.ref(index.plans)
    gc.disable()
    try:
        del index
        assert gone() is None
    finally:
        gc.enable()
