"""Replicas as compiled programs: forward, loss, backward and optimizer in one call.

What it takes: multilayer perceptrons on the CPU whose activation bends at 0. Each layer is stored
as a list of its connections where these are few, and densely else, by its density alone.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from neural_architecture_lab.replicas import kernels
from neural_architecture_lab.replicas.alone import mean_over_samples
from neural_architecture_lab.replicas.material import (
    SCORED_AT_ONCE,
    Material,
    Part,
    material_of,
)
from neural_architecture_lab.replicas.plan import ReplicaPlan
from neural_architecture_lab.replicas.products import multiply_dense
from neural_architecture_lab.replicas.starting import Start, drawn, is_full, scattered
from neural_architecture_lab.replicas.trained import Score, Trained, Watch, unwatched
from structure_net.core.calling import address_of
from structure_net.core.compiling import TypedKernel, wide_registers
from structure_net.core.sparse_kernels import add_up, differentiate, multiply, sample, transpose
from structure_net.core.sparsity import SparsePattern
from structure_net.data.batches import order_of

HUNDREDTHS: Final = {"relu": 0, "leaky_relu": 1, "identity": 100}
"""The activations that the kernels know, by how much of numbers below 0 they leave."""

DENSE_FROM: Final = 0.4
"""The density from which on a layer is stored densely."""

_PER_CALL: Final = 2.0e8
"""Products in one call, about: a tenth of a second, after which one may be asked to stop."""


def prepare(plan: ReplicaPlan) -> None:
    """Compiles what a plan will call, or reads it from the cache, unless that was done before."""
    needed: list[TypedKernel[None]] = [kernels.train, kernels.score, multiply_dense, transpose]
    if plan.patterns is not None or plan.density != 1:
        needed += [multiply, differentiate, sample]
    for kernel in (*needed, add_up):
        address_of(kernel, plan.dtype)


def train_fused(plan: ReplicaPlan, watch: Watch = unwatched) -> Trained:
    """Trains one replica, compiled, on this thread.

    Args:
        plan: One that `grouping.takes` takes.
        watch: Is called every tenth of a second or so.

    Raises:
        PlanError: The plan does not fit its data.
    """
    material, start = material_of(plan), drawn(plan)
    begun = time.perf_counter()
    replica = _Replica(plan, start, material)
    losses, scores = [], []
    for epoch in range(plan.epochs):
        losses.append(replica.train(epoch, watch))
        if len(material.validation):
            watch()
            scores.append(replica.scored(material.validation))
    test = replica.scored(material.test)
    seconds = time.perf_counter() - begun
    weights, biases = replica.parameters()
    return Trained(plan, weights, biases, start.connections, losses, scores, test, seconds)


class _Replica:
    """The arrays of one replica, and the tables that name them.

    Weights lie in one array, layer by layer, and biases behind them; so do their gradients and
    moments, so that one loop moves all.
    """

    def __init__(self, plan: ReplicaPlan, start: Start, material: Material) -> None:
        self._plan, self._start, self._material = plan, start, material
        self._batch = min(plan.batch_size, len(material.train))
        self._kind: Any = np.dtype(plan.dtype).type
        self._held: list[Any] = []
        self._stored = [_Stored(one) for one in start.patterns]
        sizes = [one.size for one in self._stored] + list(plan.sizes[1:])
        self._bounds = np.concatenate([[0], np.cumsum(sizes)])
        count = int(self._bounds[-1])
        self._weights, self._gradients, self._first, self._second = (
            self._zeros(count) for _ in range(4)
        )
        for place, stored in enumerate(self._stored):
            low, high = self._bounds[place], self._bounds[place + 1]
            self._weights[low:high] = stored.laid_out(start.values[place]).numpy().ravel()
        self._table = self._rows()
        self._shared = self._named(count)

    def train(self, epoch: int, watch: Watch) -> float:
        """Trains for an epoch; returns the mean loss over its samples."""
        plan, samples, batch = self._plan, len(self._material.train), self._batch
        order = order_of(samples, plan.order, epoch).numpy()
        steps = -(-samples // batch)
        losses = np.empty(steps)
        rates = self._rates(epoch * steps, steps)
        each = sum(one.size for one in self._stored) * batch * 3
        at_once = max(1, int(_PER_CALL / max(1, each)))
        for first in range(0, steps, at_once):
            watch()
            last = min(first + at_once, steps)
            kernels.train(
                self._kind(0),
                self._table,
                self._shared,
                order[first * batch : last * batch],
                rates[first:last],
                losses[first:last],
            )
        counts = [min(batch, samples - k * batch) for k in range(steps)]
        return mean_over_samples(losses.tolist(), counts)

    def scored(self, part: Part) -> Score:
        """The score on some samples."""
        found = np.zeros(2)
        for inputs, targets in part.blocks:
            kernels.score(
                self._kind(0),
                self._table,
                self._shared,
                (inputs.data_ptr(), targets.data_ptr(), len(targets)),
                found,
            )
        loss, hits = (found / len(part)).tolist()
        return Score(loss, hits if self._material.classes else None)

    def parameters(self) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """Weights as matrices, and biases; copies."""
        parts = [
            torch.from_numpy(self._weights[low:high].copy())
            for low, high in zip(self._bounds[:-1], self._bounds[1:], strict=True)
        ]
        layers = len(self._stored)
        weights = [one.matrix(part) for one, part in zip(self._stored, parts, strict=False)]
        return tuple(weights), tuple(parts[layers:])

    def _rates(self, done: int, steps: int) -> Any:
        """What each of some steps multiplies with."""
        plan, total = self._plan, steps * self._plan.epochs
        rates = np.zeros((steps, kernels.RATES))
        each: Any = plan.learning_rate
        if plan.schedule != "constant":
            each = np.array([plan.rate(done + step, total) for step in range(steps)])
        if plan.optimizer == "sgd":
            rates[:, 0] = each
            rates[:, 1:4] = (plan.momentum, plan.decay, plan.nesterov)
            return rates
        first, second = plan.betas
        count = np.arange(done + 1.0, done + steps + 1.0)
        decoupled = plan.optimizer == "adamw"
        rates[:, 0] = each / (1 - first**count)
        rates[:, 1] = 1 / np.sqrt(1 - second**count)
        rates[:, 2:6] = (1 - first, second, 1 - second, plan.epsilon)
        rates[:, 6] = 0 if decoupled else plan.decay
        rates[:, 7] = 1 - each * plan.decay if decoupled else 1
        return rates

    def _addresses(self) -> list[int]:
        """Of the kernels that the layers need; others are not compiled."""
        needed: list[TypedKernel[None] | None] = [multiply_dense, transpose, add_up]
        forms = {stored.form for stored in self._stored}
        if kernels.SPARSE in forms:
            needed += [multiply, differentiate, sample]
        if forms == {kernels.SPARSE}:
            needed[0] = None
        kind = self._plan.dtype
        found = [0 if one is None else address_of(one, kind) for one in needed]
        return found + [0] * (kernels.SHARED - kernels.CALLS - len(found))

    def _rows(self) -> Any:
        """The table of layers."""
        plan, layers, batch = self._plan, len(self._stored), self._batch
        columns = max(batch, SCORED_AT_ONCE)
        levels = [self._zeros(width * columns) for width in plan.sizes]
        slopes = [self._zeros(width * batch) for width in plan.sizes]
        gathered = self._zeros(plan.sizes[0] * batch)
        turned = self._zeros(max(plan.sizes[:-1]) * batch)
        table = np.zeros((layers, kernels.COLUMNS), np.int64)
        for k, stored in enumerate(self._stored):
            weight, bias = int(self._bounds[k]), int(self._bounds[layers + k])
            table[k, :3] = plan.sizes[k], plan.sizes[k + 1], stored.form
            table[k, 3:5] = _at(self._weights, weight), _at(self._weights, bias)
            table[k, 5:7] = _at(self._gradients, weight), _at(self._gradients, bias)
            table[k, 7:9] = _at(levels[k]), _at(levels[k + 1])
            table[k, 9:11] = _at(slopes[k]), _at(slopes[k + 1])
            table[k, 11:16] = self._index(stored)
            table[k, 16:] = _at(turned if k else gathered), stored.size, k < layers - 1
        return table

    def _index(self, stored: _Stored) -> Sequence[int]:
        """The addresses of a sparse layer's index, or of a mask."""
        if stored.form == kernels.SPARSE:
            return [one.data_ptr() for one in stored.index]
        if stored.form == kernels.MASKED:
            mask = stored.pattern.mask().numpy().astype(self._kind).ravel()
            self._held.append(mask)
            return [_at(mask), 0, 0, 0, 0]
        return [0] * 5

    def _named(self, count: int) -> Any:
        train = self._material.train
        return np.array(
            [
                _at(self._weights),
                _at(self._gradients),
                _at(self._first),
                _at(self._second),
                count,
                train.inputs.data_ptr(),
                train.targets.data_ptr(),
                self._material.classes,
                4 if wide_registers() else 1,
                self._plan.optimizer != "sgd",
                self._batch,
                HUNDREDTHS[self._plan.activation],
                *self._addresses(),
            ],
            np.int64,
        )

    def _zeros(self, count: int) -> Any:
        made = np.zeros(count, self._kind)
        self._held.append(made)
        return made


