"""How long a forward pass takes, measured."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any, Final

import torch
from torch import nn

from structure_net.core.running import call, evaluate, preserve
from structure_net.core.undoing import Undoing, set_gradients

_AT_ONCE: Final = frozenset({"cpu", "meta"})
"""Where an operation is over when it returns."""


def measure_latency(
    model: nn.Module,
    example: Any,
    *,
    repeats: int = 20,
    clock: Callable[[], float] = time.perf_counter,
) -> float:
    """The median of some forward passes in evaluation mode, after one that does not count.

    Args:
        model: Any module; it is left as it was.
        example: Inputs: a tensor, a tuple of arguments, or a mapping of named ones.
        repeats: How many passes.
        clock: What tells the time.

    Returns:
        In the clock's unit, seconds by default.

    Raises:
        ValueError: ``repeats`` is less than 1.
    """
    if repeats < 1:
        raise ValueError(f"repeats must be 1 or more; got {repeats}.")
    devices = {parameter.device for parameter in model.parameters()}
    devices = {device for device in devices if device.type not in _AT_ONCE}
    found = []
    undo = Undoing()
    with undo, undo:
        preserve(model, undo)
        evaluate(model, undo)
        set_gradients(undo, on=False)
        for _ in range(repeats + 1):
            start = clock()
            call(model, example)
            for device in devices:
                torch.get_device_module(device).synchronize(device)
            found.append(clock() - start)
    return statistics.median(found[1:])
