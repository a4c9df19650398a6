"""Fully connected sparse networks, and how they are made from widths and a density."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from itertools import pairwise, zip_longest
from math import prod
from numbers import Integral, Real
from typing import Any, Final, Literal, Self, get_args

import torch
from torch import Tensor, nn

from structure_net.core.activations import activation_gain, make_activation
from structure_net.core.allocation import Allocation, connection_counts
from structure_net.core.chaining import KnownChains, through
from structure_net.core.changes import assign
from structure_net.core.drawing import random_pattern
from structure_net.core.keeping import all_or_nothing
from structure_net.core.layers import StandardSparseLayer, traced_by_fx
from structure_net.core.sparsity import SparseLayer, SparsePattern
from structure_net.core.statistics import NetworkStats, network_stats
from structure_net.core.storage import StoredLayer
from structure_net.core.watching import ExtremaAwareSparseLayer

LayerKind = Literal["standard", "extrema_aware"]

_RECIPE: Final = ("architecture", "density", "activation", "allocation", "seed", "layer")


class StandardNetwork(nn.Module):
    """Sparse linear layers with an activation between each two; inputs are flattened.

    Layers are called ``layers.0``, ``layers.1``, ..., and the activation behind ``layers.i`` is
    ``activations.i``; edits may put other modules in their places, and the names stay.

    The arguments are those of `create_standard_network`, which describes them; ``sparsity``, its
    second word for ``density``, is not among them.

    Shape:
        ``(N, *)`` with ``architecture[0]`` entries per sample, to ``(N, architecture[-1])``.

    Raises:
        ValueError: An argument is out of range or unknown.
    """

    def __init__(
        self,
        architecture: Sequence[int],
        *,
        density: float = 1.0,
        activation: str = "relu",
        allocation: Allocation = "erdos_renyi_kernel",
        seed: int | None = None,
        layer: LayerKind = "standard",
    ) -> None:
        super().__init__()
        widths = _checked_widths(architecture)
        seed = _checked_seed(seed)
        shapes = [(n, m) for m, n in pairwise(widths)]
        counts = connection_counts(shapes, density, allocation)
        generator = torch.Generator().manual_seed(seed)
        patterns = [random_pattern(s, n, generator) for s, n in zip(shapes, counts, strict=True)]
        self.layers = nn.ModuleList(
            _layer(layer, pattern, activation, generator) for pattern in patterns
        )
        self.activations = nn.ModuleList(make_activation(activation) for _ in shapes[1:])
        _draw(self.layers, activation, generator)
        _agree(self.layers)
        self._known_chains = KnownChains()
        self._recipe: dict[str, Any] = {
            "architecture": widths,
            "density": density,
            "activation": activation,
            "allocation": allocation,
            "seed": seed,
            "layer": layer,
        }

    @classmethod
    def from_recipe(cls, recipe: Mapping[str, Any]) -> Self:
        """The network as it was born, from `recipe`.

        Raises:
            ValueError: An entry is missing or unknown.
        """
        if set(recipe) != set(_RECIPE):
            raise ValueError(
                f"A recipe must have the entries {', '.join(_RECIPE)}; "
                f"got {', '.join(sorted(recipe))}."
            )
        arguments = dict(recipe)
        return cls(arguments.pop("architecture"), **arguments)

    @property
    def recipe(self) -> dict[str, Any]:
        """The arguments it was made from, as JSON can hold them; edits do not change them."""
        return {**self._recipe, "architecture": list(self._recipe["architecture"])}

    @property
    def architecture(self) -> list[int]:
        """The current widths: inputs, then the outputs of each layer in order.

        Layers that edits put behind a layer are listed where they continue the chain; projections
        around others are not.
        """
        chain: list[int] = []
        for inputs, outputs in (widths for stage in self.layers for widths in _widths(stage)):
            if not chain:
                chain.append(inputs)
            if chain[-1] == inputs:
                chain.append(outputs)
        return chain

    def forward(self, inputs: Tensor) -> Tensor:
        """Maps ``(N, *)`` to ``(N, outputs)``.

        Raises:
            ValueError: The inputs have no axis of samples, or another number of entries a sample.
        """
        if not traced_by_fx(inputs) and inputs.dim() != 2:
            self._check_flat(inputs)
        stages = zip_longest(self.layers, self.activations)
        return through(stages, inputs.flatten(1), self._known_chains)

    def _check_flat(self, inputs: Tensor) -> None:
        """Refuses what flattening makes another shape of than the first layer takes."""
        if inputs.dim() < 2:
            raise ValueError(
                f"inputs must have the shape (N, *); got {tuple(inputs.shape)}. One sample is "
                "inputs[None]."
            )
        shape, flat = tuple(inputs.shape), prod(inputs.shape[1:])
        for width, _ in _widths(self.layers[0])[:1]:
            if flat != width:
                way = " Samples on several axes are inputs.flatten(0, -2)."
                raise ValueError(
                    f"inputs must have the shape (N, *) with {width} entries a sample; got "
                    f"{shape}, flattened to {(shape[0], flat)}."
                    f"{way if shape[-1] == width else ''}"
                )

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> Any:
        """As every module's; where it raises, the network is as it was, bit for bit.

        A hook that runs in front of it may lead the network to another architecture first: then
        that stays, and each layer is loaded whole or not at all.
        """
        led = bool(self._load_state_dict_pre_hooks)
        with nullcontext() if led else all_or_nothing(self, state_dict, assign=assign):
            return super().load_state_dict(state_dict, strict=strict, assign=assign)

    def get_network_stats(self) -> NetworkStats:
        """Connections, parameters, density and a table of the layers, as they are now."""
        return network_stats(self)

    def extra_repr(self) -> str:
        """The current widths and density, as `print` shows them."""
        return (
            f"architecture={self.architecture}, density={self.get_network_stats()['density']:.4g}"
        )


def create_standard_network(  # noqa: PLR0913 - the network's arguments, and a second word for one of them
    architecture: Sequence[int],
    density: float | None = None,
    *,
    sparsity: float | None = None,
    activation: str = "relu",
    allocation: Allocation = "erdos_renyi_kernel",
    seed: int | None = None,
    layer: LayerKind = "standard",
) -> StandardNetwork:
    """Makes a sparse, fully connected network.

    Args:
        architecture: The number of inputs, the width of each hidden layer, the number of outputs.
        density: The fraction of all connections that exist at birth, in (0, 1]; 1 if neither word
            is given.
        sparsity: Another word for ``density``, up to 0.5: here, too, it is the fraction that
            EXISTS.
        activation: The activation's name: relu, gelu, tanh, silu, elu, leaky_relu, sigmoid or
            identity.
        allocation: How connections are shared among layers: uniform, erdos_renyi or
            erdos_renyi_kernel.
        seed: What patterns and weights are drawn from; taken from torch's default generator if
            None.
        layer: The kind of layer: standard, or extrema_aware (keeps running extrema of its
            activations).

    Returns:
        The network. No unit is without a connection, in either direction, where the number of
        connections allows it (`connection_counts`).

    Raises:
        ValueError: An argument is out of range or unknown, both words are given, or ``sparsity`` is
            above 0.5.

    Example:
        >>> network = create_standard_network([784, 300, 100, 10], density=0.02, seed=0)
        >>> network.get_network_stats()["total_connections"]
        5324
    """
    return StandardNetwork(
        architecture,
        density=_density(density, sparsity),
        activation=activation,
        allocation=allocation,
        seed=seed,
        layer=layer,
    )


def _density(density: float | None, sparsity: float | None) -> float:
    for name, value in (("density", density), ("sparsity", sparsity)):
        _check_number(name, value)
    if sparsity is None:
        return 1.0 if density is None else density
    if density is not None:
        raise ValueError(
            f"density and sparsity are two words for one number; got density={density} and "
            f"sparsity={sparsity}. Give density alone."
        )
    if sparsity > 0.5:
        raise ValueError(
            "sparsity is the fraction of connections that EXIST here, and must be in (0, 0.5]; "
            f"got {sparsity}. If {sparsity} is meant to be absent, as the field uses the word, "
            f"write density={1 - sparsity:.4g}; if it is meant to exist, write density={sparsity}."
        )
    if sparsity <= 0:
        raise ValueError(f"sparsity must be in (0, 0.5]; got {sparsity}.")
    return sparsity


def _checked_widths(architecture: Sequence[int]) -> list[int]:
    if not isinstance(architecture, Iterable):
        raise TypeError(
            "architecture must list the widths, such as [64, 32, 10], inputs first; "
            f"got {architecture!r}."
        )
    widths = list(architecture)
    if len(widths) < 2 or not all(_is_whole(width) for width in widths) or min(widths) < 1:
        raise ValueError(
            "architecture must list at least two positive whole numbers, inputs first; "
            f"got {widths}."
        )
    return [int(width) for width in widths]


def _checked_seed(seed: int | None) -> int:
    if seed is None:
        return int(torch.randint(2**31, ()))
    if not _is_whole(seed) or not 0 <= seed < 2**63:
        raise ValueError(f"seed must be None or a whole number in [0, 2**63); got {seed!r}.")
    return int(seed)


def _check_number(name: str, value: object) -> None:
    if value is not None and not isinstance(value, Real):
        raise TypeError(f"{name} must be a number; got {value!r}.")


def _is_whole(value: object) -> bool:
    """Whether ``value`` is an integer of any kind, numpy's included."""
    return isinstance(value, Integral) and not isinstance(value, bool)


