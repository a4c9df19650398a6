"""Observations, field by field."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from structure_net.evolution import Observation, observe


def compare(found: Any, expected: Any, *, near: float = 0.0) -> None:
    """Whether all that two observations hold is the same, in order.

    Args:
        found: An observation, or a part of one.
        expected: The like.
        near: How far numbers may lie apart, and a hundred times as far in relation to their size;
            0 for the same bits.
    """
    if isinstance(expected, Tensor):
        assert found.dtype == expected.dtype
        if near:
            torch.testing.assert_close(found, expected, rtol=100 * near, atol=near)
        else:
            assert torch.equal(found, expected)
    elif isinstance(expected, Mapping):
        assert list(found) == list(expected)
        for key, value in expected.items():
            compare(found[key], value, near=near)
    elif hasattr(expected, "__dataclass_fields__"):
        for name in expected.__dataclass_fields__:
            compare(getattr(found, name), getattr(expected, name), near=near)
    else:
        assert found == expected


def watched(network: nn.Module, data: Any, **options: Any) -> Observation:
    """A look at a network with hooks, because somebody else has one."""
    last = list(network.modules())[-1]
    hook = last.register_forward_hook(lambda *_: None)
    try:
        return observe(network, data, **options)
    finally:
        hook.remove()
