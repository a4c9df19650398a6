"""The steps of Adam for all parameters at once, on tables of raw addresses.

A row of a table is one parameter, or a part of one; `optimizers` fills it from tensors that it has
checked. The loops know no tensor.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from structure_net.core.compiling import Template, compiled
from structure_net.core.simd import numbers

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

PART: Final = 2**16
"""How many numbers a thread moves at a time."""

_Table = np.ndarray[Any, np.dtype[np.int64]]
_Numbers = np.ndarray[Any, np.dtype[np.float64]]


@Template
def _move(row: Any, count: int, rates: Any, like: Any) -> None:
    """Moves ``count`` weights that stand at the addresses of ``row``."""
    weights, gradients = numbers(row[0], like), numbers(row[1], like)
    first, second = numbers(row[2], like), numbers(row[3], like)
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


@compiled("void(int64[:, ::1], float64[:, ::1])")
def move(table: _Table, rates: _Numbers) -> None:
    """Moves moments and weights of every row; see `optimizers.Adam` for the formula.

    Args:
        table: Shape ``(rows, COLUMNS)``. No two rows share a number.
        rates: What `count_steps` wrote. Shape ``(rows, RATES)``.
    """
    for k in range(len(table)):
        if table[k, 6] == 1:
            _move(table[k], table[k, 5], rates[k], np.float64(0))
        else:
            _move(table[k], table[k, 5], rates[k], np.float32(0))


@compiled("void(int64[:, ::1], float64[:, ::1])")
def step(table: _Table, settings: _Numbers) -> None:
    """Both in one call: `count_steps`, then `move`.

    Args:
        table: Shape ``(rows, COLUMNS)``. No two rows share a number or a step count.
        settings: Of the groups. Shape ``(groups, SETTINGS)``.
    """
    rates = np.empty((len(table), RATES))
    count_steps(table, settings, rates)
    move(table, rates)


def cut(table: _Table, rates: _Numbers) -> tuple[_Table, _Numbers]:
    """The same rows in parts of at most `PART` numbers, for `move` on several threads.

    Args:
        table: Shape ``(rows, COLUMNS)``.
        rates: Shape ``(rows, RATES)``.

    Returns:
        Table and rates of the parts, in order.
    """
    counts = -(-table[:, 5] // PART)
    of = np.repeat(np.arange(len(table)), counts)
    starts = (np.arange(len(of)) - (np.cumsum(counts) - counts)[of]) * PART
    parts = table[of]
    parts[:, :4] += (starts * np.where(parts[:, 6] == 1, 8, 4))[:, None]
    parts[:, 5] = np.minimum(parts[:, 5] - starts, PART)
    return parts, rates[of]
