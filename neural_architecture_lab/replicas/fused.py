"""Replicas as compiled programs: forward, loss, backward and optimizer in one call.

What it takes: multilayer perceptrons on the CPU whose activation bends at 0. Each layer is stored
as a list of its connections where these are few, and densely else, by its density alone.
"""

from __future__ import annotations

import time
from functools import cache
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
from neural_architecture_lab.replicas.memory import Lines, Stored
from neural_architecture_lab.replicas.plan import ReplicaPlan
from neural_architecture_lab.replicas.products import multiply_dense
from neural_architecture_lab.replicas.starting import Start, drawn
from neural_architecture_lab.replicas.trained import Score, Trained, Watch, unwatched
from structure_net.core.calling import address_of
from structure_net.core.compiling import TypedKernel, wide_registers
from structure_net.core.sparse_kernels import add_up, differentiate, multiply, sample, transpose
from structure_net.core.sparsity import SparsePattern
from structure_net.data.batches import orders_of

HUNDREDTHS: Final = {"relu": 0, "leaky_relu": 1, "identity": 100}
"""The activations that the kernels know, by how much of numbers below 0 they leave."""

_PER_CALL: Final = 1.0e9
"""Products in one call, about: a tenth of a second at most, after which one may be asked to
stop."""

_PER_UNIT: Final = 16
"""What a unit costs beside its connections, in products."""

_KNOWN: Final = 2**20
"""The most numbers of an order, or of rates, that are made beforehand, unless an epoch has more."""


def prepare(plan: ReplicaPlan) -> None:
    """Compiles what a plan will call, or reads it from the cache, unless that was done before."""
    _prepare(plan.dtype, sparse=plan.patterns is not None or plan.density != 1)


@cache
def _prepare(dtype: str, *, sparse: bool) -> None:
    for kernel in (kernels.train, kernels.score):
        address_of(kernel, dtype)
    _addresses(dtype, dense=True, sparse=sparse)
    if sparse:
        Stored(SparsePattern.from_pairs([(0, 1)], (1, 3))).index(dtype)


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
    losses: list[float] = []
    scores: list[Score] = []
    while len(losses) < plan.epochs:
        found = replica.train(len(losses), watch)
        losses += found[0]
        scores += found[1]
    test = replica.tested()
    seconds = time.perf_counter() - begun
    weights, biases = replica.parameters()
    return Trained(plan, weights, biases, start.connections, losses, scores, test, seconds)


