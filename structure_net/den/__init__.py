"""Networks that are widened and deepened by number, the DEN library's way, on the same engine."""

from structure_net.den.core import DynamicExpandableNetwork
from structure_net.den.layers import ExpandableLinear

__all__ = ["DynamicExpandableNetwork", "ExpandableLinear"]
