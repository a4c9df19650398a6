"""Weights that are computed from parameters before a layer applies them."""

from __future__ import annotations

from structure_net.graph.channels import Role, WeightNormSite
from structure_net.graph.ledger import Axes
from structure_net.graph.rules.call import Call
from structure_net.graph.rules.registry import rule, unknown


@rule("_weight_norm")
def weight_norm(call: Call) -> Axes | list[Axes]:
    """``g v / |v|`` with the norm over all axes of ``v`` but one.

    Along that axis the gain ``g`` decides what the weight holds, along the others ``v`` does: zeros
    stay zeros there, and what is appended as zeros leaves the norm alone.
    """
    v, g, dim = call.tensor("v"), call.tensor("g"), call["dim"]
    if v.name is None or g.name is None:
        return unknown(call)
    site = WeightNormSite(g.name, v.name, None if dim == -1 else dim)
    if site not in call.ledger.weight_norms:
        call.ledger.weight_norms.append(site)
    if site.dim is None:
        return v.axes
    call.unify(v.expr(dim), g.expr(dim))
    call.use(v.axes[dim], Role.TABLE)
    return tuple(g.axes[i] if i == dim else axis for i, axis in enumerate(v.axes))
