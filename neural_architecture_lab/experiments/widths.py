"""Widths of hidden layers, as they are given or as large as other ones on the data at hand.

Two architectures that have as many parameters on one data set differ on another. So an arm may say
its shape, and with which other hidden layers it shares the number of parameters; the widths follow
from the data.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise, product
from typing import Any, Final

from neural_architecture_lab.errors import HypothesisError

TOLERANCE: Final = 0.01
"""The largest share by which numbers of parameters that are called equal may differ."""

_MOST_LAYERS: Final = 12
_WIDEST: Final = 1e6


def widths_of(settings: Mapping[str, Any], inputs: int, outputs: int) -> list[int]:
    """The widths of an arm's hidden layers.

    ``settings["hidden"]`` holds them, or is a mapping: ``shape``, their proportions, and
    ``as_large_as``, the widths of hidden layers with which they share the number of parameters
    (weights, biases, and the projections of ``settings["shortcuts"]``). Of the widths that lie
    next to the exact proportions those are taken whose number comes nearest.

    Args:
        settings: The arm's, over the defaults.
        inputs: How many numbers a sample has.
        outputs: How many the network returns.

    Raises:
        HypothesisError: The mapping is not understood, the arm is sparse, or no widths come within
            a hundredth.
    """
    hidden = settings["hidden"]
    if not isinstance(hidden, Mapping):
        return _listed("hidden", hidden)
    shape, wanted = _checked(hidden, settings)
    shortcuts = settings.get("shortcuts") or ()
    target = parameters_of([inputs, *wanted, outputs])
    exact = _scaled(shape, inputs, outputs, shortcuts, target)
    choices = [sorted({max(1, int(width)), max(1, int(width) + 1)}) for width in exact]
    found = min(
        product(*choices),
        key=lambda widths: abs(parameters_of([inputs, *widths, outputs], shortcuts) - target),
    )
    count = parameters_of([inputs, *found, outputs], shortcuts)
    if abs(count - target) > TOLERANCE * target:
        raise HypothesisError(
            f"No hidden layers of the shape {list(shape)} have as many parameters as {wanted} on"
            f" data with {inputs} inputs and {outputs} outputs, {target}: the nearest,"
            f" {list(found)}, have {count}. They must agree within {TOLERANCE:.0%}; give widths, or"
            " larger layers."
        )
    return list(found)


def parameters_of(widths: Sequence[float], shortcuts: Sequence[Sequence[int]] = ()) -> float:
    """How many parameters a fully connected network has, with projections around its layers.

    Args:
        widths: From the inputs to the outputs.
        shortcuts: Pairs of layers by number, from 0: the source and the target of each projection.
    """
    layers = sum((before + 1) * after for before, after in pairwise(widths))
    return layers + sum(widths[one + 1] * widths[other + 1] for one, other in shortcuts)


def _checked(
    hidden: Mapping[str, Any], settings: Mapping[str, Any]
) -> tuple[Sequence[float], list[int]]:
    if set(hidden) != {"shape", "as_large_as"}:
        raise HypothesisError(
            "hidden must be widths, or a mapping with shape and as_large_as, such as {'shape': [1,"
            f" 1, 1], 'as_large_as': [64]}}; got {dict(hidden)}."
        )
    shape, wanted = hidden["shape"], hidden["as_large_as"]
    if not 1 <= len(shape) <= _MOST_LAYERS or min(shape) <= 0:
        raise HypothesisError(
            f"shape must hold 1 to {_MOST_LAYERS} numbers above 0; got {list(shape)}."
        )
    if settings.get("density", 1.0) != 1.0:
        raise HypothesisError(
            f"density is {settings['density']}: numbers of parameters are equal where all"
            " connections exist; give the widths of a sparse arm."
        )
    return shape, _listed("as_large_as", wanted)


def _listed(name: str, widths: Any) -> list[int]:
    if not isinstance(widths, Sequence) or any(type(width) is not int for width in widths):
        raise HypothesisError(
            f"{name} must list the widths of hidden layers, whole numbers such as [64, 32]; got"
            f" {widths!r}."
        )
    return list(widths)


def _scaled(
    shape: Sequence[float],
    inputs: int,
    outputs: int,
    shortcuts: Sequence[Sequence[int]],
    target: float,
) -> list[float]:
    """The shape, scaled until it has as many parameters as wanted, in real numbers."""
    low, high = 0.0, _WIDEST
    for _ in range(200):
        middle = (low + high) / 2
        widths = [inputs, *(middle * part for part in shape), outputs]
        low, high = (middle, high) if parameters_of(widths, shortcuts) < target else (low, middle)
    return [low * part for part in shape]
