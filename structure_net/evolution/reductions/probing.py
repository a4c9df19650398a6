"""A sample of what was seen: the same samples in all layers, each as likely as any other.

Every sample draws a number when it comes by; those with the smallest numbers stay. So the sample is
uniform whatever the number of batches, it is the same for the same seed, and in the order of the
numbers its beginning is a smaller uniform sample.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from structure_net.core.noting import Picked
from structure_net.evolution.calls import Call
from structure_net.evolution.reductions.kept_rows import Least, Moves, Rows
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
            values=_head_of(self.values, count),
            inputs=_head(self.inputs, self.size, count),
            targets=_head(self.targets, self.size, count),
            outputs=_head(self.outputs, self.size, count),
        )


class _Values(Mapping[str, Tensor]):
    """`Probe.values`, put in order and into float64 when they are first read.

    Args:
        rows: What is kept of each layer.
        order: Gives the order of the rows.
        count: How many rows are left, in that order.
    """

    def __init__(self, rows: Mapping[str, Rows], order: Callable[[], Tensor], count: int) -> None:
        self._rows = rows
        self._made: dict[str, Tensor] = {}
        self._order = order
        self._count = count

    def first(self, count: int) -> _Values:
        """The values of the first samples."""
        return _Values(self._rows, self._order, count)

    def __getitem__(self, layer: str) -> Tensor:
        if layer not in self._made:
            self._made[layer] = final(self._rows[layer].at(self._order()[: self._count]))
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
        data: Whether the network's inputs, targets and outputs are kept, too.

    Raises:
        ValueError: ``size`` is below 1.
    """

    notes: ClassVar[bool] = True

    def __init__(self, size: int, seed: int, *, data: bool = True) -> None:
        if size < 1:
            raise ValueError(
                f"A probe needs a size of 1 or more; got {size}. Let the analyzer that reads"
                " context.observation.probe say how many samples it wants (`probe_size`)."
            )
        self._size = size
        self._generator = torch.Generator().manual_seed(seed)
        self._kept = Least(size)
        self._with_data = data
        self._batches = 0
        self._moves: Moves | None = None
        self._layers: dict[str, _Layer] = {}
        self._data = (_Stack(size), _Stack(size), _Stack(size)) if data else ()

    def units(self, values: Values) -> None:
        """See `Reduction.units`."""
        if self._moves is None:
            self._moves = self._draw(values.samples.number)
        if values.layer not in self._layers:
            self._layers[values.layer] = _Layer(self._size)
        self._layers[values.layer].call(values, self._moves)

    def ready(self, calls: Sequence[Call], kind: torch.dtype) -> bool:
        """See `Reduction.ready`."""
        # Of a layer that is called twice the mean is kept, which is no copy of rows.
        names = {call.layer for call in calls}
        return len(names) == len(calls) and all(
            call.layer not in self._layers or self._layers[call.layer].takes(call.size, kind)
            for call in calls
        )

    def pick(self, calls: Sequence[Call], samples: int, kind: torch.dtype) -> Picked:
        """See `Reduction.pick`."""
        if self._moves is None:
            self._moves = self._draw(samples)
        rows = []
        for call in calls:
            if call.axis != -1:
                continue
            if call.layer not in self._layers:
                self._layers[call.layer] = _Layer(self._size)
            like = torch.empty(0, call.size, dtype=kind)
            rows.append(self._layers[call.layer].room(like, self._moves))
        return Picked(self._moves.rows, self._moves.places, rows)

    def sample(self, values: Values) -> None:
        """See `Reduction.sample`."""
        self.units(values)

    def batch(self, seen: BatchSeen) -> None:
        """See `Reduction.batch`."""
        moves = self._draw(seen.samples) if self._moves is None else self._moves
        self._moves = None
        for layer in self._layers.values():
            layer.rest()
        self._batches += 1
        if not self._with_data:
            return
        output = _first_with_rows(seen.output, seen.samples)
        for stack, value in zip(self._data, (seen.inputs, seen.targets, output), strict=True):
            stack.take(value, seen.samples, moves)

    def result(self, readers: Mapping[str, tuple[str, ...]]) -> Probe:
        """See `Probe`."""
        size = len(self._kept.numbers())
        found = {name: self._layers[name] for name in readers if name in self._layers}
        absent = {name: layer.reason(self._batches) for name, layer in found.items()}
        rows = {name: layer.rows for name, layer in found.items() if not absent[name]}
        data = [stack.value(self._kept.order()) for stack in self._data]
        inputs, targets, outputs = data or (None, None, None)
        return Probe(
            size=size,
            values=_Values(rows, self._kept.order, size),
            inputs=inputs,
            targets=targets,
            outputs=outputs,
            absent={name: reason for name, reason in absent.items() if reason},
        )

    def _draw(self, count: int) -> Moves:
        """Which rows of a batch stay, and where."""
        drawn = torch.rand(count, generator=self._generator, dtype=torch.float64)
        return self._kept.take(drawn.numpy())


class _Layer:
    """What is kept of one layer.

    Args:
        most: See `Rows`.
    """

    def __init__(self, most: int) -> None:
        self.rows = Rows(most)
        self._batches = 0
        self._calls = 0
        self._without_samples = False

    def call(self, values: Values, moves: Moves) -> None:
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

    def takes(self, units: int, kind: torch.dtype) -> bool:
        """Whether rows of so many units can be written to a `room` for them."""
        held = self.rows.held
        if self._calls or self._without_samples:
            return False
        return held is None or (held.is_cpu and held.shape[1:] == (units,) and held.dtype == kind)

    def room(self, like: Tensor, moves: Moves) -> Tensor:
        """Where a call writes the rows that stay, which are like those of ``like``, to their
        places."""
        self._calls += 1
        return self.rows.room(like, moves.filled)

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
        self._rows: dict[tuple[Any, ...], Rows] = {}
        self._fits = True

    def take(self, value: Any, count: int, moves: Moves) -> None:
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
                    self._rows[place] = Rows(self._most)
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
