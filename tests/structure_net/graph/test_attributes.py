"""Requirements: attributes are solved from sizes, and what cannot be met is objected to."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from structure_net.graph import trace
from structure_net.graph.attributes import Requirement, Requirements
from structure_net.graph.sizes import Prod, Sum, Var
from structure_net.graph.terms import Attribute, Combined, Constant, Measure, Term

WIDTH = Attribute("block", "width")
HEADS = Attribute("block", "heads")
LABELS = Attribute("", "num_labels")


def equal(left: Term, right: Term) -> Requirement:
    return Requirement("==", left, right, True, "'view' of 'block'")


def test_an_attribute_follows_the_size_that_it_gives() -> None:
    width = Var(8)
    needs = Requirements([equal(Measure(width), WIDTH)], {}, {WIDTH: 8, LABELS: 8})
    assert needs.objection({width: 10}) is None
    assert needs.value(WIDTH, {width: 10}) == 10
    assert needs.value(LABELS, {width: 10}) == 8
    assert needs.attributes_of(width, {}) == (WIDTH,)


def test_a_literal_is_objected_to_by_name() -> None:
    width = Var(64)
    needs = Requirements([equal(Measure(width), Constant(64))])
    objection = needs.objection({width: 65})
    assert objection is not None
    assert objection.startswith("the literal 64 in 'view' of 'block'")


def test_heads_follow_and_the_width_of_a_head_stays() -> None:
    heads, each = Var(2), Var(4)
    stream = Measure(Prod((heads, each)))
    wanted = [
        equal(Measure(heads), HEADS),
        equal(stream, WIDTH),
        equal(Measure(each), Combined("//", WIDTH, HEADS)),
    ]
    needs = Requirements(wanted, {}, {WIDTH: 8, HEADS: 2})
    assert needs.objection({heads: 3}) is None
    assert (needs.value(WIDTH, {heads: 3}), needs.value(HEADS, {heads: 3})) == (12, 3)


def test_an_attribute_that_only_arithmetic_names_is_solved() -> None:
    channels, side = Var(4), Var(9)
    flat = Measure(Prod((channels, side)))
    needs = Requirements([equal(flat, Combined("*", WIDTH, Constant(9)))], {}, {WIDTH: 4})
    assert needs.objection({channels: 6}) is None
    assert needs.value(WIDTH, {channels: 6}) == 6


def test_two_attributes_that_could_both_follow_are_not_guessed() -> None:
    channels = Var(4)
    flat = Measure(Prod((channels, Var(9))))
    needs = Requirements([equal(flat, Combined("*", WIDTH, HEADS))], {}, {WIDTH: 4, HEADS: 9})
    assert needs.objection({channels: 6}) is not None


def test_an_attribute_that_gives_two_sizes_is_objected_to() -> None:
    first, second = Var(8), Var(8)
    wanted = [equal(Measure(first), WIDTH), equal(Measure(second), WIDTH)]
    needs = Requirements(wanted, {}, {WIDTH: 8})
    assert needs.objection({first: 9}) is not None


def test_a_size_that_is_used_as_a_number_stays() -> None:
    width = Var(8)
    number = Requirement("number", Measure(width), Constant(0), True, "'mul'")
    objection = Requirements([number]).objection({width: 9})
    assert objection == "'mul', which takes a size of 8 as a number"


def test_a_comparison_that_a_size_could_turn_is_objected_to() -> None:
    width = Var(8)
    branch = Requirement(">", Measure(width), Constant(100), False, "a comparison")
    assert Requirements([branch]).objection({width: 9}) is not None


def test_a_test_for_emptiness_is_not_objected_to() -> None:
    width = Var(8)
    branch = Requirement(">", Measure(width), Constant(0), True, "a comparison")
    assert Requirements([branch]).objection({width: 9}) is None


def test_a_cut_that_ends_inside_a_part_is_objected_to() -> None:
    first, second = Var(3), Var(5)
    axis = Sum((first, second))
    needs = Requirements([equal(Measure(axis, prefix=4), Constant(4))])
    assert needs.objection({first: 4}) is not None


def test_declared_attributes_follow_their_tensors() -> None:
    rows, groups = Var(2), Attribute("conv", "groups")
    declared = Attribute("conv", "in_channels")
    defined: dict[Attribute, Term] = {declared: Combined("*", Measure(rows), groups)}
    needs = Requirements([], defined, {declared: 6, groups: 3})
    assert needs.attributes_of(rows, {}) == (declared,)
    assert needs.value(declared, {rows: 5}) == 15


class Mistaken(nn.Module):
    """Takes the size of a concatenation for that of pairs."""

    def __init__(self) -> None:
        super().__init__()
        self.left = nn.Linear(3, 4)
        self.right = nn.Linear(3, 6)
        self.pairs = nn.Linear(3, 10)
        self.head = nn.Linear(10, 2)
        self.other = nn.Linear(10, 2)

    def forward(self, x: Tensor) -> Tensor:
        joined = torch.cat([self.left(x), self.right(x)], -1)
        pairs = self.pairs(x).view(-1, 2, 5).tanh()
        return self.head(pairs.reshape(-1, joined.shape[1])) + self.other(joined)


def test_sizes_that_cannot_be_one_are_both_named() -> None:
    reason = trace(Mistaken(), torch.ones(2, 3)).frozen["left"]
    assert "takes one size of 10 for another" in reason
    assert "(4 + 6) and (2 * 5)" in reason
    assert "write -1" in reason
