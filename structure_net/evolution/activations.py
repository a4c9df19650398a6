"""The functions that may follow a layer, known by their names: activations, and others."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from torch import Tensor
from torch.nn import functional as F

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

SMOOTH: Final = frozenset(
    ("gelu", "silu", "mish", "elu", "selu", "celu", "softplus", "hardswish", "logsigmoid")
)
"""Those that are flat on one side only and bend on the way there: they rest where ReLU is 0."""


TRANSPARENT: Final = frozenset(
    (
        "dropout",
        "dropout1d",
        "dropout2d",
        "dropout3d",
        "alpha_dropout",
        "feature_dropout",
        "feature_alpha_dropout",
        "batch_norm",
        "layer_norm",
        "group_norm",
        "instance_norm",
        "rms_norm",
        "local_response_norm",
        "add",
        "sub",
        "rsub",
        "mul",
        "div",
        "true_divide",
        "__add__",
        "__radd__",
        "__iadd__",
        "__sub__",
        "__rsub__",
        "__isub__",
        "__mul__",
        "__rmul__",
        "__imul__",
        "__truediv__",
        "__itruediv__",
        "contiguous",
        "clone",
        "to",
        "float",
        "double",
        "half",
        "bfloat16",
        "type",
        "max_pool1d",
        "max_pool2d",
        "max_pool3d",
        "avg_pool1d",
        "avg_pool2d",
        "avg_pool3d",
        "adaptive_avg_pool1d",
        "adaptive_avg_pool2d",
        "adaptive_avg_pool3d",
        "adaptive_max_pool1d",
        "adaptive_max_pool2d",
        "adaptive_max_pool3d",
        "interpolate",
        "pad",
    )
)
"""Functions behind which each unit is still itself: they work unit by unit."""


@dataclass(frozen=True, slots=True)
class Activation:
    """The activation that a layer's units end up behind.

    Args:
        name: The function's name.
        bounds: Where it cuts off, for one that is the identity in between (hardtanh, relu6).
        again: The function with the parameters that it was called with, for one that is smooth.
    """

    name: str
    bounds: tuple[float, float] | None = None
    again: Callable[[Tensor], Tensor] | None = None

    @property
    def is_smooth(self) -> bool:
        """Whether its slope has to be read from what it took: a rectifier without a corner."""
        return self.name in SMOOTH


def activation_of(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Activation:
    """What a call of an activation is, with the bounds that it was called with."""
    if name == "relu6":
        return Activation(name, (0.0, 6.0))
    if name in SMOOTH:
        return Activation(name, again=_again(name, args, kwargs))
    if name != "hardtanh":
        return Activation(name)
    given = dict(zip(("min_val", "max_val"), args[1:3], strict=False)) | kwargs
    return Activation(name, (given.get("min_val", -1.0), given.get("max_val", 1.0)))


def _again(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Callable[[Tensor], Tensor]:
    """The function as it was called, but never in place."""
    rest = tuple(value for value in args[1:] if not isinstance(value, bool))
    named = {key: value for key, value in kwargs.items() if key != "inplace"}
    function: Callable[..., Tensor] = getattr(F, name)
    return lambda values: function(values, *rest, **named)


def writes_in_place(
    func: Callable[..., Any], args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
) -> bool:
    """Whether a call of a function of torch writes into its first argument."""
    raw = getattr(func, "__name__", "")
    if raw.startswith("__i") or (raw.endswith("_") and not raw.endswith("__")):
        return True
    return any(value is True for value in (*args[1:], (kwargs or {}).get("inplace")))


def taken_by(
    func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Tensor | None:
    """What an activation takes, safe from being written into by it."""
    taken = args[0] if args else None
    if not isinstance(taken, Tensor):
        return None
    taken = taken.detach()
    return taken.clone() if writes_in_place(func, args, kwargs) else taken


@lru_cache(maxsize=4096)
def function_name(func: Callable[..., Any]) -> str:
    """The name of a function of torch, the same for its form that writes in place."""
    name = getattr(func, "__name__", "")
    return name if name.startswith("__") else name.rstrip("_")
