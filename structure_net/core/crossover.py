"""Which storage of a sparse layer pays: a list of live weights, or a dense matrix beside a mask.

The answer compares what a training step costs in each, by figures that are measured once per
machine (`crossover_costs`). It can be set instead, by `set_crossover` or by the environment
variable ``STRUCTURE_NET_STORAGE``: ``live``, ``masked``, ``auto`` or a density. Results do not
depend on it beyond rounding.
"""

from __future__ import annotations

import os
from typing import Final, Literal

from structure_net.core.crossover_costs import costs_here

Storage = Literal["live", "masked"]
Crossover = Literal["live", "masked", "auto"] | float

VARIABLE: Final = "STRUCTURE_NET_STORAGE"
SMALL: Final = 1024
"""Layers with fewer places are stored densely: nothing is to be gained there."""

_NAMES: Final[tuple[Literal["live", "masked", "auto"], ...]] = ("live", "masked", "auto")
_KERNELS: Final = 0.25
"""Of convolutions: what pays depends on their images, which are not known where they are made. At
this density live weights paid for images of all sizes that were measured."""
_CHANNELS: Final = 8
"""Convolutions with fewer channels are stored densely."""
_THIN: Final = 32
"""Layers between more units than this on both sides are stored densely where they are full."""
_STEP: Final = 1.2
"""A layer that is stored live remains so up to this multiple of a density."""
# A new layer is stored live where that saves a tenth of the step: less is within what the figures
# can tell. A layer stays as it is until the other storage saves something.
_PART: Final[dict[Storage | None, float]] = {None: 0.9, "masked": 0.85, "live": 1.0}

_chosen: list[Crossover | None] = [None]


def storage_for(
    shape: tuple[int, int],
    connections: int,
    *,
    kernel: tuple[int, ...] = (),
    current: Storage | None = None,
) -> Storage:
    """The storage that pays for a layer.

    Args:
        shape: The numbers of outputs and of inputs.
        connections: How many connections it has.
        kernel: The kernel's shape of a convolution.
        current: The storage that it has; None for a new layer. It changes only where that clearly
            pays, so that a layer at the crossover does not go back and forth.

    Raises:
        ValueError: ``STRUCTURE_NET_STORAGE`` holds something else than is known.
    """
    rule = get_crossover()
    if rule == "live" or rule == "masked":  # noqa: PLR1714 - narrows the type
        return rule
    size = shape[0] * shape[1]
    if min(shape) < _CHANNELS if kernel else size < SMALL:
        return "masked"
    if kernel or rule != "auto":
        bound = _KERNELS if rule == "auto" else rule
        highest = bound * size * (_STEP if current == "live" else 1.0)
        return "live" if connections <= highest else "masked"
    if connections == size and min(shape) > _THIN:
        return "masked"
    costs = costs_here()
    pays = costs.live(shape, connections) < _PART[current] * costs.masked(shape)
    return "live" if pays else "masked"


def set_crossover(value: Crossover | None) -> None:
    """Sets what `storage_for` answers by; layers that there are stay until their next edit.

    Args:
        value: ``"live"`` or ``"masked"``: always this one. ``"auto"``: what costs less on this
            machine. A number: the density up to which connections are stored as a list, in [0, 1].
            None: what the environment variable ``STRUCTURE_NET_STORAGE`` says, ``auto`` without
            it.

    Raises:
        ValueError: It is none of these.
    """
    _chosen[0] = None if value is None else _checked(value, "The crossover")


def get_crossover() -> Crossover:
    """What `storage_for` answers by.

    Raises:
        ValueError: ``STRUCTURE_NET_STORAGE`` holds something else than is known.
    """
    return _environment() if _chosen[0] is None else _chosen[0]


def _environment() -> Crossover:
    return _checked(os.environ.get(VARIABLE) or "auto", VARIABLE)


def _checked(value: object, what: str) -> Crossover:
    for name in _NAMES:
        if value == name:
            return name
    try:
        # True and False are numbers to Python, and no densities.
        density = -1.0 if isinstance(value, bool) else float(value)  # type: ignore[arg-type]  # what cannot be a number raises
    except (TypeError, ValueError):
        density = -1.0
    if not 0 <= density <= 1:
        raise ValueError(
            f"{what} must be live, masked, auto or a density in [0, 1]; got {value!r}."
        )
    return density
