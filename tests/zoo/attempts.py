"""Tries edits on copies of a test model and says what came of them."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from structure_net.core.storage import StoredLayer
from structure_net.errors import SurgeryError
from structure_net.graph import ChannelGraph, adopt, graph_of
from structure_net.graph.channels import ChannelGroup, Growth, Role
from structure_net.surgery import (
    AddNeurons,
    DoubleWidth,
    Edit,
    RemoveNeurons,
    SplitNeurons,
    apply,
)
from tests.zoo.case import Case


@dataclass(frozen=True, slots=True)
class Attempt:
    """One edit that was tried.

    Args:
        edit: The edit.
        refusal: Why it was refused or undone; None if it was carried out.
        gap: How far the output moved, relative to the larger of 1 and the largest entry; over
            batches of 2 and of 3, neither of which the edit has seen.
    """

    edit: Edit
    refusal: str | None
    gap: float = 0.0


def succeeded(attempts: Sequence[Attempt]) -> bool:
    """Whether something was tried, and all of it carried out."""
    return bool(attempts) and all(attempt.refusal is None for attempt in attempts)


class Subject:
    """A test model, its graph and what it computes.

    Args:
        case: The test model.
    """

    def __init__(self, case: Case) -> None:
        self.case = case
        self.model = case.build()
        self.example = case.inputs(2, seed=0)
        self.graph: ChannelGraph = graph_of(self.model, self.example)

    @property
    def layers(self) -> tuple[str, ...]:
        """The layers whose width is not the model's output."""
        return tuple(layer for layer in self.graph.layers if layer not in self.case.outputs)

    def twin(self) -> nn.Module:
        """A copy of the model that need not be traced."""
        twin = copy.deepcopy(self.model)
        adopt(twin, self.model)
        return twin

    def outputs(self, model: nn.Module) -> tuple[Tensor, ...]:
        """All output tensors on batches of 2 and of 3."""
        batches = (self.case.inputs(size, seed=size) for size in (2, 3))
        return tuple(tensor for batch in batches for tensor in run(model, batch))

    def attempt(self, edit: Edit, model: nn.Module | None = None) -> Attempt:
        """Tries ``edit`` on ``model``, or on a fresh copy; the edit verifies itself as usual."""
        model = self.twin() if model is None else model
        before = self.outputs(model)
        try:
            apply(model, edit, self.example, seed=1)
        except SurgeryError as refusal:
            return Attempt(edit, str(refusal))
        return Attempt(edit, None, distance(before, self.outputs(model)))

    def growths(self, layer: str) -> Iterator[Attempt]:
        """Growth by one unit and by three, where the layer grows by any count."""
        group = self.graph.editable[layer]
        if group.growth is not Growth.DOUBLING:
            for units in (1, 3):
                yield self.attempt(AddNeurons(layer, units * group.granularity))

    def doubling(self, layer: str) -> Attempt:
        """A copy of every unit."""
        return self.attempt(DoubleWidth(layer))

    def split(self, layer: str) -> Attempt:
        """A copy of one unit."""
        group = self.graph.editable[layer]
        return self.attempt(SplitNeurons(layer, group.channels[group.units // 2]))

    def removal(self, layer: str) -> Attempt | None:
        """The removal of a unit that nothing reads; None where there is only one unit.

        Where a normalisation reduces over the channels, the others move: the gap says nothing.
        """
        group = self.graph.editable[layer]
        if group.units < 2:
            return None
        unit, model = group.units // 2, self.twin()
        _silence(model, group, unit)
        attempt = self.attempt(RemoveNeurons(layer, group.channels[unit]), model)
        return replace(attempt, gap=0.0) if group.normalised else attempt


def run(model: nn.Module, example: Any) -> list[Tensor]:
    """The tensors that a model returns, in order."""
    with torch.no_grad():
        if isinstance(example, dict):
            result = model(**example)
        else:
            result = model(*example) if isinstance(example, tuple) else model(example)
    return [leaf for leaf in pytree.tree_leaves(result) if isinstance(leaf, Tensor)]


def distance(before: tuple[Tensor, ...], after: tuple[Tensor, ...]) -> float:
    """The largest difference, relative to the larger of 1 and the largest entry."""
    gaps = [0.0]
    for old, new in zip(before, after, strict=True):
        if old.shape != new.shape or not torch.equal(old.isfinite(), new.isfinite()):
            return float("inf")
        scale = max(1.0, float(torch.nan_to_num(old.double(), posinf=0.0, neginf=0.0).abs().max()))
        moved = torch.nan_to_num(old.double() - new.double(), posinf=0.0, neginf=0.0)
        gaps.append(float(moved.abs().max()) / scale)
    return max(gaps)


@torch.no_grad()
def _silence(model: nn.Module, group: ChannelGroup, unit: int) -> None:
    """Sets what reads a unit to zero; the unit's own weights where one tensor does both, or where
    the unit is summed without a reader."""
    readers = [axis for axis in group.axes if axis.role is Role.READS and not group.paired]
    source = [-1 if index == unit else index for index in range(group.units)]
    tensors = dict(model.named_parameters(remove_duplicate=False))
    for axis in readers or group.axes:
        gone = torch.tensor([i for i, origin in enumerate(axis.lift(source)) if origin < 0])
        if axis.leaf:
            silence_inputs(model.get_submodule(axis.tensor), gone)
        elif axis.tensor in tensors:
            tensors[axis.tensor].index_fill_(axis.dim, gone, 0.0)


@torch.no_grad()
def silence_inputs(layer: nn.Module, units: Tensor) -> None:
    """Sets to zero what a sparse layer, trial connections included, reads of some input units."""
    for module in layer.modules():
        if isinstance(module, StoredLayer):
            read = torch.isin(module.pattern.columns, units)
            module.fill(module.live_weights.index_fill(0, read.nonzero().flatten(), 0.0))
