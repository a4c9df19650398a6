"""Checks of arguments, with one wording for all floors."""

from __future__ import annotations

import math
from numbers import Integral, Real
from typing import Final

from torch import nn
from torch.optim import Optimizer

_LONGEST: Final = 80


def check_whole(least: int | None, **values: object) -> None:
    """Refuses what is no whole number of at least ``least``.

    Args:
        least: The smallest that is let through; None where any is.
        **values: By the name of the argument.

    Raises:
        TypeError: One is no whole number; True and False are none.
        ValueError: One is too small.
    """
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, Integral):
            raise TypeError(f"{name} must be a whole number; got {value!r}.")
        if least is not None and int(value) < least:
            raise ValueError(f"{name} must be {least} or more; got {value}.")


def check_number(least: float | None = None, **values: object) -> None:
    """Refuses what is no number, and what is below ``least``.

    Raises:
        TypeError: One is no number; True and False are none.
        ValueError: One is too small, or not a number in the sense of IEEE 754.
    """
    for name, value in values.items():
        number = _number(name, value)
        if least is not None and not number >= least:
            raise ValueError(f"{name} must be {least} or more; got {value}.")
        if math.isnan(number):
            raise ValueError(f"{name} must be a number; got {value}.")


def check_positive(**values: object) -> None:
    """Refuses what is no number above 0.

    Raises:
        TypeError: One is no number; True and False are none.
        ValueError: One is not positive.
    """
    for name, value in values.items():
        if not _number(name, value) > 0:
            raise ValueError(f"{name} must be positive; got {value}.")


def check_module(model: object) -> None:
    """Refuses what is no module.

    Raises:
        TypeError: It is none.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a torch.nn.Module; got {shown(model)}. Pass an instance.")


def check_optimizer(optimizer: object, model: nn.Module | None = None) -> None:
    """Refuses what is no optimizer, and one that holds no parameter of ``model``; None is let by.

    Raises:
        TypeError: It is no optimizer.
        ValueError: It is the optimizer of another model.
    """
    if optimizer is None:
        return
    if not isinstance(optimizer, Optimizer):
        raise TypeError(
            "optimizer must be a torch.optim.Optimizer, such as"
            f" torch.optim.Adam(model.parameters()); got {shown(optimizer)}."
        )
    if model is None:
        return
    own = {id(parameter) for parameter in model.parameters()}
    if own.isdisjoint(id(p) for group in optimizer.param_groups for p in group["params"]):
        raise ValueError(
            f"{type(optimizer).__name__} holds none of the parameters of this"
            f" {type(model).__name__}. Make it of model.parameters()."
        )


def shown(value: object) -> str:
    """A value as an error shows it: a class by its name, anything else by at most 80 characters."""
    if isinstance(value, type):
        return f"the class {value.__name__}"
    text = repr(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def _number(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{name} must be a number; got {value!r}.")
    return float(value)