def _layer(
    kind: LayerKind, pattern: SparsePattern, activation: str, generator: torch.Generator
) -> SparseLayer:
    outputs, inputs = pattern.shape
    if kind == "standard":
        return StandardSparseLayer(inputs, outputs, pattern=pattern, generator=generator)
    if kind == "extrema_aware":
        return ExtremaAwareSparseLayer(
            inputs, outputs, activation=activation, pattern=pattern, generator=generator
        )
    raise ValueError(f"layer must be one of {', '.join(get_args(LayerKind))}; got {kind!r}.")


def _agree(layers: Iterable[nn.Module]) -> None:
    """Stores full layers densely behind dense ones: their list pays only in a chain of lists."""
    for before, layer in pairwise(layers):
        if (
            isinstance(before, StoredLayer)
            and isinstance(layer, StoredLayer)
            and (before.storage, layer.storage, layer.density) == ("masked", "live", 1)
        ):
            assign(layer, layer.stored("masked"))


def _draw(layers: nn.ModuleList, activation: str, generator: torch.Generator) -> None:
    """Draws all weights for the activation behind each layer; nothing stands behind the last."""
    hidden, last = activation_gain(activation), len(layers) - 1
    for position, layer in enumerate(layers):
        gain = activation_gain("identity") if position == last else hidden
        if isinstance(layer, (StandardSparseLayer, ExtremaAwareSparseLayer)):
            layer.reset_parameters(generator, gain=gain)


def _widths(stage: nn.Module) -> list[tuple[int, int]]:
    """Inputs and outputs of each layer within one stage, in the order of its modules."""
    if isinstance(stage, SparseLayer):
        return [(stage.in_channels, stage.out_channels)]
    if isinstance(stage, nn.Linear):
        return [(stage.in_features, stage.out_features)]
    return [width for child in stage.children() for width in _widths(child)]
