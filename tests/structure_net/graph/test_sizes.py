"""The algebra of sizes: what unification keeps, and how maps of units become maps of axes."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from structure_net.graph.sizes import (
    ONE,
    Expr,
    Prod,
    Sum,
    Var,
    axis,
    freeze,
    granularity,
    leaves,
    lift,
    resolve,
    size_of,
    unify,
    units_of,
)

DERANDOMISED = settings(derandomize=True, max_examples=150, deadline=None)


@st.composite
def expressions(draw: st.DrawFn, depth: int = 2) -> Expr:
    """Expressions of variables between 2 and 4."""
    if depth == 0 or draw(st.booleans()):
        return Var(draw(st.integers(2, 4)))
    parts = draw(st.lists(expressions(depth=depth - 1), min_size=2, max_size=3))
    return Sum(tuple(parts)) if draw(st.booleans()) else Prod(tuple(parts))


@st.composite
def sources(draw: st.DrawFn, size: int) -> tuple[int, ...]:
    """Maps from ``size`` units onto one to five."""
    return tuple(draw(st.lists(st.integers(-1, size - 1), min_size=1, max_size=5)))


@DERANDOMISED
@given(expressions())
def test_the_normal_form_keeps_the_size(expr: Expr) -> None:
    assert size_of(resolve(expr)) == size_of(expr)


@DERANDOMISED
@given(expressions(), expressions())
def test_unification_keeps_both_sizes(first: Expr, second: Expr) -> None:
    before = size_of(first), size_of(second)
    unify(first, second, "a clash")
    assert (size_of(first), size_of(second)) == before


@DERANDOMISED
@given(expressions(), expressions())
def test_axes_are_the_same_after_unification_or_frozen(first: Expr, second: Expr) -> None:
    if unify(first, second, "a clash"):
        assert resolve(first) == resolve(second)
    else:
        assert all("a clash" in var.reasons for var in (*leaves(first), *leaves(second)))


@DERANDOMISED
@given(expressions(), st.data())
def test_a_size_cut_or_factored_by_unification_lifts_like_before(
    expr: Expr, data: st.DataObject
) -> None:
    whole = Var(size_of(expr))
    assert unify(whole, expr, "a clash")
    var = data.draw(st.sampled_from(leaves(expr)))
    source = data.draw(sources(var.size))
    assert lift(whole, var, source) == lift(expr, var, source)


@DERANDOMISED
@given(expressions(), st.data())
def test_the_identity_lifts_to_the_identity(expr: Expr, data: st.DataObject) -> None:
    var = data.draw(st.sampled_from(leaves(expr)))
    assert lift(expr, var, range(var.size)) == tuple(range(size_of(expr)))


@DERANDOMISED
@given(expressions(), st.data())
def test_lifting_a_composition_is_composing_the_lifts(expr: Expr, data: st.DataObject) -> None:
    var = data.draw(st.sampled_from(leaves(expr)))
    first = data.draw(sources(var.size))
    second = data.draw(sources(len(first)))
    both = tuple(-1 if i < 0 else first[i] for i in second)
    lifted = lift(expr, var, first)
    after = lift(expr, var, second, {var: len(first)})
    assert lift(expr, var, both) == tuple(-1 if i < 0 else lifted[i] for i in after)


@DERANDOMISED
@given(expressions(), st.data())
def test_a_lifted_map_is_as_long_as_the_new_size(expr: Expr, data: st.DataObject) -> None:
    var = data.draw(st.sampled_from(leaves(expr)))
    source = data.draw(sources(var.size))
    assert len(lift(expr, var, source)) == size_of(expr, {var: len(source)})


@DERANDOMISED
@given(expressions(), st.data())
def test_dropping_a_unit_drops_the_entries_that_belong_to_it(
    expr: Expr, data: st.DataObject
) -> None:
    var = data.draw(st.sampled_from(leaves(expr)))
    unit = data.draw(st.integers(0, var.size - 1))
    kept = lift(expr, var, [i for i in range(var.size) if i != unit])
    owners = units_of(expr, var)
    assert kept == tuple(i for i, owner in enumerate(owners) if owner != unit)


def test_an_axis_of_one_entry_is_the_constant_one() -> None:
    assert axis(1) is ONE
    assert leaves(axis(1)) == ()


def test_unification_with_a_concatenation_cuts_a_variable() -> None:
    whole, head, tail = Var(8), Var(3), Var(5)
    assert unify(whole, Sum((head, tail)), "a clash")
    assert lift(whole, tail, [0, 1, 2, 3, 4, -1]) == (0, 1, 2, 3, 4, 5, 6, 7, -1)


def test_unification_with_a_product_factors_a_variable() -> None:
    whole, heads, width = Var(6), Var(2), Var(3)
    assert unify(whole, Prod((heads, width)), "a clash")
    assert lift(whole, heads, [1, 0]) == (3, 4, 5, 0, 1, 2)


def test_sizes_that_do_not_divide_freeze_both_sides() -> None:
    first, second = Prod((Var(2), Var(3))), Prod((Var(3), Var(2)))
    assert not unify(first, second, "operation 'view'")
    assert {var.reason for var in leaves(first)} == {"operation 'view'"}


def test_a_reason_follows_a_variable_into_what_it_is_bound_to() -> None:
    var, other = Var(4), Var(4)
    freeze(var, "the model's input")
    unify(var, other, "a clash")
    assert other.reason == "the model's input"


def test_an_operation_without_a_rule_is_named_before_other_reasons() -> None:
    var = Var(4)
    freeze(var, "the model's output")
    freeze(var, "operation 'flip', which has no channel rule")
    assert var.reason == "operation 'flip', which has no channel rule"


def test_a_size_cannot_contain_itself() -> None:
    var = Var(6)
    assert not unify(var, Prod((Sum((var, var)), Var(3))), "a clash")


def test_the_granularity_is_what_one_unit_adds() -> None:
    heads, width = Var(2), Var(4)
    packed = Sum((Prod((heads, width)),) * 3)
    assert granularity(packed, heads) == 12
    assert granularity(packed, width) == 6


def test_a_product_of_a_variable_with_itself_has_no_units() -> None:
    var = Var(3)
    with pytest.raises(ValueError, match="twice"):
        units_of(Prod((var, var)), var)


def test_a_piece_of_one_entry_is_no_variable() -> None:
    whole, rest = Var(5), Var(4)
    assert unify(whole, Sum((ONE, rest)), "a clash")
    pair, one = Var(2), Var(8)
    assert unify(Sum((Var(8), Var(8))), Prod((pair, one)), "a clash")
    assert resolve(pair) == Sum((ONE, ONE))
