"""A sample of what was seen: the same samples in all layers, each as likely as any other.

Every sample draws a number when it comes by; those with the smallest numbers stay. So the sample is
uniform whatever the number of batches, it is the same for the same seed, and in the order of the
numbers its beginning is a smaller uniform sample.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from structure_net.evolution.reductions.probe_kernels import copy_rows, keep_least
from structure_net.evolution.reductions.reduction import Reduction
from structure_net.evolution.reductions.units import final
from structure_net.evolution.reductions.values import BatchSeen, Values

_WORDS: Final = {4: np.float32(0), 8: np.float64(0)}
"""A number of each width that kernels copy, whatever it means."""


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
            values=_head_of(self.values, count),
            inputs=_head(self.inputs, self.size, count),
            targets=_head(self.targets, self.size, count),
            outputs=_head(self.outputs, self.size, count),
        )


class _Values(Mapping[str, Tensor]):
    """`Probe.values`, put in order and into float64 when they are first read.

    Args:
        rows: What is kept of each layer.
        order: Of the rows.
    """

    def __init__(self, rows: Mapping[str, _Rows], order: Tensor) -> None:
        self._rows = rows
        self._made: dict[str, Tensor] = {}
        self.order = order

    def first(self, count: int) -> _Values:
        """The values of the first samples."""
        return _Values(self._rows, self.order[:count])

    def __getitem__(self, layer: str) -> Tensor:
        if layer not in self._made:
            self._made[layer] = final(self._rows[layer].at(self.order))
        return self._made[layer]

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)


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
        self._kept = _Least(size)
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
        order = torch.from_numpy(self._kept.numbers().argsort())
        found = {name: self._layers[name] for name in readers if name in self._layers}
        absent = {name: layer.reason(self._batches) for name, layer in found.items()}
        inputs, targets, outputs = (stack.value(order) for stack in self._data)
        return Probe(
            size=len(order),
            values=_Values({n: f.rows for n, f in found.items() if not absent[n]}, order),
            inputs=inputs,
            targets=targets,
            outputs=outputs,
            absent={name: reason for name, reason in absent.items() if reason},
        )

    def _draw(self, count: int) -> _Moves:
        """Which rows of a batch stay, and where."""
        drawn = torch.rand(count, generator=self._generator, dtype=torch.float64)
        return self._kept.take(drawn.numpy())


class _Least:
    """The least numbers that came by, each at its place.

    Args:
        most: How many there are in the end, at most.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._held = 0
        self._numbers = np.empty(0)
        self._state = np.empty((2, 0), np.int64)

    def numbers(self) -> npt.NDArray[np.float64]:
        """By place."""
        return self._numbers[: self._held]

    def take(self, drawn: npt.NDArray[np.float64]) -> _Moves:
        """Takes in the numbers of a batch."""
        room = min(self._most, self._held + len(drawn))
        if room > len(self._numbers):
            more = min(self._most, 2 * room) - len(self._numbers)
            self._numbers = np.append(self._numbers, np.full(more, np.inf))
            self._state = np.append(self._state, np.full((2, more), -1), axis=1)
        found = torch.empty(2, len(drawn), dtype=torch.int64)
        count = keep_least(self._numbers, self._state, self._held, drawn, found.numpy())
        whole = self._held + len(drawn) <= self._most
        self._held = room
        return _Moves(found[0, :count], found[1, :count], room, whole)


@dataclass(frozen=True, slots=True, eq=False)
class _Moves:
    """The rows of a batch that stay, their places, and how many places are taken then.

    Where there is room for all, ``whole``, they stay in their order.
    """

    rows: Tensor
    places: Tensor
    filled: int
    whole: bool


class _Rows:
    """A tensor with one row for each sample that stays; it grows with them.

    Args:
        most: The number of rows in the end, at most.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._rows: Tensor | None = None

    def put(self, batch: Tensor, moves: _Moves) -> None:
        """Takes in the rows of a batch that stay.

        Raises:
            ValueError: The rows are not like those before.
        """
        held = self._room(batch, moves.filled)
        if not _copied(batch, held, moves):
            rows, places = moves.rows.to(batch.device), moves.places.to(batch.device)
            held.index_copy_(0, places, batch.index_select(0, rows))

    def put_rows(self, rows: Tensor, moves: _Moves) -> None:
        """`put` of the rows that stay alone."""
        held = self._room(rows, moves.filled)
        held.index_copy_(0, moves.places.to(rows.device), rows)

    def at(self, places: Tensor) -> Tensor:
        """The rows at some places."""
        assert self._rows is not None
        places = places.to(self._rows.device)
        if _is_turned(self._rows):
            return self._rows.t().index_select(1, places).t()
        return self._rows.index_select(0, places)

    def _room(self, like: Tensor, filled: int) -> Tensor:
        """What is held, with room for ``filled`` rows."""
        held = self._rows
        if held is not None:
            if held.shape[1:] != like.shape[1:] or held.dtype != like.dtype:
                raise ValueError
            if held.size(0) >= filled:
                return held
        count = 0 if held is None else held.size(0)
        room, shape = min(max(filled, 2 * count), self._most), like.shape[1:]
        turned = _is_turned(like if held is None else held)
        more = like.new_empty(*shape, room).t() if turned else like.new_empty(room, *shape)
        if held is not None:
            more[:count] = held
        self._rows = more
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
        tensor = values.tensor
        whole = tensor.dim() == 2 and values.axis == 1 and tensor.size(0) == values.samples.number
        if whole and self._calls == 1 and not self._without_samples:
            self.rows.put(values.rows(), moves)
            return
        new = values.by_sample(None if moves.whole else moves.rows.to(tensor.device))
        self._without_samples |= new is None
        if new is None or self._without_samples:
            return
        if self._calls > 1:
            held = self.rows.at(moves.places)
            new = held + (new - held) / self._calls
        self.rows.put_rows(new, moves)

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
                self._rows[place].put(tensor.detach(), moves)
        except ValueError:
            self._fits = False

    def value(self, order: Tensor) -> Any:
        if not self._fits or not self._rows:
            return None
        return _mapped(
            self._last,
            lambda place, tensor: self._rows[place].at(order) if place in self._rows else tensor,
        )


def _is_turned(rows: Tensor) -> bool:
    """Whether numbers of one column lie side by side, as sparse layers give them."""
    return rows.dim() == 2 and rows.stride(0) == 1 and not rows.is_contiguous()


def _copied(batch: Tensor, held: Tensor, moves: _Moves) -> bool:
    """Copies the rows of a batch that stay, if the kernel can: in a tenth of torch's time."""
    zero = _WORDS.get(batch.element_size())
    if zero is None or type(batch) is not Tensor or not (batch.is_cpu and held.is_cpu):
        return False
    if batch.layout != torch.strided or batch.is_neg() or batch.is_complex():
        return False
    if batch.dim() == 2:
        width, steps = batch.size(1), (*batch.stride(), *held.stride())
    elif batch.is_contiguous():
        width = held[:1].numel()
        steps = width, 1, width, 1
    else:
        return False
    tensors = batch.data_ptr(), held.data_ptr(), moves.rows.data_ptr(), moves.places.data_ptr()
    copy_rows(zero, tensors, (moves.rows.size(0), width), steps)
    return True


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


def _head_of(values: Mapping[str, Tensor], count: int) -> Mapping[str, Tensor]:
    if isinstance(values, _Values):
        return values.first(count)
    return {layer: rows[:count] for layer, rows in values.items()}


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
