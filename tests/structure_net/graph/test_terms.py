"""Terms: what gives an integer can be computed for other sizes, and solved for an attribute."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from structure_net.graph.sizes import Prod, Sum, Var
from structure_net.graph.terms import (
    Attribute,
    Combined,
    Constant,
    Measure,
    Operator,
    Term,
    UnknownValueError,
    evaluate,
    isolate,
)

WIDTH = Attribute("block", "width")
HEADS = Attribute("block", "heads")


def test_an_axis_is_measured_at_the_sizes_asked_for() -> None:
    heads, rest = Var(2), Var(4)
    term = Combined("//", Measure(Prod((heads, rest))), HEADS)
    assert evaluate(term, {}, {HEADS: 2}) == 4
    assert evaluate(term, {heads: 3}, {HEADS: 3}) == 4


def test_a_prefix_is_measured_where_a_part_ends() -> None:
    first, second = Var(3), Var(5)
    axis = Sum((first, second))
    assert evaluate(Measure(axis, prefix=3), {first: 7, second: 9}, {}) == 7
    with pytest.raises(UnknownValueError):
        evaluate(Measure(axis, prefix=4), {}, {})


@given(
    st.sampled_from(["+", "-", "*"]),
    st.integers(1, 50),
    st.integers(1, 50),
    st.booleans(),
)
def test_isolating_an_attribute_undoes_the_arithmetic(
    operator: Operator, value: int, other: int, swapped: bool
) -> None:
    pair: tuple[Term, Term] = (WIDTH, Constant(other))
    left, right = pair[::-1] if swapped else pair
    term = Combined(operator, left, right)
    target = evaluate(term, {}, {WIDTH: value})
    assert isolate(term, target, WIDTH, {}, {}) == value


def test_a_floor_division_is_solved_exactly_or_not_at_all() -> None:
    by_heads = Combined("//", WIDTH, HEADS)
    assert isolate(by_heads, 4, WIDTH, {}, {HEADS: 3}) == 12
    assert isolate(by_heads, 4, HEADS, {}, {WIDTH: 12}) == 3
    assert isolate(by_heads, 5, HEADS, {}, {WIDTH: 12}) is None


def test_an_attribute_that_occurs_twice_is_not_solved() -> None:
    assert isolate(Combined("*", WIDTH, WIDTH), 16, WIDTH, {}, {}) is None


def test_division_by_zero_has_no_value() -> None:
    with pytest.raises(UnknownValueError, match="divides by zero"):
        evaluate(Combined("//", Constant(4), WIDTH), {}, {WIDTH: 0})


def test_terms_say_what_they_are() -> None:
    assert str(Combined("*", WIDTH, Constant(3))) == "('block.width' * the literal 3)"
    assert str(Attribute("", "shape", 1)) == "'shape'[1]"
