"""Activations by name: as modules, and the gain that keeps a signal's variance through them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from torch import nn

ACTIVATIONS: Final[Mapping[str, Callable[[], nn.Module]]] = MappingProxyType(
    {
        "relu": nn.ReLU,
        "gelu": nn.GELU,
        "tanh": nn.Tanh,
        "silu": nn.SiLU,
        "elu": nn.ELU,
        "leaky_relu": nn.LeakyReLU,
        "sigmoid": nn.Sigmoid,
        "identity": nn.Identity,
    }
)

_GAINS: Final[Mapping[str, float]] = MappingProxyType(
    {
        "relu": math.sqrt(2),
        "gelu": math.sqrt(2),
        "tanh": 5 / 3,
        "silu": math.sqrt(2),
        "elu": math.sqrt(2),
        "leaky_relu": math.sqrt(2 / (1 + 0.01**2)),
        "sigmoid": 1.0,
        "identity": 1.0,
    }
)


def make_activation(name: str) -> nn.Module:
    """A module of the activation ``name``.

    Raises:
        ValueError: The name is unknown.
    """
    check_activation(name)
    return ACTIVATIONS[name]()


def activation_gain(name: str) -> float:
    """The factor on a weight's standard deviation ``1 / sqrt(fan_in)`` in front of the activation
    ``name``.

    `torch.nn.init.calculate_gain`'s values; GELU, SiLU and ELU, which it does not know, take
    ReLU's.

    Raises:
        ValueError: The name is unknown.
    """
    check_activation(name)
    return _GAINS[name]


def check_activation(name: str) -> None:
    """Refuses a name that none of `ACTIVATIONS` has.

    Raises:
        ValueError: The name is unknown.
    """
    if name not in ACTIVATIONS:
        raise ValueError(f"activation must be one of {', '.join(ACTIVATIONS)}; got {name!r}.")
