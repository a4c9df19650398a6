"""What each ATen operation does with the axes of its operands."""

from structure_net.graph.rules import (
    attention,
    cells,
    convolution,
    distance,
    elementwise,
    embedding,
    linear,
    normalisation,
    picking,
    recurrent,
    reduction,
    scatter,
    shape,
    spectral,
    summation,
    weights,
    windows,
)
from structure_net.graph.rules.call import Call, Operand
from structure_net.graph.rules.registry import RULES, rule, unknown

__all__ = [
    "RULES",
    "Call",
    "Operand",
    "attention",
    "cells",
    "convolution",
    "distance",
    "elementwise",
    "embedding",
    "linear",
    "normalisation",
    "picking",
    "recurrent",
    "reduction",
    "rule",
    "scatter",
    "shape",
    "spectral",
    "summation",
    "unknown",
    "weights",
    "windows",
]
