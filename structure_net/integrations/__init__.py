"""Growth in the loops of other packages; see the modules `lightning`, `transformers`, `skorch`.

Each of these needs its package, which the extra ``integrations`` brings. What stands here needs
none: a model whose state dict carries its lineage.
"""

from structure_net.integrations.batches import LoopBatches
from structure_net.integrations.growth import Growth
from structure_net.integrations.lineage import Lineage, carry_lineage, lineage_of

__all__ = ["Growth", "Lineage", "LoopBatches", "carry_lineage", "lineage_of"]