class _Replica:
    """The arrays of one replica, and the tables that name them.

    Weights lie in one array, layer by layer, and biases behind them; so do their gradients and
    moments, so that one loop moves all.
    """

    def __init__(self, plan: ReplicaPlan, start: Start, material: Material) -> None:
        self._plan, self._material = plan, material
        self._batch = min(plan.batch_size, len(material.train))
        self._kind: Any = np.dtype(plan.dtype).type
        self._stored = [Stored(one) for one in start.patterns]
        sizes = [one.size for one in self._stored]
        self._bounds = np.cumsum([0, *sizes, *plan.sizes[1:]]).tolist()
        self._work = self._batch * (3 * sum(sizes) + _PER_UNIT * sum(plan.sizes))
        self._lines = self._made()
        self._weights = self._lines.pieces[0]
        for place, stored in enumerate(self._stored):
            low, high = self._bounds[place], self._bounds[place + 1]
            self._weights[low:high] = stored.laid_out(start.values[place]).numpy().ravel()
        self._indices = [one.index(self._kind) for one in self._stored]
        self._table = self._rows()
        self._shared = self._named()

    def train(self, done: int, watch: Watch) -> tuple[list[float], list[Score]]:
        """Trains for some epochs, one at least.

        Returns:
            Of each of them the mean loss over its samples, and the score on validation, if any.
        """
        samples, batch = len(self._material.train), self._batch
        steps = -(-samples // batch)
        at_once = max(1, int(_PER_CALL / self._work))
        known = _KNOWN // max(samples, kernels.RATES * steps)
        epochs = max(1, min(at_once // steps, known, self._plan.epochs - done))
        order = orders_of(samples, self._plan.order, range(done, done + epochs)).view(-1).numpy()
        rates = self._rates(done * steps, epochs * steps, steps * self._plan.epochs)
        losses, scores = np.empty(epochs * steps), np.zeros((epochs, 2))
        part = self._material.validation
        blocks = _blocks(part)
        for first in range(0, epochs * steps, at_once):
            watch()
            span = (first, min(first + at_once, epochs * steps), steps, samples)
            kernels.train(
                self._kind(0),
                self._table,
                self._shared,
                span,
                order,
                rates,
                losses,
                blocks,
                scores,
            )
        counts = [batch] * (steps - 1) + [samples - batch * (steps - 1)]
        means = [mean_over_samples(some, counts) for some in losses.reshape(epochs, -1).tolist()]
        return means, [self._score(one, part) for one in scores] if len(part) else []

    def tested(self) -> Score:
        """The score on the samples for tests."""
        found, part = np.zeros(2), self._material.test
        kernels.score(self._kind(0), self._table, self._shared, _blocks(part), found)
        return self._score(found, part)

    def _score(self, sums: Any, part: Part) -> Score:
        loss, hits = (sums / len(part)).tolist()
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

    def _rates(self, done: int, steps: int, total: int) -> Any:
        """What each of some steps multiplies with, of ``total``."""
        plan = self._plan
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

    def _made(self) -> Lines:
        """Weights, gradients and both moments; then batches and outputs of layers, and their
        gradients; then the batch sample by sample, and what is turned."""
        sizes, batch = self._plan.sizes, self._batch
        columns = max(batch, SCORED_AT_ONCE)
        levels, slopes = [width * columns for width in sizes], [width * batch for width in sizes]
        gathered, turned = sizes[0] * batch, max(sizes[:-1]) * batch
        return Lines([self._bounds[-1]] * 4 + levels + slopes + [gathered, turned], self._kind)

    def _rows(self) -> Any:
        """The table of layers."""
        sizes, layers = self._plan.sizes, len(self._stored)
        places, size = self._lines.addresses, self._weights.itemsize
        levels, slopes = places[4 : 5 + layers], places[5 + layers : 6 + 2 * layers]
        rows = []
        for k, (stored, index) in enumerate(zip(self._stored, self._indices, strict=True)):
            ends = [size * self._bounds[k], size * self._bounds[layers + k]]
            named = [] if index is None else index.addresses
            rows.append(
                [
                    *(sizes[k], sizes[k + 1], stored.form),
                    *(places[0] + end for end in ends),
                    *(places[1] + end for end in ends),
                    *(levels[k], levels[k + 1], slopes[k], slopes[k + 1]),
                    *named,
                    *[0] * (5 - len(named)),
                    *(places[-1 if k else -2], stored.size, k < layers - 1),
                ]
            )
        return np.array(rows, np.int64)

    def _named(self) -> Any:
        train, forms = self._material.train, {stored.form for stored in self._stored}
        addresses = _addresses(
            self._plan.dtype,
            dense=forms != {kernels.SPARSE},
            sparse=kernels.SPARSE in forms,
        )
        return np.array(
            [
                *self._lines.addresses[:4],
                self._bounds[-1],
                train.inputs.data_ptr(),
                train.targets.data_ptr(),
                self._material.classes,
                4 if _wide() else 1,
                self._plan.optimizer != "sgd",
                self._batch,
                HUNDREDTHS[self._plan.activation],
                *addresses,
            ],
            np.int64,
        )


@cache
def _addresses(dtype: str, *, dense: bool, sparse: bool) -> tuple[int, ...]:
    """Of the kernels that layers need; others are not compiled."""
    needed: list[TypedKernel[None] | None] = [multiply_dense if dense else None, transpose, add_up]
    if sparse:
        needed += [multiply, differentiate, sample]
    found = [0 if one is None else address_of(one, dtype) for one in needed]
    return (*found, *[0] * (kernels.SHARED - kernels.CALLS - len(found)))


_wide = cache(wide_registers)


def _blocks(part: Part) -> Any:
    """The addresses of samples, as `kernels.score` takes them."""
    rows = [(some.data_ptr(), wanted.data_ptr(), len(wanted)) for some, wanted in part.blocks]
    return np.array(rows, np.int64).reshape(-1, 3)
