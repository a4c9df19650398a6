"""A sample of what was seen: the same samples in all layers, each as likely as any other.

Every sample draws a number when it comes by; those with the smallest numbers stay. So the sample is
uniform whatever the number of batches, it is the same for the same seed, and in the order of the
numbers its beginning is a smaller uniform sample.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from structure_net.evolution.reductions.reduction import Reduction
from structure_net.evolution.reductions.units import final
from structure_net.evolution.reductions.values import BatchSeen, Values

_Places = npt.NDArray[np.int64]
_Array = npt.NDArray[Any]

_KINDS: Final = frozenset(
    (
        torch.float16,
        torch.float32,
        torch.float64,
        torch.uint8,
        torch.int8,
        torch.int16,
        torch.int32,
        torch.int64,
        torch.bool,
    )
)
"""What numpy knows as torch does."""


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
        self._layers: dict[str, _Layer] = {}
        self._data = (_Stack(size), _Stack(size), _Stack(size))

    def units(self, values: Values) -> None:
        """See `Reduction.units`."""
        if self._moves is None:
            self._moves = self._draw(values.samples.number)
        if values.layer not in self._layers:
            self._layers[values.layer] = _Layer(self._size)
        self._layers[values.layer].call(values, self._moves)

    def batch(self, seen: BatchSeen) -> None:
        """See `Reduction.batch`."""
        moves = self._draw(seen.samples) if self._moves is None else self._moves
        self._moves = None
        for layer in self._layers.values():
            layer.rest()
        output = _first_with_rows(seen.output, seen.samples)
        for stack, value in zip(self._data, (seen.inputs, seen.targets, output), strict=True):
            stack.take(value, seen.samples, moves)
        self._batches += 1

    def result(self, readers: Mapping[str, tuple[str, ...]]) -> Probe:
        """See `Probe`."""
        order = self._numbers.argsort()
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
            return _Moves(None, slice(held, held + count), held + count)
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
        return _Moves(rows, slots, self._size)


@dataclass(frozen=True, slots=True, eq=False)
class _Moves:
    """The rows of a batch that stay (all if None), their places, and the places taken then."""

    rows: _Places | None
    slots: _Places | slice
    filled: int

    def of(self, batch: Tensor) -> Tensor:
        """The rows of ``batch`` that stay."""
        if self.rows is None:
            return batch
        array = _array(batch)
        if array is not None:
            return torch.from_numpy(array[self.rows])
        return batch[torch.from_numpy(self.rows).to(batch.device)]


class _Rows:
    """A tensor with one row for each sample that stays; it grows with them.

    numpy copies rows where it can: in a fifth of the time that torch takes for so few.

    Args:
        most: The number of rows in the end, at most.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._rows: Tensor | None = None
        self._held: _Array | None = None

    def put(self, rows: Tensor, moves: _Moves) -> None:
        """Takes in the rows of a batch that stay.

        Raises:
            ValueError: The rows are not like those before.
        """
        held = self._rows
        if held is not None and (held.shape[1:] != rows.shape[1:] or held.dtype != rows.dtype):
            raise ValueError
        if held is None or held.size(0) < moves.filled:
            held = self._room(rows, moves.filled)
        new = None if self._held is None else _array(rows)
        if self._held is not None and new is not None:
            self._held[moves.slots] = new
        elif isinstance(moves.slots, slice):
            held[moves.slots] = rows
        else:
            held[torch.from_numpy(moves.slots).to(rows.device)] = rows

    def at(self, moves: _Moves) -> Tensor:
        """The rows that were put last, by the same moves."""
        return self._taken(moves.slots)

    def value(self, order: _Places) -> Tensor:
        """The rows in ``order``."""
        return self._taken(order)

    def _taken(self, places: _Places | slice) -> Tensor:
        assert self._rows is not None
        if isinstance(places, slice):
            return self._rows[places]
        if self._held is not None:
            return torch.from_numpy(self._held[places])
        return self._rows[torch.from_numpy(places).to(self._rows.device)]

    def _room(self, like: Tensor, filled: int) -> Tensor:
        """What is held, with room for ``filled`` rows."""
        held = self._rows
        count = 0 if held is None else held.size(0)
        self._rows = more = like.new_empty(min(max(filled, 2 * count), self._most), *like.shape[1:])
        if held is not None:
            more[:count] = held
        self._held = _array(more)
        return more


class _Layer:
    """What is kept of one layer.

    Args:
        most: See `_Rows`.
    """

    def __init__(self, most: int) -> None:
        self.rows = _Rows(most)
        self._batches = 0
        self._calls = 0
        self._without_samples = False

    def call(self, values: Values, moves: _Moves) -> None:
        """Takes in one call: of several in a batch the mean."""
        self._calls += 1
        new = None if self._without_samples else _chosen(values, moves)
        if new is None:
            self._without_samples = True
            return
        if self._calls > 1:
            held = self.rows.at(moves)
            new = held + (new - held) / self._calls
        self.rows.put(new, moves)

    def rest(self) -> None:
        """The batch is over."""
        self._batches += self._calls > 0
        self._calls = 0

    def reason(self, batches: int) -> str:
        """Why there are no values; empty where there are."""
        if self._without_samples:
            return "its values do not belong to single samples"
        return "" if self._batches == batches else "it was not called in every batch"


class _Stack:
    """Tensors of samples, in the structure in which a network or its loss takes them."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._nothing = torch.empty(0)
        self._last: Any = None
        self._rows: dict[tuple[Any, ...], _Rows] = {}
        self._fits = True

    def take(self, value: Any, count: int, moves: _Moves) -> None:
        found: dict[tuple[Any, ...], Tensor] = {}

        def note(place: tuple[Any, ...], tensor: Tensor) -> Tensor:
            if tensor.dim() and tensor.size(0) == count:
                found[place] = tensor
                return self._nothing
            return tensor

        self._last = _mapped(value, note)
        self._fits &= not self._rows or found.keys() == self._rows.keys()
        if not self._fits:
            return
        try:
            for place, tensor in found.items():
                if place not in self._rows:
                    self._rows[place] = _Rows(self._most)
                self._rows[place].put(moves.of(tensor.detach()), moves)
        except ValueError:
            self._fits = False

    def value(self, order: _Places) -> Any:
        if not self._fits or not self._rows:
            return None
        return _mapped(
            self._last,
            lambda place, tensor: self._rows[place].value(order) if place in self._rows else tensor,
        )


def _chosen(values: Values, moves: _Moves) -> Tensor | None:
    """The means by sample of the samples that stay."""
    single = values.tensor.dim() == 2 and values.axis == 1
    if single and values.tensor.size(0) == values.samples.number:
        return moves.of(values.rows())
    if moves.rows is None:
        return values.by_sample()
    return values.by_sample(torch.from_numpy(moves.rows).to(values.tensor.device))


def _array(tensor: Tensor) -> _Array | None:
    """What numpy sees of a tensor's memory; None where it can see nothing."""
    plain = type(tensor) is Tensor and tensor.is_cpu and tensor.layout == torch.strided
    if not plain or tensor.dtype not in _KINDS or tensor.is_neg():
        return None
    found: _Array = tensor.numpy()
    return found


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
        if tensor.dim() and tensor.size(0) == count:
            found.append(tensor)
        return tensor

    _mapped(output, note)
    return found[0] if found else None
