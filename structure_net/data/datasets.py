"""Data sets as values: splits in memory, what a loader reads, and the record of what was loaded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Literal, Self

import torch
from torch import Tensor

from structure_net.data.batches import TensorBatches
from structure_net.data.mapped import MappedSplit
from structure_net.data.normalising import Scaling

Task = Literal["classification", "regression"]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class TensorSplit:
    """One split of a data set, whole in memory.

    Args:
        inputs: Shape ``(n, *input_shape)``.
        targets: Shape ``(n,)`` and int64 for classes; ``(n, k)`` and float32 for regression.

    Raises:
        ValueError: The lengths differ.
    """

    inputs: Tensor
    targets: Tensor

    def __post_init__(self) -> None:
        if len(self.inputs) != len(self.targets):
            raise ValueError(
                "Inputs and targets must be equally many; "
                f"got {len(self.inputs)} inputs and {len(self.targets)} targets."
            )

    def __len__(self) -> int:
        return len(self.targets)

    def __repr__(self) -> str:
        return (
            f"TensorSplit({len(self)} samples, inputs {tuple(self.inputs.shape[1:])}, "
            f"targets {tuple(self.targets.shape[1:])} {self.targets.dtype})"
        )

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of one input."""
        return tuple(self.inputs.shape[1:])

    def select(self, index: Tensor) -> Self:
        """The samples at ``index`` (shape ``(m,)``, int64), copied."""
        return type(self)(self.inputs[index], self.targets[index])

    def flattened(self) -> Self:
        """The same samples with each input as a vector; shares the memory."""
        return type(self)(self.inputs.flatten(1), self.targets)

    def batches(
        self,
        batch_size: int,
        *,
        shuffle: bool = False,
        seed: int = 0,
        drop_last: bool = False,
        device: torch.device | str | None = None,
    ) -> TensorBatches:
        """This split as an iterable of ``(inputs, targets)``; see `TensorBatches`."""
        return TensorBatches(
            self.inputs,
            self.targets,
            batch_size,
            shuffle=shuffle,
            seed=seed,
            drop_last=drop_last,
            device=device,
        )


Split = TensorSplit | MappedSplit
"""In memory, or on the disk."""


@dataclass(frozen=True, slots=True, eq=False)
class RawDataset:
    """What a loader reads, before the validation split and the normalisation.

    Args:
        train: All samples that may be trained on, in the order and the units of the source.
        test: The samples that the source holds out; None where it holds out none.
        task: What the targets are.
        classes: The names of the classes, in the order of their numbers; empty for regression.
        checksum: The md5 of what was read, as 32 hexadecimal digits.
        scaling: Over what the normalisation takes its statistics: per ``"channel"`` (axis 1 of the
            inputs), per ``"feature"`` (each input for itself), over the ``"whole"``, or ``"none"``.
    """

    train: TensorSplit
    test: TensorSplit | None
    task: Task
    classes: tuple[str, ...]
    checksum: str
    scaling: Scaling = "feature"


@dataclass(frozen=True, slots=True)
class DatasetDescriptor:
    """What was loaded, so that a run can say it and another can load the same.

    Args:
        name: The name that was asked for, with its options.
        checksum: The md5 of what was read.
        split_seed: The seed of the validation split.
        validation_fraction: The share of the training samples that validate.
        sizes: Samples per split: ``train``, ``validation``, ``test``.
        input_shape: The shape of one input.
        task: What the targets are.
        outputs: The number of classes, or of regression targets.
        scaling: Over what the statistics were taken.
        mean: What was subtracted from the inputs, in the source's units.
        deviation: What the inputs were divided by afterwards.
        target_mean: The same for regression targets; empty for classes.
        target_deviation: The same for regression targets; empty for classes.
        version: Of what the loader gives, as it was registered.
        transforms: What was done to the source's values, in order, in words.
    """

    name: str
    checksum: str
    split_seed: int
    validation_fraction: float
    sizes: Mapping[str, int]
    input_shape: tuple[int, ...]
    task: Task
    outputs: int
    scaling: Scaling
    mean: tuple[float, ...]
    deviation: tuple[float, ...]
    target_mean: tuple[float, ...] = ()
    target_deviation: tuple[float, ...] = ()
    version: str = "1"
    transforms: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, object]:
        """The descriptor as plain values that JSON can hold."""
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in asdict(self).items()
        }


@dataclass(frozen=True, slots=True, eq=False)
class Dataset:
    """A data set, split and normalised, in memory or mapped.

    Args:
        name: The name that was asked for.
        train: What is trained on.
        validation: What decides between choices; empty where no share was asked for.
        test: What is looked at last.
        task: What the targets are.
        classes: The names of the classes; empty for regression.
        descriptor: What was loaded, for the record.
    """

    name: str
    train: Split
    validation: Split
    test: Split
    task: Task
    classes: tuple[str, ...] = field(repr=False)
    descriptor: DatasetDescriptor = field(repr=False)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of one input."""
        return self.train.input_shape

    @property
    def outputs(self) -> int:
        """The number of outputs that a network needs: classes, or regression targets."""
        return self.descriptor.outputs

    def flattened(self) -> Dataset:
        """The same data with each input as a vector; shares the memory."""
        return replace(
            self,
            train=self.train.flattened(),
            validation=self.validation.flattened(),
            test=self.test.flattened(),
        )
