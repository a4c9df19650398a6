"""Weights that are computed from parameters before a layer applies them."""

from __future__ import annotations

from structure_net.graph.channels import Role, SpectralNormSite, WeightNormSite
from structure_net.graph.ledger import Axes
from structure_net.graph.rules.call import Call
from structure_net.graph.rules.registry import rule, unknown
from structure_net.graph.sizes import Prod


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


@rule("spectral_norm")
def spectral_norm(call: Call) -> Axes | list[Axes]:
    """``W / (u W v)`` with the vectors of a power iteration: a multiple of ``W``.

    Along ``dim`` it has the entries of ``u``, along the others, all in one, those of ``v``.
    """
    weight, u, v = call.tensor("weight"), call.tensor("u"), call.tensor("v")
    if weight.name is None or u.name is None or v.name is None:
        return unknown(call)
    dim = call["dim"] % weight.dims
    rest = (axis.expr for i, axis in enumerate(weight.axes) if i != dim)
    call.unify(u.expr(0), weight.expr(dim))
    call.unify(v.expr(0), Prod(tuple(rest)))
    for vector in (u, v):
        call.use_all(vector, Role.TABLE)
    site = SpectralNormSite(weight.name, u.name, v.name, dim)
    if site not in call.ledger.spectral_norms:
        call.ledger.spectral_norms.append(site)
    return weight.axes


@rule("orthogonal")
def orthogonal(call: Call) -> Axes:
    """A weight that stays orthogonal, which neither zeros nor copies are."""
    weight = call.tensor("weight")
    why = "which neither zeros nor copies keep"
    for dim in weight.axes:
        call.freeze(dim.expr, why)
    return tuple(call.fixed(size, why) for size in call.shape)
