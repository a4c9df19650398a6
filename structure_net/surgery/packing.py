"""Nested values as JSON plus tensors, and back: what a checkpoint's states are made of.

JSON stands as it is. Whatever it has no word for is a dict with one key that begins with ``$``::

    {"$tensor": NAME}  {"$array": NAME}      a tensor or numpy array, stored under NAME
    {"$float": "nan" | "inf" | "-inf"}
    {"$tuple": [...]}
    {"$dict": [[KEY, VALUE], ...]}           a dict with other keys than plain strings
    {"$counter": [[KEY, COUNT], ...]}

No other type is taken, so that nothing has to be executed in order to read it back.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from structure_net.errors import CheckpointError


def pack(value: object, name: str, tensors: dict[str, Tensor]) -> Any:
    """``value`` as JSON data; its tensors are added to ``tensors``.

    Args:
        value: None, booleans, numbers, strings, tensors, numpy arrays, and lists, tuples, dicts and
            counters of these.
        name: Where it stands, which also names its tensors.
        tensors: Filled with the tensors.

    Raises:
        CheckpointError: Something has another type; the message names its place.
    """
    if isinstance(value, Tensor):
        tensors[name] = value.detach()
        return {"$tensor": name}
    if isinstance(value, np.ndarray):
        tensors[name] = torch.from_numpy(value.copy())
        return {"$array": name}
    if isinstance(value, Mapping):
        return _pack_mapping(value, name, tensors)
    if isinstance(value, list | tuple):
        items = [pack(item, f"{name}.{number}", tensors) for number, item in enumerate(value)]
        return items if isinstance(value, list) else {"$tuple": items}
    return _pack_scalar(value, name)


def _pack_mapping(value: Mapping[Any, Any], name: str, tensors: dict[str, Tensor]) -> Any:
    if not isinstance(value, Counter) and all(
        isinstance(key, str) and not key.startswith("$") for key in value
    ):
        return {key: pack(item, f"{name}.{key}", tensors) for key, item in value.items()}
    tag = "$counter" if isinstance(value, Counter) else "$dict"
    return {
        tag: [
            [pack(key, f"{name}.{key}", tensors), pack(item, f"{name}.{key}", tensors)]
            for key, item in value.items()
        ]
    }


def _pack_scalar(value: object, name: str) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return {"$float": repr(float(value))}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise CheckpointError(
        f"'{name}' is a {type(value).__name__}, which a checkpoint cannot hold: it takes None, "
        "booleans, numbers, strings, tensors, and lists, tuples and dicts of these. Leave it out."
    )


def unpack(data: Any, tensors: Mapping[str, Tensor] | None) -> Any:
    """The value that `pack` took; tensors are copies, or their names if ``tensors`` is None.

    Raises:
        CheckpointError: ``data`` names a tensor that is not there or a tag that does not exist.
    """
    if isinstance(data, list):
        return [unpack(item, tensors) for item in data]
    if not isinstance(data, dict):
        return data
    tag = next(iter(data), "")
    if len(data) == 1 and tag.startswith("$"):
        return _unpack_tag(tag, data[tag], tensors)
    return {key: unpack(item, tensors) for key, item in data.items()}


def _unpack_tag(tag: str, content: Any, tensors: Mapping[str, Tensor] | None) -> Any:
    if tag in ("$tensor", "$array"):
        if tensors is None:
            return content
        if content not in tensors:
            raise CheckpointError(
                f"The checkpoint names a tensor '{content}' that it does not hold."
            )
        copy = tensors[content].clone()
        return copy if tag == "$tensor" else copy.numpy()
    if tag == "$float":
        return float(content)
    if tag == "$tuple":
        return tuple(unpack(item, tensors) for item in content)
    if tag in ("$dict", "$counter"):
        pairs = {unpack(key, tensors): unpack(item, tensors) for key, item in content}
        return Counter(pairs) if tag == "$counter" else pairs
    raise CheckpointError(
        f"The checkpoint holds a value of the kind '{tag}', which this program does not know; "
        "a newer structure-net may have written it."
    )
