"""The activations that may follow a layer, known by the names of torch's functions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

ACTIVATIONS: Final = frozenset(
    (
        "relu",
        "relu6",
        "leaky_relu",
        "rrelu",
        "prelu",
        "elu",
        "selu",
        "celu",
        "gelu",
        "silu",
        "mish",
        "softplus",
        "softsign",
        "hardswish",
        "hardtanh",
        "hardsigmoid",
        "tanh",
        "sigmoid",
        "logsigmoid",
        "tanhshrink",
        "softshrink",
        "hardshrink",
        "threshold",
        "clamp_min",
        "expit",
    )
)


@dataclass(frozen=True, slots=True)
class Activation:
    """The activation that a layer's units end up behind.

    Args:
        name: The function's name.
        bounds: Where it cuts off, for one that is the identity in between (hardtanh, relu6).
    """

    name: str
    bounds: tuple[float, float] | None = None


def activation_of(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Activation:
    """What a call of an activation is, with the bounds that it was called with."""
    if name == "relu6":
        return Activation(name, (0.0, 6.0))
    if name != "hardtanh":
        return Activation(name)
    given = dict(zip(("min_val", "max_val"), args[1:3], strict=False)) | kwargs
    return Activation(name, (given.get("min_val", -1.0), given.get("max_val", 1.0)))


def function_name(func: Callable[..., Any]) -> str:
    """The name of a function of torch, the same for its form that writes in place."""
    name = getattr(func, "__name__", "")
    return name if name.startswith("__") else name.rstrip("_")
