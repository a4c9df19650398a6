"""The rules by the name of the operation. Adding a rule is one function with `rule`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from structure_net.graph.ledger import Axes
from structure_net.graph.rules.call import Call

Rule = Callable[[Call], Axes | list[Axes]]

RULES: Final[dict[str, Rule]] = {}
"""By the ATen operation's name, without its overload and without the underscore of in-place
operations."""


def rule(*operations: str) -> Callable[[Rule], Rule]:
    """Registers a function as the rule of operations.

    A rule aligns the axes of the operands, says what the parameters among them do, freezes what it
    cannot follow, and returns the axes of the result (a list of them for several results).
    """

    def register(function: Rule) -> Rule:
        for operation in operations:
            assert operation not in RULES, operation
            RULES[operation] = function
        return function

    return register


def unknown(call: Call) -> list[Axes]:
    """The rule of an operation without one: freezes everything that it touches."""
    for operand in call.operands:
        for dim in operand.axes:
            call.freeze_unknown(dim.expr)
    return [
        tuple(call.fixed(size, "which has no channel rule") for size in shape)
        for shape in call.shapes
    ]
