"""Measures of what networks do: pure functions on tensors."""

from structure_net.core.extrema import dead_units, overactive_units, saturated_units

__all__ = ["dead_units", "overactive_units", "saturated_units"]
