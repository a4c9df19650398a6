"""Batches of tensors that are already in memory.

A `torch.utils.data.DataLoader` collates sample by sample; where the set is one tensor, a batch
is one gather. The order of an epoch is a function of the seed and the epoch's number alone, so that
a resumed run sees what an uninterrupted one would have seen.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import KW_ONLY, dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(eq=False, repr=False)
class TensorBatches:
    """An iterable of ``(inputs, targets)`` batches, with a length.

    Each iteration is one epoch and counts `epoch` on by one when it starts; `set_epoch` says which
    epoch comes next. The order depends on nothing else, neither on the device nor on the state of
    any random generator.

    Args:
        inputs: Shape ``(n, ...)``.
        targets: Shape ``(n, ...)``.
        batch_size: Samples per batch; the last batch may be smaller.
        shuffle: Whether each epoch has an order of its own; else the order of the tensors.
        seed: The seed of the orders.
        drop_last: Whether a last batch that is smaller is left out.
        device: Where the tensors are moved to, once; where they are if None.
        epoch: The number of the next epoch.

    Raises:
        ValueError: The lengths differ, ``batch_size`` is below 1, or ``seed`` is negative.
    """

    inputs: Tensor
    targets: Tensor
    batch_size: int
    _: KW_ONLY
    shuffle: bool = False
    seed: int = 0
    drop_last: bool = False
    device: torch.device | str | None = None
    epoch: int = 0

    def __post_init__(self) -> None:
        if len(self.inputs) != len(self.targets):
            raise ValueError(
                "Inputs and targets must be equally many; "
                f"got {len(self.inputs)} inputs and {len(self.targets)} targets."
            )
        if self.batch_size < 1:
            raise ValueError(f"batch_size must be at least 1; got {self.batch_size}.")
        if self.seed < 0:
            raise ValueError(f"A seed must be 0 or more; got {self.seed}.")
        if self.device is not None:
            self.inputs = self.inputs.to(self.device)
            self.targets = self.targets.to(self.device)

    def __len__(self) -> int:
        whole, rest = divmod(len(self.targets), self.batch_size)
        return whole + (rest > 0 and not self.drop_last)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        epoch = self.epoch
        self.epoch += 1
        return self._batches(epoch)

    def __repr__(self) -> str:
        return (
            f"TensorBatches({len(self.targets)} samples, batch_size={self.batch_size}, "
            f"shuffle={self.shuffle}, seed={self.seed}, epoch={self.epoch})"
        )

    def set_epoch(self, epoch: int) -> None:
        """Says which epoch the next iteration is."""
        self.epoch = epoch

    def order(self, epoch: int) -> Tensor:
        """The order of the samples in an epoch. Shape ``(n,)``, int64, on the CPU."""
        count = len(self.targets)
        return order_of(count, self.seed, epoch) if self.shuffle else torch.arange(count)

    def _batches(self, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        bounds = range(0, len(self) * self.batch_size, self.batch_size)
        if not self.shuffle:
            for start in bounds:
                part = slice(start, start + self.batch_size)
                yield self.inputs[part], self.targets[part]
            return
        order = self.order(epoch).to(self.targets.device)
        for start in bounds:
            index = order[start : start + self.batch_size]
            yield self.inputs.index_select(0, index), self.targets.index_select(0, index)


def order_of(count: int, seed: int, epoch: int) -> Tensor:
    """The order of ``count`` samples in an epoch: a function of its arguments alone.

    Returns:
        Shape ``(count,)``, int64, on the CPU.
    """
    return orders_of(count, seed, range(epoch, epoch + 1))[0]


def orders_of(count: int, seed: int, epochs: range) -> Tensor:
    """The orders of ``count`` samples in several epochs, each as `order_of` gives it.

    Returns:
        Shape ``(epochs, count)``, int64, on the CPU.
    """
    found = torch.empty(len(epochs), count, dtype=torch.int64)
    generator = torch.Generator()
    for order, epoch in zip(found.unbind(), epochs, strict=True):
        mixed = np.random.SeedSequence((seed, epoch)).generate_state(1, np.uint64)
        generator.manual_seed(int(mixed[0]) >> 1)
        torch.randperm(count, generator=generator, out=order)
    return found
