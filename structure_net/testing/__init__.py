"""Batteries that check a part of one's own against what the framework promises."""

from structure_net.testing.sparse_layers import check_sparse_layer

__all__ = ["check_sparse_layer"]
