"""The steps of Adam for all parameters at once, on tables of raw addresses.

A row of a table is one parameter; `adam_steps` fills it from tensors that it has checked. The loops
know no tensor.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from structure_net.core.compiling import Template, compiled
from structure_net.core.shared_counts import count_up
from structure_net.core.simd import longs, numbers

COLUMNS: Final = 9
"""Of a table: the addresses of weights, gradients, first moments, second moments and step count;
how many numbers; 1 where these are float64, 0 where float32; the same of the step count; the row of
the settings."""

SETTINGS: Final = 7
"""Of a group: learning rate, both betas, epsilon, weight decay, 1 where it is decoupled, 1 where
the objective is maximised."""

RATES: Final = 8
"""Of a row at one step: the part of the new gradient, the part of the old square, the step's size,
the factor of the root, epsilon, decay in the gradient, the factor of the weights, the sign of the
gradient."""

CALL: Final = 4
"""Numbers of a call of `move`: the addresses of a table and of its rates, the number of rows, and
how many parts have been claimed, 0 before the first thread begins."""

PART: Final = 2**13
"""How many numbers a thread moves at a time, some microseconds."""

_DOUBLE: Final = np.float64(0)

_Table = np.ndarray[Any, np.dtype[np.int64]]
_Numbers = np.ndarray[Any, np.dtype[np.float64]]


@Template
def _move(row: Any, start: int, rates: Any, like: Any) -> None:
    """Moves the weights of ``row`` from ``start`` to the end of that part."""
    behind, count = start * 4 * (1 + row[6]), min(PART, row[5] - start)
    weights, gradients = numbers(row[0] + behind, like), numbers(row[1] + behind, like)
    first, second = numbers(row[2] + behind, like), numbers(row[3] + behind, like)
    kind = type(like)
    part, kept, size, root = kind(rates[0]), kind(rates[1]), kind(rates[2]), kind(rates[3])
    epsilon, decay, factor, sign = kind(rates[4]), kind(rates[5]), kind(rates[6]), kind(rates[7])
    new = kind(1.0 - rates[1])
    for i in range(count):
        weight = weights[i]
        gradient = sign * gradients[i]
        if decay != 0:
            gradient += decay * weight
        mean = first[i] + part * (gradient - first[i])
        square = kept * second[i] + new * gradient * gradient
        first[i] = mean
        second[i] = square
        weights[i] = factor * weight - size * mean / (np.sqrt(square) * root + epsilon)


@compiled("void(int64[:, ::1], float64[:, ::1], float64[:, ::1])")
def count_steps(table: _Table, settings: _Numbers, rates: _Numbers) -> None:
    r"""Counts one step of every row, and writes what the step multiplies with.

    With the count :math:`t`, the step's size is :math:`\gamma / (1 - \beta_1^t)` and the root of
    the second moment is divided by :math:`\sqrt{1 - \beta_2^t}`.

    Args:
        table: Shape ``(rows, COLUMNS)``.
        settings: Of the groups. Shape ``(groups, SETTINGS)``.
        rates: Is written. Shape ``(rows, RATES)``.
    """
    for k in range(len(table)):
        if table[k, 7] == 1:
            doubles = numbers(table[k, 4], np.float64(0))
            doubles[0] += 1.0
            t = doubles[0]
        else:
            singles = numbers(table[k, 4], np.float32(0))
            singles[0] += np.float32(1)
            t = np.float64(singles[0])
        rate, beta1, beta2, epsilon, decay, decoupled, maximised = settings[table[k, 8]]
        rates[k, 0] = 1.0 - beta1
        rates[k, 1] = beta2
        rates[k, 2] = rate / (1.0 - beta1**t)
        rates[k, 3] = 1.0 / np.sqrt(1.0 - beta2**t)
        rates[k, 4] = epsilon
        rates[k, 5] = 0.0 if decoupled == 1 else decay
        rates[k, 6] = 1.0 - rate * decay if decoupled == 1 else 1.0
        rates[k, 7] = -1.0 if maximised == 1 else 1.0


@Template
def _part(row: Any, start: int, rates: Any) -> None:
    """Moves one part of a row, of which ``start`` is the first number."""
    if row[6] == 1:
        _move(row, start, rates, np.float64(0))
    else:
        _move(row, start, rates, np.float32(0))


@compiled("void(int64)", for_c=True)
def move(call: int) -> None:
    """Moves moments and weights of what is left of a table, beside other threads that do the same.

    See `optimizers.Adam` for the formula. Parts do not depend on who moves them.

    Args:
        call: Where its numbers stand: see `CALL`. No two rows of the table share a number.
    """
    these = longs(call)
    claimed, first = count_up(call + 24, 1), 0
    for k in range(these[2]):
        row, rates = longs(these[0] + 8 * COLUMNS * k), numbers(these[1] + 8 * RATES * k, _DOUBLE)
        parts = (row[5] + PART - 1) // PART
        while claimed < first + parts:
            _part(row, (claimed - first) * PART, rates)
            claimed = count_up(call + 24, 1)
        first += parts


@compiled("void(int64[:, ::1], float64[:, ::1])")
def step(table: _Table, settings: _Numbers) -> None:
    """Counts and moves in one call, in one thread.

    Args:
        table: Shape ``(rows, COLUMNS)``. No two rows share a number or a step count.
        settings: Of the groups. Shape ``(groups, SETTINGS)``.
    """
    rates = np.empty((len(table), RATES))
    count_steps(table, settings, rates)
    for k in range(len(table)):
        for start in range(0, table[k, 5], PART):
            _part(table[k], start, rates[k])
