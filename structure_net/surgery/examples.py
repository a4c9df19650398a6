"""The inputs that a model is traced with, as a checkpoint keeps them: enough to trace it again.

Whole numbers and booleans (tokens, masks) are kept; of floating-point inputs only the shape and
type, since a trace does not look at their values.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from structure_net.errors import CheckpointError


def example_state(example: object) -> dict[str, Any]:
    """What is kept of ``example``: a tensor, or tuples, lists and dicts of tensors and values."""
    if isinstance(example, Tensor):
        if example.is_floating_point() or example.is_complex():
            dtype = str(example.dtype).removeprefix("torch.")
            return {"shape": list(example.shape), "dtype": dtype}
        return {"tensor": example}
    if isinstance(example, Mapping):
        return {"dict": {key: example_state(item) for key, item in example.items()}}
    if isinstance(example, list | tuple):
        word = "list" if isinstance(example, list) else "tuple"
        return {word: [example_state(item) for item in example]}
    return {"value": example}


def restored_example(state: Mapping[str, Any], device: torch.device) -> Any:
    """Inputs like those that `example_state` read, zero where they were floating-point numbers.

    Raises:
        CheckpointError: ``state`` is of an unknown kind.
    """
    match dict(state):
        case {"shape": shape, "dtype": str(name)}:
            return torch.zeros(shape, dtype=_dtype(name), device=device)
        case {"tensor": tensor}:
            return tensor.to(device)
        case {"dict": items}:
            return {key: restored_example(item, device) for key, item in items.items()}
        case {"list": items}:
            return [restored_example(item, device) for item in items]
        case {"tuple": items}:
            return tuple(restored_example(item, device) for item in items)
        case {"value": value}:
            return value
    raise CheckpointError(f"The checkpoint's example holds an unknown entry: {sorted(state)}.")


def _dtype(name: str) -> torch.dtype:
    dtype = getattr(torch, name, None)
    if not isinstance(dtype, torch.dtype):
        raise CheckpointError(f"The checkpoint's example has an unknown type: {name!r}.")
    return dtype
