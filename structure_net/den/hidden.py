"""The hidden layers of a network that grew: in which order they run, and where each one stands.

A layer that was inserted stands deep in the module tree, behind the layer or the activation that
it was put behind. What counts as a hidden layer is a linear map with an activation behind it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

from torch import nn

from structure_net.surgery.edits import ActivationName, AddResidualBlock, Edit, InsertLayer
from structure_net.surgery.grafts import Grafted, InsertedLayer, PartialActivation, ResidualBlock

_NAMES: Final[dict[type[nn.Module], ActivationName]] = {
    nn.ReLU: "relu",
    nn.GELU: "gelu",
    nn.Tanh: "tanh",
    nn.SiLU: "silu",
    nn.ELU: "elu",
    nn.LeakyReLU: "leaky_relu",
    nn.Sigmoid: "sigmoid",
    nn.Identity: "identity",
}
_SETTINGS: Final = ("negative_slope", "alpha", "approximate")


@dataclass(frozen=True, slots=True)
class HiddenLayer:
    """One hidden layer.

    Args:
        name: By which edits know its linear map; it stays good when something grows behind it.
        activation: The name of the activation behind it.
        size: Its units.
    """

    name: str
    activation: str
    size: int


def hidden_layers(layers: Iterator[tuple[str, nn.Module]]) -> tuple[HiddenLayer, ...]:
    """The hidden layers among modules, in the order in which they run.

    Args:
        layers: The modules between the input and the output layer, in order, with their names.
    """
    steps = [step for name, module in layers for step in _steps(name, module)]
    found: list[HiddenLayer] = []
    for place, (kind, name, size) in enumerate(steps):
        if kind == "linear":
            behind = next(step for step in steps[place:] if step[0] == "activation")
            found.append(HiddenLayer(name, behind[1], size))
    return tuple(found)


Step = tuple[Literal["linear", "activation"], str, int]


def _steps(name: str, module: nn.Module) -> Iterator[Step]:
    """Linear maps and activations in the order in which they run, without projections."""
    match module:
        case Grafted():
            yield from _steps(name, module.origin)
            for key, graft in module.grafts.items():
                yield from _steps(f"{name}.grafts.{key}", graft)
        case ResidualBlock():
            yield from _steps(f"{name}.expand", module.expand)
            yield from _steps(f"{name}.activation", module.activation)
        case InsertedLayer():
            yield from _steps(f"{name}.activation", module.activation)
            yield from _steps(f"{name}.linear", module.linear)
        case nn.Linear():
            yield "linear", name, module.out_features
        case _ if isinstance(module, PartialActivation) or not list(module.children()):
            yield "activation", name, 0


def activation_name(activation: nn.Module) -> ActivationName | None:
    """What edits call an activation; None where they know no name for it as it is set."""
    name = _NAMES.get(type(activation))
    if name is None:
        return None
    standard = type(activation)()
    same = all(getattr(activation, key, 0) == getattr(standard, key, 0) for key in _SETTINGS)
    return name if same else None


def insertion(
    layers: tuple[HiddenLayer, ...], position: int, units: int, activation: ActivationName
) -> Edit:
    """The edit that puts a hidden layer at ``position``; the function stays.

    At least as wide as the layer before it, it is inserted behind that; a narrower one, and one
    that comes first, is put beside the signal: ``h + V activation(U h)`` with ``V = 0`` at birth.

    Args:
        layers: Those that there are.
        position: From 0, the first, to their number, the last.
        units: Of the new layer.
        activation: Behind it.
    """
    if position == 0:
        return AddResidualBlock("inputs", units, activation)
    before = layers[position - 1]
    nested = any(layer.name.startswith(f"{before.name}.grafts.") for layer in layers)
    if units < before.size or nested:
        return AddResidualBlock(before.activation, units, activation)
    return InsertLayer(before.name, units, activation)
