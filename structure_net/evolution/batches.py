"""Batches: what a loader yields, how it reaches a device, and how a network is called with it.

A batch is a pair ``(inputs, targets)``. Inputs are a tensor, a tuple of positional arguments or a
mapping of keyword arguments; that is all the framework needs to know of a model's signature.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Sized
from contextlib import AbstractContextManager, contextmanager, nullcontext
from copy import copy
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from structure_net.core.arguments import shown
from structure_net.core.running import call
from structure_net.core.sections import listening, section

Batch = tuple[Any, Any]
Loss = Callable[[Any, Any], Tensor]

ITERABLE_AGAIN = (
    "Give it data, in something that can be iterated again and again: a generator is spent after"
    " one epoch, a list of batches or a DataLoader is not."
)
"""The way out where a loader gave no batch."""

EMPTY_BATCH = (
    "A loader must yield batches of one sample or more; got an empty one. Leave those out."
)
"""What is said of a batch without samples."""

_OVER: Any = object()
_NOTHING: AbstractContextManager[object] = nullcontext()


def to_device(value: Any, device: torch.device | str) -> Any:
    """``value`` with every tensor in it on ``device``, in tuples, lists and mappings too."""
    if isinstance(value, Tensor):
        # Only there: what is copied to the CPU without waiting would be read before it has come.
        return value.to(device, non_blocking=torch.device(device).type != "cpu")
    if isinstance(value, Mapping):
        return {name: to_device(item, device) for name, item in value.items()}
    if isinstance(value, tuple | list):
        return type(value)(to_device(item, device) for item in value)
    return value


def forward(network: nn.Module, inputs: Any) -> Any:
    """The network's output: a tensor is one argument, a tuple several, a mapping keywords.

    Raises:
        TypeError: The inputs are of another kind.
    """
    if not isinstance(inputs, Tensor | Mapping | tuple | list):
        raise TypeError(
            f"Inputs must be a tensor, a tuple or a mapping; got {type(inputs).__name__}."
            " Let the loader yield (inputs, targets) with inputs of one of these kinds."
        )
    with section("forward"):
        return call(network, inputs)


def loss_of(loss: Loss, output: Any, targets: Any) -> Tensor:
    """The loss of one batch.

    Raises:
        TypeError: ``loss`` gives something else than a tensor of one number.
    """
    with section("loss"):
        value: object = loss(output, targets)
    if not isinstance(value, Tensor) or value.numel() != 1:
        of = f" of shape {tuple(value.shape)}" if isinstance(value, Tensor) else ""
        raise TypeError(
            f"loss must give a tensor of one number; got {type(value).__name__}{of}."
            " Take the mean, as with reduction='mean'."
        )
    return value


def batches(
    loader: Iterable[Batch], device: torch.device | str, limit: int | None = None
) -> Iterator[Batch]:
    """The first ``limit`` batches of a loader (all if None), on ``device``.

    Raises:
        TypeError: The loader yields something else than pairs ``(inputs, targets)``.
        ValueError: It yields a batch without samples.
    """
    found = islice(loader, limit)
    travel = _stay if torch.device(device).type == "cpu" else section
    for batch in _timed(found) if listening() else found:
        if not isinstance(batch, tuple | list) or len(batch) != 2:
            raise TypeError(
                f"A loader must yield pairs (inputs, targets); got {type(batch).__name__}"
                f"{f' of length {len(batch)}' if isinstance(batch, tuple | list) else ''}."
            )
        if isinstance(batch[1], Tensor) and batch[1].dim() and not len(batch[1]):
            raise ValueError(EMPTY_BATCH)
        with travel("transfer"):
            moved = to_device(batch[0], device), to_device(batch[1], device)
        yield moved


def aside(loader: Iterable[Batch]) -> Iterable[Batch]:
    """The loader for a look in the middle of a loop that may be iterating it: same batches.

    A `torch.utils.data.DataLoader` with ``persistent_workers`` has one iterator, which whoever
    iterates it anew sets back to its start: the loop that had it would never end. So a look reads
    through a copy, with the same data set, sampler, workers (of its own, which end with it) and
    generator.
    """
    if not isinstance(loader, DataLoader):
        return loader
    if not loader.persistent_workers and loader._iterator is None:
        return loader
    mine: DataLoader[Any] = copy(loader)
    vars(mine).update(persistent_workers=False, _iterator=None)  # setting one of them is refused
    return mine


def refuse_iterators(loader: Iterable[Batch]) -> None:
    """Refuses what a look would spend, in front of a loop that may iterate it, too.

    Raises:
        ValueError: The loader, or the data set that it reads in this process, is an iterator: what
            a look takes would be missing from the loop.
    """
    what: tuple[str, object] = "The data_loader", loader
    if isinstance(loader, DataLoader) and not loader.num_workers:
        what = "The data_loader's dataset", loader.dataset
    if isinstance(what[1], Iterator):
        raise ValueError(  # noqa: TRY004 - as of a loader that gives nothing more
            f"{what[0]} is an iterator, and a look would take batches away from who iterates it;"
            f" got {shown(what[1])}. {ITERABLE_AGAIN}"
        )


def _stay(name: str) -> AbstractContextManager[object]:
    """No section: to the processor, nothing is transferred as a rule."""
    return _NOTHING


def _timed(found: Iterator[Batch]) -> Iterator[Batch]:
    """The same batches; what it takes to get each is a section."""
    while True:
        with section("data"):
            batch = next(found, _OVER)
        if batch is _OVER:
            return
        yield batch


def example_of(inputs: Any, rows: int = 2) -> Any:
    """The first ``rows`` samples of ``inputs``, enough to trace a network with.

    The batch axis is the first one of every tensor; tensors of another length are kept whole.
    """
    length = _length(inputs)
    return _head(inputs, rows, length)


def _length(inputs: Any) -> int | None:
    if isinstance(inputs, Tensor):
        return len(inputs) if inputs.dim() else None
    values = inputs.values() if isinstance(inputs, Mapping) else inputs
    return next((len(value) for value in values if isinstance(value, Tensor) and value.dim()), None)


def _head(value: Any, rows: int, length: int | None) -> Any:
    if isinstance(value, Tensor):
        return value[:rows].clone() if value.dim() and len(value) == length else value
    if isinstance(value, Mapping):
        return {name: _head(item, rows, length) for name, item in value.items()}
    if isinstance(value, tuple | list):
        return tuple(_head(item, rows, length) for item in value)
    return value


def joined(found: Iterable[Batch], size: int) -> Batch:
    """The first ``size`` samples of several batches as one batch; all where there are fewer.

    Where tensors of different batches are not alike but for their number of samples, the first
    batch alone.

    Raises:
        ValueError: There is no batch.
    """
    parts: list[Batch] = []
    held = 0
    for batch in found:
        parts.append(batch)
        held += batch_length(batch[1])
        if held >= size:
            break
    if not parts:
        raise ValueError(f"The data_loader gave no batch. {ITERABLE_AGAIN}")
    inputs, targets = _joined(parts) if _alike(parts) else parts[0]
    length = batch_length(targets)
    return _head(inputs, size, length), _head(targets, size, length)


def _alike(values: Sequence[Any]) -> bool:
    """Whether the values differ in the length of their tensors only."""
    first = values[0]
    if isinstance(first, Tensor):
        return bool(first.dim()) and all(
            isinstance(v, Tensor) and v.shape[1:] == first.shape[1:] and v.dtype == first.dtype
            for v in values
        )
    if isinstance(first, Mapping):
        same = all(isinstance(v, Mapping) and v.keys() == first.keys() for v in values)
        return same and all(_alike([v[key] for v in values]) for key in first)
    if isinstance(first, tuple | list):
        same = all(isinstance(v, tuple | list) and len(v) == len(first) for v in values)
        return same and all(_alike(entries) for entries in zip(*values, strict=True))
    return all(type(v) is type(first) for v in values)


def _joined(values: Sequence[Any]) -> Any:
    first = values[0]
    if isinstance(first, Tensor):
        return torch.cat(tuple(values))
    if isinstance(first, Mapping):
        return {key: _joined([v[key] for v in values]) for key in first}
    if isinstance(first, tuple | list):
        return tuple(_joined(entries) for entries in zip(*values, strict=True))
    return first


def batch_length(targets: Any) -> int:
    """How many samples ``targets`` belong to: the length of the (first) tensor, 1 for a scalar."""
    if isinstance(targets, Tensor):
        return len(targets) if targets.dim() else 1
    values = targets.values() if isinstance(targets, Mapping) else targets
    if isinstance(values, Iterable):
        return next((batch_length(value) for value in values), 0)
    return 1


def random_state_kept(device: torch.device | str) -> AbstractContextManager[None]:
    """Torch's global random states, of the CPU and of ``device``, are the same afterwards.

    A `torch.utils.data.DataLoader` without a generator of its own draws its order from them.
    """
    place = torch.device(device)
    return torch.random.fork_rng(devices=[place]) if place.type == "cuda" else _same_state()


@contextmanager
def _same_state() -> Iterator[None]:
    """As `torch.random.fork_rng` without devices, which looks for some first."""
    state = torch.get_rng_state()
    try:
        yield
    finally:
        torch.set_rng_state(state)


def number_of_batches(loader: object) -> int | None:
    """Batches per epoch; None where the loader does not know."""
    try:
        return len(loader) if isinstance(loader, Sized) else None
    except TypeError:  # A DataLoader over an iterable data set has __len__ and cannot answer.
        return None
