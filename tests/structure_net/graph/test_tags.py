"""Tagged integers: they are integers in every respect, and they remember."""

from __future__ import annotations

import copy
import operator
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from structure_net.core import StandardSparseLayer
from structure_net.core.undoing import Undoing
from structure_net.graph.tags import Notes, Tagged, integers, tag_attributes, tagged, term_of
from structure_net.graph.terms import Attribute, Combined, Constant, evaluate

WIDTH = Attribute("", "width")
OPERATORS: tuple[Callable[[Any, Any], Any], ...] = (
    operator.add,
    operator.sub,
    operator.mul,
    operator.floordiv,
    operator.mod,
)


def noting() -> Notes:
    return Notes(active=True)


@given(st.sampled_from(OPERATORS), st.integers(1, 99), st.integers(1, 99), st.booleans())
def test_arithmetic_gives_the_same_integer_and_a_term_for_it(
    compute: Callable[[Any, Any], Any], width: int, other: int, swapped: bool
) -> None:
    own: Any = tagged(width, WIDTH, noting())
    pair = (other, own) if swapped else (own, other)
    result = compute(*pair)
    assert result == compute(*((other, width) if swapped else (width, other)))
    assert evaluate(term_of(result), {}, {WIDTH: width}) == result


def test_a_negated_integer_keeps_its_term() -> None:
    result = -tagged(3, WIDTH, noting())
    assert result == -3
    assert term_of(result) == Combined("-", Constant(0), WIDTH)


def test_it_is_used_as_an_integer() -> None:
    own = tagged(3, WIDTH, noting())
    assert [10, 11, 12, 13][own] == 13
    assert list(range(own)) == [0, 1, 2]
    assert torch.zeros(own).shape == (3,)
    assert {own: "three"}[3] == "three"
    assert copy.deepcopy(own) == 3
    assert type(pickle.loads(pickle.dumps(own))) is int


def test_comparisons_are_noted_with_their_outcome() -> None:
    notes = noting()
    assert tagged(8, WIDTH, notes) == 8
    assert not tagged(8, WIDTH, notes) > 9
    outcomes = [(c.relation, c.right, c.outcome) for c in notes.comparisons]
    assert outcomes == [("==", Constant(8), True), (">", Constant(9), False)]


@pytest.mark.parametrize(
    "leave", [float, int, lambda w: w**0.5, lambda w: w / 2, lambda w: w * 0.5, lambda w: 2**w]
)
def test_what_cannot_be_followed_is_noted(leave: Callable[[Any], Any]) -> None:
    notes = noting()
    assert leave(tagged(8, WIDTH, notes)) == leave(8)
    assert list(notes.numbers) == [WIDTH]


def test_nothing_is_noted_outside_the_model() -> None:
    notes = Notes()
    own = tagged(8, WIDTH, notes)
    assert own == 8
    assert own**0.5 > 2
    assert not notes.comparisons
    assert not notes.numbers


class Keeper(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.width = 8
        self.shape = (2, 8)
        self.sizes = [4, 4]
        self.flag = True
        self.mixed = (1, "a")
        self.layer = nn.LayerNorm(8)


def test_integers_are_found_alone_and_in_sequences() -> None:
    found = integers(Keeper())
    assert found[Attribute("", "width")] == 8
    assert found[Attribute("", "shape", 1)] == 8
    assert found[Attribute("", "sizes", 0)] == 4
    assert found[Attribute("layer", "normalized_shape", 0)] == 8
    assert not {a.name for a in found} & {"flag", "mixed", "training"}


def test_sparse_layers_are_left_alone() -> None:
    layer = StandardSparseLayer(4, 3, density=0.5)
    assert not integers(nn.Sequential(layer))


def test_attributes_come_back_even_when_the_block_raises() -> None:
    model = Keeper()
    before = {name: value for name, value in vars(model).items() if name != "training"}
    undo = Undoing()
    tag_attributes(model, Notes(), undo)
    with pytest.raises(ZeroDivisionError), undo:
        _ = model.width // (isinstance(model.layer.normalized_shape[0], Tagged) - 1)
    assert all(vars(model)[name] is value for name, value in before.items())
    assert type(model.layer.normalized_shape[0]) is int
