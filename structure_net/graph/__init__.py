"""Which axes of a model move together, read from the model itself."""

from structure_net.graph.caching import adopt, graph_of
from structure_net.graph.channel_graph import ChannelGraph, trace
from structure_net.graph.channels import (
    AttributeSite,
    Axis,
    ChannelGroup,
    Fill,
    Growth,
    NormSite,
    Role,
    SpectralNormSite,
    WeightNormSite,
)

__all__ = [
    "AttributeSite",
    "Axis",
    "ChannelGraph",
    "ChannelGroup",
    "Fill",
    "Growth",
    "NormSite",
    "Role",
    "SpectralNormSite",
    "WeightNormSite",
    "adopt",
    "graph_of",
    "trace",
]
