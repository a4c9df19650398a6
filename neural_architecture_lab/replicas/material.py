"""The data of replicas: one copy for all of them, laid out as the engines read it."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from neural_architecture_lab.errors import PlanError
from neural_architecture_lab.replicas.plan import ReplicaPlan
from structure_net.data import Dataset, load_dataset
from structure_net.data.datasets import Split

SCORED_AT_ONCE = 512
_LOCK = threading.Lock()


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """Samples in memory.

    Args:
        inputs: Shape ``(n, features)``.
        targets: Shape ``(n,)`` and int64 for classes; ``(n, k)`` for regression.
        blocks: The same in blocks of at most 512, inputs feature-major, ``(features, count)``; none
            of what is trained on.
    """

    inputs: Tensor
    targets: Tensor
    blocks: tuple[tuple[Tensor, Tensor], ...]

    def __len__(self) -> int:
        return len(self.targets)


@dataclass(frozen=True, slots=True, eq=False)
class Material:
    """A data set in one precision, on one device.

    Args:
        train: What is trained on.
        validation: What is looked at after each epoch; may be empty.
        test: What is looked at last.
        classes: Whether targets are classes.
    """

    train: Part
    validation: Part
    test: Part
    classes: bool


def material_of(plan: ReplicaPlan, device: str = "cpu") -> Material:
    """The data of a plan, loaded and converted once for each process.

    Raises:
        PlanError: The plan's sizes do not fit the data.
        DataError: There is no such data set.
    """
    with _LOCK:
        check_fit(plan)
        return _converted(plan.dataset, plan.data_dir, plan.dtype, device)


def check_fit(plan: ReplicaPlan) -> None:
    """Refuses a plan whose sizes are not those of its data.

    Raises:
        PlanError: They are not.
        DataError: There is no such data set.
    """
    found = dataset_of(plan.dataset, plan.data_dir)
    fitting = (found.input_shape[0], found.outputs)
    if (plan.sizes[0], plan.sizes[-1]) != fitting:
        raise PlanError(
            f"sizes must begin with the {fitting[0]} inputs of {plan.dataset!r} and end with"
            f" its {fitting[1]} outputs; got {list(plan.sizes)}."
        )


@cache
def dataset_of(name: str, data_dir: str | None) -> Dataset:
    """A data set by name, with inputs as vectors, loaded once for each process."""
    return load_dataset(name, data_dir=data_dir).flattened()


@cache
def _converted(name: str, data_dir: str | None, dtype: str, device: str) -> Material:
    data = dataset_of(name, data_dir)
    kind = getattr(torch, dtype)
    classes = data.task == "classification"
    validation, test = (
        _part(one, kind, device, scored=True) for one in (data.validation, data.test)
    )
    return Material(_part(data.train, kind, device), validation, test, classes)


def _part(split: Split, kind: torch.dtype, device: str, *, scored: bool = False) -> Part:
    inputs = split.inputs[:].to(device, kind).contiguous()
    targets = split.targets[:].to(device)
    if targets.is_floating_point():
        targets = targets.to(kind)
    targets = targets.contiguous()
    blocks = tuple(
        (some.T.contiguous(), wanted.contiguous())
        for some, wanted in zip(
            inputs.split(SCORED_AT_ONCE), targets.split(SCORED_AT_ONCE), strict=True
        )
        if scored and len(wanted)
    )
    return Part(inputs, targets, blocks)
