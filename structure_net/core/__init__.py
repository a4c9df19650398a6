"""Sparse layers, the networks made of them, their initialisation and their health."""

from structure_net.core.activations import ACTIVATIONS, activation_gain, make_activation
from structure_net.core.allocation import (
    Allocation,
    connection_counts,
    erdos_renyi,
    erdos_renyi_kernel,
    layer_densities,
    uniform,
)
from structure_net.core.averaging import AveragedNetwork
from structure_net.core.changes import TensorChange, assign
from structure_net.core.drawing import random_lines, random_pattern
from structure_net.core.flops import Flops, count_flops
from structure_net.core.latency import (
    measure_latency,
)
from structure_net.core.layers import SparseConv2d, StandardSparseLayer
from structure_net.core.lsuv import LayerScaling, lsuv_
from structure_net.core.network_factory import StandardNetwork, create_standard_network
from structure_net.core.patches import TemporaryPatchLayer
from structure_net.core.sparsification import PlannedLayer, SparsityPlan, plan_sparsity
from structure_net.core.sparsity import SparseLayer, SparsePattern
from structure_net.core.statistics import (
    LayerStats,
    NetworkStats,
    Spread,
    network_stats,
    sparse_layers,
)
from structure_net.core.validation import HealthProblem, NetworkHealth, validate_network
from structure_net.core.watching import ExtremaAwareSparseLayer
from structure_net.core.weights import decay_groups

__all__ = [
    "ACTIVATIONS",
    "Allocation",
    "AveragedNetwork",
    "ExtremaAwareSparseLayer",
    "Flops",
    "HealthProblem",
    "LayerScaling",
    "LayerStats",
    "NetworkHealth",
    "NetworkStats",
    "PlannedLayer",
    "SparseConv2d",
    "SparseLayer",
    "SparsePattern",
    "SparsityPlan",
    "Spread",
    "StandardNetwork",
    "StandardSparseLayer",
    "TemporaryPatchLayer",
    "TensorChange",
    "activation_gain",
    "assign",
    "connection_counts",
    "count_flops",
    "create_standard_network",
    "decay_groups",
    "erdos_renyi",
    "erdos_renyi_kernel",
    "layer_densities",
    "lsuv_",
    "make_activation",
    "measure_latency",
    "network_stats",
    "plan_sparsity",
    "random_lines",
    "random_pattern",
    "sparse_layers",
    "uniform",
    "validate_network",
]
