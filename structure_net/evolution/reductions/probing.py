"""A sample of what was seen: the same samples in all layers, each as likely as any other.

Every sample draws a number when it comes by; those with the smallest numbers stay. So the sample is
uniform whatever the number of batches, it is the same for the same seed, and in the order of the
numbers its beginning is a smaller uniform sample.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from structure_net.evolution.reductions.reduction import Reduction
from structure_net.evolution.reductions.units import final
from structure_net.evolution.reductions.values import BatchSeen, Values


@dataclass(frozen=True, slots=True, eq=False)
class Probe:
    """``N`` samples drawn from all that were seen, in random order.

    Args:
        size: ``N``: what was asked for, or all samples where there were fewer.
        values: By layer, in order of first execution: what its units ended up with, averaged over
            the positions (pixels, tokens, calls) of each sample. Shape ``(N, C)``, float64.
        inputs: What the network takes: a tensor, a tuple or a mapping, whose tensors have ``N``
            rows; what has no row for each sample is as in the last batch. None where samples of
            different batches do not fit into one tensor.
        targets: What the loss takes, likewise.
        outputs: The network's output, likewise; of an output of several tensors the first one that
            has a row for each sample.
        absent: Layers without values here, each with the reason.
    """

    size: int
    values: Mapping[str, Tensor] = field(default_factory=dict)
    inputs: Any = None
    targets: Any = None
    outputs: Any = None
    absent: Mapping[str, str] = field(default_factory=dict)

    def first(self, count: int) -> Self:
        """The first ``count`` samples, which are a uniform sample of their own; all if fewer."""
        if count >= self.size:
            return self
        return replace(
            self,
            size=count,
            values={layer: values[:count] for layer, values in self.values.items()},
            inputs=_head(self.inputs, self.size, count),
            targets=_head(self.targets, self.size, count),
            outputs=_head(self.outputs, self.size, count),
        )


class Reservoir(Reduction):
    """Keeps a sample of what was seen.

    Args:
        size: The number of samples to keep.
        seed: What the samples are drawn with.

    Raises:
        ValueError: ``size`` is below 1.
    """

    def __init__(self, size: int, seed: int) -> None:
        if size < 1:
            raise ValueError(
                f"A probe needs a size of 1 or more; got {size}. Let the analyzer that reads"
                " context.observation.probe say how many samples it wants (`probe_size`)."
            )
        self._size = size
        self._generator = torch.Generator().manual_seed(seed)
        self._numbers = np.empty(0)
        self._batches = 0
        self._moves: _Moves | None = None
        self._now: dict[str, list[Tensor | None]] = {}
        self._layers: dict[str, _Layer] = {}
        self._data = (_Stack(), _Stack(), _Stack())

    def units(self, values: Values) -> None:
        """See `Reduction.units`."""
        if self._moves is None:
            self._moves = self._draw(values.samples.number)
        rows = self._moves.rows
        chosen = None if rows is None else rows.to(values.tensor.device)
        self._now.setdefault(values.layer, []).append(values.by_sample(chosen))

    def batch(self, seen: BatchSeen) -> None:
        """See `Reduction.batch`."""
        moves = self._draw(seen.samples) if self._moves is None else self._moves
        self._moves = None
        for layer, calls in self._now.items():
            self._layers.setdefault(layer, _Layer()).take(calls, moves)
        self._now.clear()
        output = _first_with_rows(seen.output, seen.samples)
        for stack, value in zip(self._data, (seen.inputs, seen.targets, output), strict=True):
            stack.take(value, seen.samples, moves)
        self._batches += 1

    def result(self, readers: Mapping[str, tuple[str, ...]]) -> Probe:
        """See `Probe`."""
        order = torch.from_numpy(self._numbers.argsort())
        found = {name: self._layers[name] for name in readers if name in self._layers}
        absent = {name: layer.reason(self._batches) for name, layer in found.items()}
        inputs, targets, outputs = (stack.value(order) for stack in self._data)
        return Probe(
            size=len(order),
            values={n: final(f.rows.value(order)) for n, f in found.items() if not absent[n]},
            inputs=inputs,
            targets=targets,
            outputs=outputs,
            absent={name: reason for name, reason in absent.items() if reason},
        )

    def _draw(self, count: int) -> _Moves:
        """Which rows of a batch stay, and where."""
        drawn = torch.rand(count, generator=self._generator, dtype=torch.float64).numpy()
        held = len(self._numbers)
        # numpy, since for so few numbers torch's operations cost more than what they do.
        if held + count <= self._size:
            self._numbers = np.concatenate((self._numbers, drawn))
            return _Moves(None, torch.arange(held, held + count), held + count)
        # Most batches hold few numbers below the largest that stayed so far.
        limit = self._numbers.max() if held == self._size else np.inf
        candidates = np.flatnonzero(drawn < limit)
        numbers = np.concatenate((self._numbers, drawn[candidates]))
        stays = np.zeros(len(numbers), dtype=np.bool_)
        stays[np.argpartition(numbers, self._size - 1)[: self._size]] = True
        rows = candidates[stays[held:]]
        slots = np.concatenate((np.flatnonzero(~stays[:held]), np.arange(held, self._size)))
        self._numbers = np.concatenate((self._numbers, np.empty(self._size - held)))
        self._numbers[slots] = drawn[rows]
        return _Moves(torch.from_numpy(rows), torch.from_numpy(slots), self._size)


@dataclass(frozen=True, slots=True, eq=False)
class _Moves:
    """The rows of a batch that stay (all if None), their places, and the places taken then."""

    rows: Tensor | None
    slots: Tensor
    filled: int

    def of(self, batch: Tensor) -> Tensor:
        """The rows of ``batch`` that stay."""
        return batch if self.rows is None else batch[self.rows.to(batch.device)]


class _Rows:
    """A tensor with one row for each sample that stays; it grows with them."""

    def __init__(self) -> None:
        self._rows: Tensor | None = None

    def put(self, rows: Tensor, moves: _Moves) -> None:
        """Raises ValueError where the rows are not like those before."""
        if self._rows is None:
            self._rows = rows.new_empty(moves.filled, *rows.shape[1:])
        if rows.shape[1:] != self._rows.shape[1:] or rows.dtype != self._rows.dtype:
            raise ValueError
        if moves.filled > len(self._rows):
            more = moves.filled - len(self._rows)
            self._rows = torch.cat((self._rows, rows.new_empty(more, *rows.shape[1:])))
        if len(rows):
            self._rows[moves.slots.to(rows.device)] = rows

    def value(self, order: Tensor) -> Tensor:
        assert self._rows is not None
        return self._rows[order.to(self._rows.device)]


class _Layer:
    """What is kept of one layer."""

    def __init__(self) -> None:
        self.rows = _Rows()
        self._batches = 0
        self._without_samples = False

    def take(self, calls: Sequence[Tensor | None], moves: _Moves) -> None:
        known = [call for call in calls if call is not None]
        self._batches += 1
        if len(known) < len(calls):
            self._without_samples = True
        elif not self._without_samples:
            self.rows.put(known[0] if len(known) == 1 else torch.stack(known).mean(0), moves)

    def reason(self, batches: int) -> str:
        """Why there are no values; empty where there are."""
        if self._without_samples:
            return "its values do not belong to single samples"
        return "" if self._batches == batches else "it was not called in every batch"


class _Stack:
    """Tensors of samples, in the structure in which a network or its loss takes them."""

    def __init__(self) -> None:
        self._last: Any = None
        self._rows: dict[tuple[Any, ...], _Rows] = {}
        self._fits = True

    def take(self, value: Any, count: int, moves: _Moves) -> None:
        found: dict[tuple[Any, ...], Tensor] = {}

        def note(place: tuple[Any, ...], tensor: Tensor) -> Tensor:
            if tensor.dim() and len(tensor) == count:
                found[place] = tensor
                return tensor[:0]
            return tensor

        self._last = _mapped(value, note)
        self._fits &= not self._rows or found.keys() == self._rows.keys()
        if not self._fits:
            return
        try:
            for place, tensor in found.items():
                self._rows.setdefault(place, _Rows()).put(moves.of(tensor.detach()), moves)
        except ValueError:
            self._fits = False

    def value(self, order: Tensor) -> Any:
        if not self._fits or not self._rows:
            return None
        return _mapped(
            self._last,
            lambda place, tensor: self._rows[place].value(order) if place in self._rows else tensor,
        )


def _mapped(
    value: Any, change: Callable[[tuple[Any, ...], Tensor], Tensor], place: tuple[Any, ...] = ()
) -> Any:
    """``value`` with every tensor in it changed, in tuples, lists and mappings too."""
    if isinstance(value, Tensor):
        return change(place, value)
    if isinstance(value, Mapping):
        return {key: _mapped(item, change, (*place, key)) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return tuple(_mapped(item, change, (*place, i)) for i, item in enumerate(value))
    return value


def _head(value: Any, size: int, count: int) -> Any:
    return _mapped(
        value, lambda _, rows: rows[:count] if rows.dim() and len(rows) == size else rows
    )


def _first_with_rows(output: Any, count: int) -> Tensor | None:
    found: list[Tensor] = []

    def note(_: tuple[Any, ...], tensor: Tensor) -> Tensor:
        if tensor.dim() and len(tensor) == count:
            found.append(tensor)
        return tensor

    _mapped(output, note)
    return found[0] if found else None
