"""What each ATen operation does with the axes of its operands."""

from structure_net.graph.rules import (
    attention,
    cells,
    convolution,
    elementwise,
    embedding,
    linear,
    normalisation,
    recurrent,
    reduction,
    scatter,
    shape,
    spectral,
    summation,
    weights,
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
    "elementwise",
    "embedding",
    "linear",
    "normalisation",
    "recurrent",
    "reduction",
    "rule",
    "scatter",
    "shape",
    "spectral",
    "summation",
    "unknown",
    "weights",
]
