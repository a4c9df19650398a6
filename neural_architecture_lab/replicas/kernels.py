"""The compiled training of one multilayer perceptron: many steps in one call.

A step gathers a batch, runs forward, takes the loss, runs backward and moves the weights, without
Python in between. Whoever trains many networks calls it from as many threads as there are
processors: it releases Python's lock, uses one thread, and touches nothing but what its tables
name. So what comes out depends on its arguments alone.

A row of a table is one layer; `fused` fills it with the addresses of arrays that it holds.
Activations are feature-major, ``(width, batch)``.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from neural_architecture_lab.replicas.losses import (
    entropy_loss,
    score_entropy,
    score_squares,
    squares_loss,
)
from neural_architecture_lab.replicas.products import activate, pass_back, scale_by
from structure_net.core.calling import call_kernel
from structure_net.core.compiling import Template, compiled_by_type
from structure_net.core.simd import numbers

DENSE: Final = 0
SPARSE: Final = 1
MASKED: Final = 2

COLUMNS: Final = 19
"""Of a layer's row: inputs; outputs; its form, dense, sparse or masked; the addresses of
weights, biases, and the gradients of both; of inputs, outputs, and the gradients of both; of the
five arrays of a sparse layer's index, or a mask first; of the inputs sample by sample; how many
connections; 1 where an activation follows."""

CALLS: Final = 12
SHARED: Final = CALLS + 6
"""Of a network: the addresses of its weights, their gradients, and the first and second moments of
these, and how many; the addresses of the data set's inputs and targets; 1 for classes, 0 for
numbers; the most lines of a tile; 1 for Adam, 0 for plain descent; samples in a batch; hundredths
of an activation below 0. From `CALLS` on the addresses of kernels: `multiply_dense`, and of
`structure_net.core.sparse_kernels` ``transpose``, ``add_up``, ``multiply``, ``differentiate`` and
``sample``."""

RATES: Final = 8
"""Of a step of Adam: step size, the root's factor, the part of the new gradient, the parts of old
and new squares, epsilon, decay in the gradient, factor of the weights. Of plain descent: learning
rate, momentum, weight decay, 1 where Nesterov's momentum is taken."""


@Template
def _forward(zero: Any, table: Any, shared: Any, batch: int, slope: Any) -> None:
    """From the first row's inputs to the last row's outputs."""
    lines = shared[8]
    for row in table:
        if row[2] == SPARSE:
            tensors, index = (row[7], row[3], row[4], row[8]), (row[11], row[12], 0)
            call_kernel(shared[CALLS + 3], zero, tensors, index, batch, (2 * lines, 0, row[1]))
        else:
            tensors, strides = (row[8], row[3], row[7], row[4]), (row[0], 1)
            call_kernel(shared[CALLS], zero, tensors, strides, batch, (lines, row[1], row[0]))
        if row[18] == 1:
            activate(zero, row[8], row[1] * batch, slope)


@Template
def _backward(zero: Any, table: Any, shared: Any, batch: int, slope: Any) -> None:
    """From the gradient of the last row's outputs to those of all weights."""
    lines = shared[8]
    for place in range(len(table) - 1, -1, -1):
        row = table[place]
        call_kernel(shared[CALLS + 2], zero, (row[10], row[6]), 0, batch, (1, 0, row[1]))
        if row[2] != SPARSE:
            _backward_dense(zero, row, shared, place, batch)
        elif place:
            tensors = (row[10], row[7], row[3], row[9], row[5])
            index, block = (row[13], row[14], row[15]), (2 * lines, 0, row[0])
            call_kernel(shared[CALLS + 4], zero, tensors, index, batch, block)
        else:
            index, block = (row[11], row[12], 0), (2 * lines, 0, row[1])
            call_kernel(shared[CALLS + 5], zero, (row[10], row[7], row[5]), index, batch, block)
        if place:
            pass_back(zero, row[9], row[7], row[0] * batch, slope)


@Template
def _backward_dense(zero: Any, row: Any, shared: Any, place: int, batch: int) -> None:
    """The gradients of a dense layer's weights, and of its inputs unless it is the first."""
    lines = shared[8]
    if place:  # the first layer's samples were gathered so
        call_kernel(shared[CALLS + 1], zero, (row[7], row[16]), batch, row[0], (1, 0, batch))
    tensors, strides, block = (row[5], row[10], row[16], 0), (batch, 1), (lines, row[1], batch)
    call_kernel(shared[CALLS], zero, tensors, strides, row[0], block)
    if row[2] == MASKED:
        scale_by(zero, row[5], row[11], row[0] * row[1])
    if place:
        tensors, strides, block = (row[9], row[3], row[10], 0), (1, row[0]), (lines, row[0], row[1])
        call_kernel(shared[CALLS], zero, tensors, strides, batch, block)


@Template
def _gather(zero: Any, row: Any, shared: Any, order: Any, first: int, batch: int) -> None:
    """Copies samples, and turns them."""
    read, write, width = numbers(shared[5], zero), numbers(row[16], zero), row[0]
    for sample in range(batch):
        start, target = order[first + sample] * width, sample * width
        for i in range(width):
            write[target + i] = read[start + i]
    call_kernel(shared[CALLS + 1], zero, (row[16], row[7]), width, batch, (1, 0, width))


