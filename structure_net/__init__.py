"""Structure Net: grow, prune and rewire PyTorch networks while they train."""

from structure_net.core.network_factory import StandardNetwork, create_standard_network
from structure_net.errors import StructureNetError

__version__ = "0.1.0"

__all__ = ["StandardNetwork", "StructureNetError", "__version__", "create_standard_network"]
