"""Batteries that check a part of one's own against what the framework promises."""

from structure_net.testing.components import (
    check_analyzer,
    check_component,
    check_strategy,
    check_trainer,
    example_context,
)
from structure_net.testing.sparse_layers import check_sparse_layer

__all__ = [
    "check_analyzer",
    "check_component",
    "check_sparse_layer",
    "check_strategy",
    "check_trainer",
    "example_context",
]
