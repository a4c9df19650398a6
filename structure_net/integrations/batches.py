"""The data of another package's loop, as batches that analyzers and trials can iterate."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch.utils.data import DataLoader, IterableDataset

from structure_net.evolution.batches import Batch, aside, number_of_batches

AsPair = Callable[[Any], Batch]


class LoopBatches:
    """Batches of a loop that goes on: looking at them takes nothing away from it.

    Of a `torch.utils.data.DataLoader` over a data set with a length, the data are read by a loader
    of its own, in this process, in an order that follows from the seed and the epoch: the loop's
    own iterator, its workers and its random state are left alone. Any other `DataLoader` is read
    as `aside` says, and anything else is iterated.

    Args:
        loader: The loop's data.
        as_pair: Takes what the loader yields to ``(inputs, targets)``.
        shuffle: Whether the order is random, where it is ours.
        seed: Of the order.
    """

    def __init__(
        self, loader: Iterable[Any], as_pair: AsPair, *, shuffle: bool, seed: int = 0
    ) -> None:
        self._generator = torch.Generator()
        self._loader = _reader(loader, self._generator if shuffle else None)
        self._as_pair = as_pair
        self._seed = seed
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Fixes the order of the next iteration."""
        self._epoch = epoch

    def __iter__(self) -> Iterator[Batch]:
        self._generator.manual_seed(self._seed + self._epoch)
        loader = self._loader
        found = aside(loader) if isinstance(loader, DataLoader) else loader
        return (self._as_pair(batch) for batch in found)

    def __len__(self) -> int:
        number = number_of_batches(self._loader)
        if number is None:
            raise TypeError("The loop's loader does not know how many batches it has.")
        return number


def _reader(loader: Iterable[Any], generator: torch.Generator | None) -> Iterable[Any]:
    if not isinstance(loader, DataLoader) or isinstance(loader.dataset, IterableDataset):
        return loader
    size = loader.batch_size or getattr(loader.batch_sampler, "batch_size", None)
    if not isinstance(size, int):
        return loader
    return DataLoader(
        loader.dataset,
        batch_size=size,
        shuffle=generator is not None,
        generator=generator,
        collate_fn=loader.collate_fn,
    )


def pair(batch: Any) -> Batch:
    """A batch that is a pair already, a list of two included.

    Raises:
        TypeError: It is none.
    """
    if not isinstance(batch, tuple | list) or len(batch) != 2:
        raise TypeError(
            f"A batch must be a pair (inputs, targets); got {type(batch).__name__}. Give"
            " `as_pair`, which takes a batch of your loader to such a pair."
        )
    return batch[0], batch[1]