@Template
def _adam(zero: Any, shared: Any, rates: Any) -> None:
    """A step of Adam or AdamW, as PyTorch takes it."""
    kind = type(zero)
    weights, gradients = numbers(shared[0], zero), numbers(shared[1], zero)
    first, second = numbers(shared[2], zero), numbers(shared[3], zero)
    size, root, part, kept = kind(rates[0]), kind(rates[1]), kind(rates[2]), kind(rates[3])
    new, epsilon, decay, factor = kind(rates[4]), kind(rates[5]), kind(rates[6]), kind(rates[7])
    for i in range(shared[4]):
        weight = weights[i]
        gradient = gradients[i] + decay * weight
        mean = first[i] + part * (gradient - first[i])
        square = kept * second[i] + new * gradient * gradient
        first[i] = mean
        second[i] = square
        weights[i] = factor * weight - size * mean / (np.sqrt(square) * root + epsilon)


@Template
def _descend(zero: Any, shared: Any, rates: Any) -> None:
    """A step of stochastic gradient descent, as PyTorch takes it."""
    kind = type(zero)
    weights, gradients = numbers(shared[0], zero), numbers(shared[1], zero)
    memory, nesterov = numbers(shared[2], zero), rates[3] == 1
    rate, momentum, decay = kind(rates[0]), kind(rates[1]), kind(rates[2])
    for i in range(shared[4]):
        gradient = gradients[i] + decay * weights[i]
        kept = momentum * memory[i] + gradient
        memory[i] = kept
        moved = gradient + momentum * kept if nesterov else kept
        weights[i] -= rate * moved


@Template
def _score(zero: Any, table: Any, shared: Any, blocks: Any, found: Any) -> None:
    """Adds the losses and the hits of blocks of samples up."""
    last, before = table[len(table) - 1], table[0, 7]
    for block in blocks:
        table[0, 7] = block[0]
        _forward(zero, table, shared, block[2], type(zero)(shared[11] / 100))
        if shared[7] == 1:
            score_entropy(zero, last, block[1], block[2], found)
        else:
            found[0] += score_squares(zero, last, block[1], block[2])
    table[0, 7] = before


@compiled_by_type(
    "void(float32, int64[:, ::1], int64[::1], UniTuple(int64, 4), int64[::1], float64[:, ::1],"
    " float64[::1], int64[:, ::1], float64[:, ::1])",
    "void(float64, int64[:, ::1], int64[::1], UniTuple(int64, 4), int64[::1], float64[:, ::1],"
    " float64[::1], int64[:, ::1], float64[:, ::1])",
)
def train(  # noqa: PLR0913, PLR0917 - all that a training needs, in one call
    zero: Any,
    table: Any,
    shared: Any,
    span: Any,
    order: Any,
    rates: Any,
    losses: Any,
    blocks: Any,
    scores: Any,
) -> None:
    """Takes steps of some epochs, and scores after each epoch that ends.

    Args:
        zero: Of the type of all numbers.
        table: Shape ``(layers, COLUMNS)``.
        shared: Shape ``(SHARED,)``.
        span: The first step, counted over all of the epochs, and the one behind the last; the
            steps and the samples of an epoch, whose last batch may be smaller.
        order: The samples of the epochs, batch by batch. Shape ``(epochs * samples,)``.
        rates: Of each step. Shape ``(epochs * steps, RATES)``.
        losses: Is written: the mean loss of each batch. Shape ``(epochs * steps,)``.
        blocks: What is scored, as `score` takes it.
        scores: Zeros; sums of losses and hits after each epoch are written. Shape ``(epochs, 2)``.
    """
    last, slope = table[len(table) - 1], type(zero)(shared[11] / 100)
    for step in range(span[0], span[1]):
        epoch, place = divmod(step, span[2])
        first = epoch * span[3] + place * shared[10]
        batch = min(shared[10], (epoch + 1) * span[3] - first)
        _gather(zero, table[0], shared, order, first, batch)
        _forward(zero, table, shared, batch, slope)
        if shared[7] == 1:
            losses[step] = entropy_loss(zero, last, shared[6], order, first, batch)
        else:
            losses[step] = squares_loss(zero, last, shared[6], order, first, batch)
        _backward(zero, table, shared, batch, slope)
        if shared[9] == 1:
            _adam(zero, shared, rates[step])
        else:
            _descend(zero, shared, rates[step])
        if place + 1 == span[2]:
            _score(zero, table, shared, blocks, scores[epoch])


@compiled_by_type(
    "void(float32, int64[:, ::1], int64[::1], int64[:, ::1], float64[::1])",
    "void(float64, int64[:, ::1], int64[::1], int64[:, ::1], float64[::1])",
)
def score(zero: Any, table: Any, shared: Any, blocks: Any, found: Any) -> None:
    """Adds the losses and the hits of some samples up.

    Args:
        zero: As for `train`, as are ``table`` and ``shared``.
        table: The address of the first layer's inputs is written, and put back.
        shared: See above.
        blocks: The addresses of inputs, feature-major, ``(features, count)``, and of targets, and
            how many there are, of each block. Shape ``(n, 3)``.
        found: Is added to: the sum of losses, and of hits. Shape ``(2,)``.
    """
    _score(zero, table, shared, blocks, found)
