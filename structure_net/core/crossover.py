"""Which storage of a sparse layer pays: a list of live weights, or a dense matrix beside a mask."""

from __future__ import annotations

import os
from typing import Final, Literal

Storage = Literal["live", "masked"]

_SMALL: Final = 4096
_DENSITY: Final = 0.25
_set: list[str | float | None] = [None]


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
        current: The storage that it has; None for a new layer.
    """
    wanted = _set[0] if _set[0] is not None else os.environ.get("STRUCTURE_NET_STORAGE", "auto")
    if wanted == "live":
        return "live"
    if wanted == "masked":
        return "masked"
    size = shape[0] * shape[1]
    if kernel or size < _SMALL:
        return "masked"
    bound = _DENSITY if wanted == "auto" else float(wanted)
    bound *= 1.2 if current == "live" else 1.0
    return "live" if connections <= bound * size else "masked"


def set_crossover(value: Literal["live", "masked", "auto"] | float | None) -> None:
    """Sets what `storage_for` answers by: always one of the two, or the density of the crossover.

    Args:
        value: None for what the environment variable ``STRUCTURE_NET_STORAGE`` says.
    """
    _set[0] = value