class _Stored:
    """How a layer's weights are stored.

    Attributes:
        pattern: Its connections.
        form: Dense, sparse or masked.
        size: How many numbers are stored.
        index: Of a sparse layer, the five tensors of `structure_net.core.live_index.LiveIndex`.
    """

    def __init__(self, pattern: SparsePattern) -> None:
        self.pattern = pattern
        if is_full(pattern):
            self.form = kernels.DENSE
        else:
            self.form = kernels.SPARSE if pattern.density < DENSE_FROM else kernels.MASKED
        sparse = self.form == kernels.SPARSE
        self.size = len(pattern) if sparse else pattern.shape[0] * pattern.shape[1]
        self.index = _indexed(pattern) if sparse else ()

    def laid_out(self, values: Tensor) -> Tensor:
        """Weights in the pattern's order, as they are stored."""
        return values if self.form == kernels.SPARSE else scattered(self.pattern, values)

    def matrix(self, stored: Tensor) -> Tensor:
        """Stored weights as a matrix."""
        if self.form == kernels.SPARSE:
            return scattered(self.pattern, stored)
        return stored.view(self.pattern.shape)


def _indexed(pattern: SparsePattern) -> tuple[Tensor, ...]:
    """Where live weights stand, by rows and by columns; a pattern was checked when it was made."""
    by_column = torch.argsort(pattern.columns, stable=True)
    offsets = (
        _offsets(pattern.rows, pattern.shape[0]),
        _offsets(pattern.columns, pattern.shape[1]),
    )
    columns, rows = pattern.columns.int(), pattern.rows[by_column].int()
    return offsets[0], columns, offsets[1], rows, by_column.int()


def _offsets(lines: Tensor, count: int) -> Tensor:
    """Where each of ``count`` lines begins, and the number of entries at the end."""
    found = torch.zeros(count + 1, dtype=torch.int32)
    torch.cumsum(torch.bincount(lines, minlength=count), 0, out=found[1:])
    return found


def _at(array: Any, place: int = 0) -> int:
    """The address of an entry."""
    return int(array.ctypes.data) + place * int(array.itemsize)
