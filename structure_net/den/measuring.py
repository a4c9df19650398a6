"""What the strategies read off a network: gradients, activity and importance of its hidden layers.

Layers go by the names of `DynamicExpandableNetwork.hidden`, so that a record stays good when others
are inserted.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor, nn

from structure_net.den.core import DynamicExpandableNetwork
from structure_net.evolution.metrics.activity import outgoing_importance, relative, weight_activity
from structure_net.evolution.metrics.validity import Unavailable
from structure_net.graph.channels import Role
from structure_net.surgery.grafts import current_name, resolved

_NOTHING: Final = 0.0


def linear_maps(network: DynamicExpandableNetwork) -> dict[str, nn.Linear]:
    """The linear map of each hidden layer, by name, in the order in which they run."""
    found: dict[str, nn.Linear] = {}
    for layer in network.hidden:
        module = network.get_submodule(resolved(network, layer.name))
        assert isinstance(module, nn.Linear)
        found[layer.name] = module
    return found


def gradient_norms(network: DynamicExpandableNetwork) -> dict[str, float]:
    r""":math:`g_i = \lVert \nabla_{W_i} L \rVert_2` of the gradients that the parameters hold now.

    Returns:
        By layer; layers without a gradient are left out.
    """
    held = {name: m.weight.grad for name, m in linear_maps(network).items()}
    known = {name: g for name, g in held.items() if g is not None}
    if not known:
        return {}
    norms = torch.stack([g.detach().norm() for g in known.values()]).tolist()
    return dict(zip(known, norms, strict=True))


def layer_activities(network: DynamicExpandableNetwork) -> dict[str, float]:
    r"""The activity :math:`\hat a_i` of each hidden layer, relative to the most active one's.

    The activity of a unit is :math:`\sum_j |w_{ij}| + |b_i|`, that of a layer the mean over its
    units, :math:`\hat a_i = A_i / \max A`, so that one layer always has 1.

    Returns:
        By layer, in [0, 1]; all 0 where all weights are.
    """
    means = {n: float(_unit_activities(m).mean()) for n, m in linear_maps(network).items()}
    found = relative(torch.tensor(list(means.values()), dtype=torch.float64))
    shares = [_NOTHING] * len(means) if isinstance(found, Unavailable) else found.tolist()
    return dict(zip(means, shares, strict=True))


def _unit_activities(layer: nn.Linear) -> Tensor:
    return weight_activity(layer.weight, layer.bias)


def unit_importances(network: DynamicExpandableNetwork) -> dict[str, Tensor]:
    r""":math:`I_j = \lVert w_{\cdot j} \rVert_2 + |b_j|` of the units of each hidden layer.

    :math:`w_{\cdot j}` are all weights that read the unit.

    Returns:
        By layer; shape ``(units,)``, float64, not normalised.
    """
    from structure_net.graph import graph_of

    graph = graph_of(network, network.example)
    found: dict[str, Tensor] = {}
    for name, layer in linear_maps(network).items():
        axes = graph.group(current_name(network, name)).axes
        readers = [
            network.get_parameter(axis.tensor).movedim(axis.dim, 1)
            for axis in axes
            if axis.role is Role.READS
        ]
        found[name] = outgoing_importance(torch.cat(readers), layer.bias)
    return found
