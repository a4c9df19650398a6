"""The plain numbers that a model's code multiplies and divides tensors by.

A factor that the code computes from a size, as in ``x * (1.0 / x.shape[-1])``, changes when the
size does. An edit that promises nothing about the outputs, as the removal of a unit, would change
the remaining units' share in silence.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import isnan
from typing import Any, Final

from torch.overrides import TorchFunctionMode

Factor = tuple[str, float]

_PRODUCTS: Final = frozenset({
    "mul", "mul_", "multiply", "multiply_", "__mul__", "__rmul__", "__imul__",
    "div", "div_", "divide", "divide_", "true_divide", "__div__", "__rdiv__", "__truediv__",
    "__rtruediv__", "__itruediv__", "pow", "pow_", "__pow__", "__rpow__",
})  # fmt: skip


class Factors(TorchFunctionMode):
    """Notes every plain factor that the model's code uses while it runs, in order.

    Attributes:
        seen: The function and the number, one entry per use.
    """

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Factor] = []

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        name = getattr(func, "__name__", "")
        if name in _PRODUCTS:
            self.seen += [(name, float(a)) for a in args if isinstance(a, int | float)]
        return func(*args, **(kwargs or {}))


def changed_factor(before: Sequence[Factor], after: Sequence[Factor]) -> str | None:
    """How two runs differ in their factors; None where they do not."""
    if len(before) != len(after):
        return f"it used {len(before)} plain factors and uses {len(after)}"
    for (name, old), (other, new) in zip(before, after, strict=True):
        if name != other or (old != new and not (isnan(old) and isnan(new))):
            return f"'{name}' by {old:g} became '{other}' by {new:g}"
    return None
