"""Splits that stay on the disk: samples are read, and normalised, batch by batch.

The arrays hold the source's own values in the source's own type, once for all splits, seeds and
processes. A mapped page is in memory once for the whole machine, whoever reads it, and the system
may take it back; nothing is ever copied as a whole.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import KW_ONLY, dataclass, replace
from math import prod
from typing import Final, Self

import torch
from torch import Tensor

from structure_net.data.batches import order_of
from structure_net.data.normalising import Normalisation

_COPIED: Final = 256 << 20


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class MappedSplit:
    """One split of a data set that is mapped from the disk; used as a `TensorSplit` is.

    Args:
        source: Inputs, shape ``(N, ...)``, in the source's values.
        labels: Targets, shape ``(N,)`` for classes, ``(N, k)`` for regression.
        rows: Which of the ``N`` belong to the split, int64, shape ``(n,)``.
        scale: What makes inputs of the source's values.
        target_scale: The same for regression targets; None for classes.
        flat: Whether each input is a vector.
    """

    source: Tensor
    labels: Tensor
    rows: Tensor
    scale: Normalisation
    target_scale: Normalisation | None = None
    flat: bool = False

    def __len__(self) -> int:
        return len(self.rows)

    def __repr__(self) -> str:
        shape = tuple(self.source.shape[1:])
        return f"MappedSplit({len(self)} of {len(self.source)} samples, inputs {shape})"

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of one input."""
        shape = tuple(self.source.shape[1:])
        return (prod(shape),) if self.flat else shape

    @property
    def inputs(self) -> Tensor:
        """All inputs, normalised: a copy in memory, shape ``(n, ...)``."""
        return self.read(torch.arange(len(self)))[0]

    @property
    def targets(self) -> Tensor:
        """All targets, normalised where they are regressed: a copy in memory."""
        return self._targets(self.labels.index_select(0, self.rows))

    def read(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Inputs and targets of the samples at ``index`` (shape ``(m,)``, int64), normalised."""
        rows = self.rows.index_select(0, index.to(self.rows.device))
        inputs = self.scale(self.source.index_select(0, rows))
        targets = self._targets(self.labels.index_select(0, rows))
        return inputs.flatten(1) if self.flat else inputs, targets

    def select(self, index: Tensor) -> Self:
        """The samples at ``index`` (shape ``(m,)``, int64), still on the disk."""
        return replace(self, rows=self.rows[index])

    def flattened(self) -> Self:
        """The same samples with each input as a vector."""
        return replace(self, flat=True)

    def on(self, device: torch.device | str) -> Self:
        """The same samples in a device's memory, in the source's values: a copy of them alone."""
        return replace(
            self,
            source=self.source.index_select(0, self.rows).to(device),
            labels=self.labels.index_select(0, self.rows).to(device),
            rows=torch.arange(len(self), device=device),
        )

    @property
    def nbytes(self) -> int:
        """What its samples take, in the source's values, in bytes."""
        whole = self.source.nbytes + self.labels.nbytes
        return whole * len(self) // max(1, len(self.source))

    def batches(
        self,
        batch_size: int,
        *,
        shuffle: bool = False,
        seed: int = 0,
        drop_last: bool = False,
        device: torch.device | str | None = None,
    ) -> MappedBatches:
        """This split as an iterable of ``(inputs, targets)``; see `MappedBatches`."""
        return MappedBatches(
            self, batch_size, shuffle=shuffle, seed=seed, drop_last=drop_last, device=device
        )

    def _targets(self, values: Tensor) -> Tensor:
        return values.to(torch.int64) if self.target_scale is None else self.target_scale(values)


@dataclass(eq=False)
class MappedBatches:
    """`TensorBatches` of a mapped split: the same batches, bit for bit, in the same order.

    Args:
        split: What is read.
        batch_size: Samples per batch; the last batch may be smaller.
        shuffle: Whether each epoch has an order of its own.
        seed: The seed of the orders.
        drop_last: Whether a last batch that is smaller is left out.
        device: Where the batches are; the CPU if None. Up to 256 MiB are copied to another device
            once, in the source's values; of more, each batch is moved there.
        epoch: The number of the next epoch.

    Raises:
        ValueError: ``batch_size`` is below 1, or ``seed`` is negative.
    """

    split: MappedSplit
    batch_size: int
    _: KW_ONLY
    shuffle: bool = False
    seed: int = 0
    drop_last: bool = False
    device: torch.device | str | None = None
    epoch: int = 0

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise ValueError(f"batch_size must be at least 1; got {self.batch_size}.")
        if self.seed < 0:
            raise ValueError(f"A seed must be 0 or more; got {self.seed}.")
        if torch.device(self.device or "cpu").type != "cpu" and self.split.nbytes <= _COPIED:
            assert self.device is not None
            self.split = self.split.on(self.device)

    def __len__(self) -> int:
        whole, rest = divmod(len(self.split), self.batch_size)
        return whole + (rest > 0 and not self.drop_last)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        epoch = self.epoch
        self.epoch += 1
        return self._batches(epoch)

    def set_epoch(self, epoch: int) -> None:
        """Says which epoch the next iteration is."""
        self.epoch = epoch

    def _batches(self, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        count = len(self.split)
        order = order_of(count, self.seed, epoch) if self.shuffle else torch.arange(count)
        for start in range(0, len(self) * self.batch_size, self.batch_size):
            inputs, targets = self.split.read(order[start : start + self.batch_size])
            if self.device is None:
                yield inputs, targets
            else:
                yield inputs.to(self.device), targets.to(self.device)
