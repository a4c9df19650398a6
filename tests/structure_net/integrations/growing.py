"""What the tests of all integrations grow: small networks, data, and a strategy of two edits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from structure_net.evolution import (
    ComposableEvolutionSystem,
    EditingStrategy,
    NetworkContext,
    Proposal,
    Trigger,
)
from structure_net.surgery import AddNeurons, InsertLayer


class WiderAndDeeper(EditingStrategy):
    """Two units and a layer behind ``layer``, the latter once or never."""

    def __init__(self, layer: str = "0", deeper: bool = True) -> None:
        self.layer = layer
        self.deeper = deeper

    def propose(self, context: NetworkContext, analysis: Any) -> Sequence[Proposal]:
        wider = Proposal(AddNeurons(self.layer, 2), "a test")
        deeper = Proposal(InsertLayer(self.layer), "a test")
        return [wider, deeper] if self.deeper and not context.journal.edits else [wider]


def system(
    when: Trigger | None = None, layer: str = "0", *, deeper: bool = True
) -> ComposableEvolutionSystem:
    """Grows by `WiderAndDeeper`."""
    return ComposableEvolutionSystem().add_component(WiderAndDeeper(layer, deeper), when=when)


def network(seed: int = 0) -> nn.Sequential:
    """Four inputs, eight units, two classes."""
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))


def samples(count: int = 64) -> tuple[Tensor, Tensor]:
    """Points, and whether their coordinates have a positive sum."""
    inputs = torch.randn(count, 4, generator=torch.Generator().manual_seed(0))
    return inputs, (inputs.sum(1) > 0).long()


def dataset(count: int = 64) -> TensorDataset:
    """`samples`, as a data set."""
    return TensorDataset(*samples(count))


def shapes(module: nn.Module) -> dict[str, tuple[int, ...]]:
    """The shape of every parameter."""
    return {name: tuple(parameter.shape) for name, parameter in module.named_parameters()}
