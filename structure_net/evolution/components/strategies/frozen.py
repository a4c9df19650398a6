"""Layers that do not train, which strategies leave as they are.

A layer is frozen where its weight does not require a gradient. New connections and units of such a
layer would keep what they are born with, and what goes takes away what was learned elsewhere. So
whoever moves connections, grows or resets passes over it, and so does pruning unless it is told
otherwise. Biases, gains and tables that are added do not count.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from torch import nn

from structure_net.core.sparsity import SparseLayer
from structure_net.core.statistics import outermost_modules, sparse_layers
from structure_net.errors import StructureNetError
from structure_net.graph.channels import Axis, ChannelGroup, Role

_NAMES: Final = 3
_WAY_OUT: Final = "Call requires_grad_(True) on the weights that are to change"


def is_frozen(layer: nn.Module) -> bool:
    """Whether a weight of a layer does not require a gradient; False where it has none.

    Args:
        layer: A sparse layer with its parts, or any other module with the parameters of its own,
            of which matrices are weights that are called so.
    """
    if isinstance(layer, SparseLayer):
        named = layer.named_parameters()
        weights = [one for name, one in named if name.rpartition(".")[2] != "bias"]
    else:
        own = layer.named_parameters(recurse=False)
        weights = [one for name, one in own if one.dim() >= 2 and "weight" in name]
    return not all(weight.requires_grad for weight in weights)


def touches_frozen(network: nn.Module, group: ChannelGroup) -> bool:
    """Whether a weight that writes or reads the units of a group does not require a gradient.

    Args:
        network: Whose group it is.
        group: What would change together.
    """
    return any(_frozen(network, axis) for axis in group.axes)


def _frozen(network: nn.Module, axis: Axis) -> bool:
    if axis.role not in {Role.WRITES, Role.READS}:
        return False
    if axis.leaf:
        return is_frozen(network.get_submodule(axis.tensor))
    found = axis.tensor.rpartition(".")
    tensor = getattr(network.get_submodule(found[0]), found[2])
    if not isinstance(tensor, nn.Parameter) or tensor.requires_grad or tensor.dim() < 2:
        return False
    return axis.role is Role.READS or "weight" in axis.tensor


def frozen_layers(network: nn.Module) -> tuple[str, ...]:
    """The names of all layers of a network that are frozen, sparse or not."""
    return tuple(name for name, layer in outermost_modules(network) if is_frozen(layer))


def told(layers: Sequence[str]) -> str:
    """Some of the names of layers, in words."""
    names = ", ".join(map(repr, layers[:_NAMES]))
    return names + (f" and {len(layers) - _NAMES} more" if len(layers) > _NAMES else "")


def noted(frozen: Sequence[str]) -> str:
    """What a reason says of frozen layers."""
    return f" (frozen layers stay as they are: {told(frozen)})" if frozen else ""


def kept_frozen(frozen: Sequence[str]) -> str:
    """What an error says of frozen layers."""
    if not frozen:
        return ""
    return f" and frozen layers stay as they are ({told(frozen)}; frozen=True prunes them, too)"


def kept(network: nn.Module, frozen: Sequence[str], scored: Sequence[str]) -> str:
    """What an error says of sparse layers that could lose nothing."""
    layers = sparse_layers(network)
    said = kept_frozen(frozen)
    if frozen:
        live = sum(layers[name].connections for name in frozen)
        every = sum(layer.connections for layer in layers.values())
        said += f" with {live} of {every} connections"
    unknown = [name for name in layers if name not in scored and name not in frozen]
    return said + (f" and layers without a score do, too ({told(unknown)})" if unknown else "")


def training_layers(network: nn.Module) -> dict[str, SparseLayer]:
    """The sparse layers of a network that are not frozen, by name."""
    return {name: layer for name, layer in sparse_layers(network).items() if not is_frozen(layer)}


def check_trains(network: nn.Module) -> None:
    """Refuses a network of which nothing trains.

    Raises:
        StructureNetError: It has parameters, and none requires a gradient.
    """
    if any(parameter.requires_grad for parameter in network.parameters()):
        return
    if any(True for _ in network.parameters()):
        raise StructureNetError(
            f"Every parameter of this {type(network).__name__} is frozen (none requires a"
            f" gradient), so that nothing new could learn. {_WAY_OUT}."
        )


def check_layers_train(network: nn.Module, purpose: str, ways: str = "") -> None:
    """Refuses a network whose sparse layers are all frozen.

    Args:
        network: With sparse layers.
        purpose: What they are asked for, behind "to": "move".
        ways: Another way out, as a sentence.

    Raises:
        StructureNetError: None of them trains.
    """
    layers = sparse_layers(network)
    if layers and all(map(is_frozen, layers.values())):
        raise StructureNetError(
            f"Every sparse layer of this {type(network).__name__} is frozen (no weight of"
            f" {told(list(layers))} requires a gradient), so that there is nothing to"
            f" {purpose}. {_WAY_OUT}.{ways}"
        )
