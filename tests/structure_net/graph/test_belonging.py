"""Entries of an axis are found by a few maps as they are by one for each unit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn

from structure_net.core import StandardSparseLayer
from structure_net.graph import Axis, Fill, Role, trace
from structure_net.graph.belonging import entries_of, units_along


class Both(nn.Module):
    """Units that are read twice, beside others."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, 5), nn.Linear(4, 3)
        self.head = StandardSparseLayer(13, 2, density=0.5)

    def forward(self, inputs: Tensor) -> Tensor:
        first, second = torch.relu(self.first(inputs)), torch.relu(self.second(inputs))
        output: Tensor = self.head(torch.cat([first, second, first], 1))
        return output


MODELS = {
    "flattened": (
        nn.Sequential(nn.Conv2d(2, 5, 3), nn.BatchNorm2d(5), nn.Flatten(), nn.Linear(45, 3)),
        (2, 5, 5),
    ),
    "groups": (nn.Sequential(nn.Conv2d(2, 6, 1), nn.Conv2d(6, 6, 1, groups=2)), (2, 3, 3)),
    "both": (Both(), (4,)),
}


def one_by_one(axis: Axis, units: int) -> list[list[int]]:
    """What a map lacks that leaves a unit out."""
    found = []
    for unit in range(units):
        without = axis.lift([-1 if place == unit else place for place in range(units)])
        found.append([place for place, origin in enumerate(without) if origin < 0])
    return found


@pytest.mark.parametrize("name", MODELS)
def test_entries_are_those_that_a_map_without_the_unit_lacks(name: str) -> None:
    model, shape = MODELS[name]
    graph = trace(model, torch.randn(2, *shape))
    groups = [group for layer in graph.editable for group in graph.groups_of(layer)]
    axes = [(axis, group.units) for group in groups for axis in group.axes]
    assert len(axes) > 2
    for axis, units in axes:
        expected = one_by_one(axis, units)
        assert entries_of(axis, units, range(units)) == expected
        assert entries_of(axis, units, [units - 1, 0]) == [expected[-1], expected[0]]


@dataclass(frozen=True)
class Pairs:
    """An axis with an entry for each two units."""

    units: int

    def __call__(self, source: Sequence[int]) -> tuple[int, ...]:
        return tuple(
            -1 if one < 0 or other < 0 else one * self.units + other
            for one in source
            for other in source
        )


def test_entries_that_belong_to_several_units_are_found_too() -> None:
    axis = Axis("0.weight", 1, Role.READS, Fill.ZERO, Pairs(5))
    assert units_along(axis, 5) is None
    assert entries_of(axis, 5, range(5)) == one_by_one(axis, 5)


def behind_another(source: Sequence[int]) -> tuple[int, ...]:
    """An axis whose first entry is no unit of the group."""
    return (0, *(-1 if one < 0 else one + 1 for one in source))


@pytest.mark.parametrize("units", [1, 2, 5])
def test_entries_of_no_unit_belong_to_none(units: int) -> None:
    axis = Axis("0.weight", 1, Role.READS, Fill.ZERO, behind_another)
    unit = units_along(axis, units)
    assert unit is not None
    assert unit.tolist() == [-1, *range(units)]
    assert entries_of(axis, units, range(units)) == [[one + 1] for one in range(units)]
