"""Integers of configurations that modules hold, and sizes of what the program does not compute."""

from __future__ import annotations

import copy
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from structure_net.errors import SurgeryError
from structure_net.graph import trace
from structure_net.graph.tags import held_in, integers
from structure_net.graph.terms import Attribute
from structure_net.surgery import AddNeurons, apply

EXAMPLE = torch.randn(2, 4, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


class Configured(nn.Module):
    """Flattens by sizes of a configuration, which a submodule holds as well."""

    def __init__(self, config: Any, sizes: Any) -> None:
        super().__init__()
        self.config = config
        self.sizes = sizes
        self.hidden = nn.Linear(3, 8)
        self.hidden.config = config
        self.head = nn.Linear(32, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.hidden(x).relu().reshape(-1, 4 * self.sizes(self.config)))


CONFIGURATIONS = {
    "object": (SimpleNamespace(width=8, classes=8), lambda c: c.width),
    "list": (SimpleNamespace(widths=[3, 8], classes=8), lambda c: c.widths[-1]),
    "dictionary": ({"width": 8, "classes": 8}, lambda c: c["width"]),
}


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_an_integer_of_a_configuration_follows(name: str) -> None:
    config, sizes = CONFIGURATIONS[name]
    model = Configured(copy.deepcopy(config), sizes).double()
    before = model(EXAMPLE).detach()
    applied = apply(model, AddNeurons("hidden", 3), EXAMPLE)
    assert torch.allclose(model(EXAMPLE), before, atol=1e-10, rtol=0.0)
    assert sizes(model.config) == 11
    assert model.hidden.config is model.config
    kept = model.config if isinstance(model.config, dict) else vars(model.config)
    assert kept["classes"] == 8
    assert type(sizes(model.config)) is int
    applied.undo()
    assert model.config == config


def test_a_configuration_is_named_once_under_its_first_module() -> None:
    config, sizes = CONFIGURATIONS["object"]
    model = Configured(config, sizes)
    found = [a for a in integers(model) if a.name.endswith("width")]
    assert found == [Attribute("", "config.width")]
    held, key = held_in(model, "config.width")
    assert held[key] == 8


def test_a_size_that_becomes_a_factor_is_seen_where_only_it_is_used() -> None:
    class Counted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.hidden = nn.Linear(3, 8)
            self.head = nn.Linear(8, 2)

        def forward(self, x: Tensor) -> Tensor:
            hidden = self.hidden(x)
            return self.head(hidden * (32 / hidden[0].numel()))

    model = Counted().double()
    assert "takes" in trace(model, EXAMPLE).frozen["hidden"]
    with pytest.raises(SurgeryError, match="as a number"):
        apply(model, AddNeurons("hidden", 1), EXAMPLE)


def test_a_trace_leaves_nothing_in_the_caches_of_a_model() -> None:
    class Caching(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.hidden = nn.Linear(3, 8)
            self.head = nn.Linear(8, 2)
            self.seen: dict[str, Tensor] = {}
            self.order: list[Tensor] = []

        def forward(self, x: Tensor) -> Tensor:
            hidden = self.hidden(x)
            if "last" not in self.seen:
                self.seen["last"] = hidden
                self.order.append(hidden)
            return self.head(self.seen["last"])

    model = Caching().double()
    trace(model, EXAMPLE)
    assert (model.seen, model.order) == ({}, [])
