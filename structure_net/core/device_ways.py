"""Which product with live weights measures faster on a device that is not the CPU.

When a layer runs there for the first time, a forward and a backward pass of it are timed in both
ways of `device_products`, some milliseconds. The answer holds for the device's kind, the version of
PyTorch, the layer's sizes, and connections and samples up to a power of two; it is kept in the
folder ``products`` of `files.cache_folder`, so that every later process takes the same way. Layers
that are too small or too full for compressed rows are not measured; under
`torch.use_deterministic_algorithms`, in a transform, and in a checkpoint or a CUDA graph that is
the first to run a layer, the way is the dense one.
"""

from __future__ import annotations

import hashlib
import json
import math
import threading
import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Literal

import torch
from torch import Tensor

from structure_net.core.device_products import dense_product, rows_product
from structure_net.core.live_index import LiveIndex
from structure_net.core.sections import section
from structure_net.files import cache_folder, write_text

Way = Literal["dense", "rows"]
Product = Callable[[Tensor, Tensor, Tensor | None, LiveIndex], Tensor]

VERSION: Final = 1
"""Raised when what is measured changes, so that it is measured anew."""

_PRODUCTS: Final[dict[Way, Product]] = {"dense": dense_product, "rows": rows_product}
_SMALL: Final = 2**16
"""Places below which rows are not tried. A guess, as the next: no GPU has been measured."""
_FULL: Final = 0.25
"""The share of connections from which on rows are not tried."""
_WARM: Final = 3
_TURNS: Final = 5
_STEPS: Final = 4

_LOCK: Final = threading.Lock()
_known: Final[dict[tuple[str, str], Way]] = {}
_forced: list[Way | None] = [None]


def device_product(
    inputs: Tensor, values: Tensor, bias: Tensor | None, index: LiveIndex, *, kind: torch.dtype
) -> Tensor:
    """``x W^T + b`` in the way that measures faster.

    Args:
        inputs: Shape ``(*, in)``.
        values: Shape ``(n,)``.
        bias: Shape ``(out,)``, or None.
        index: Of the weights, on the device of all of these.
        kind: The type of the result.

    Returns:
        Shape ``(*, out)``.
    """
    if device_way(inputs, index, values.dtype) == "dense":
        return dense_product(inputs, values, bias, index)
    single = torch.float64 if values.dtype == torch.float64 else torch.float32
    added = None if bias is None else bias.to(single)
    return rows_product(inputs.to(single), values.to(single), added, index).to(kind)


def set_device_way(way: Way | None) -> None:
    """Sets the way for all layers on other devices than the CPU; None: what measures faster.

    Raises:
        ValueError: It is neither.
    """
    if way is not None and way not in _PRODUCTS:
        raise ValueError(f"way must be 'dense', 'rows' or None; got {way!r}.")
    _forced[0] = way


def device_way(inputs: Tensor, index: LiveIndex, kind: torch.dtype) -> Way:
    """The way for a layer's product.

    Args:
        inputs: Shape ``(*, in)``.
        index: Of the weights.
        kind: Their type.
    """
    transforming = torch._C._are_functorch_transforms_active()
    if transforming or torch.autograd.forward_ad._current_level >= 0 or inputs.is_meta:
        return "dense"
    if (forced := _forced[0]) is not None:
        return forced
    size = index.shape[0] * index.shape[1]
    if size < _SMALL or index.count > _FULL * size or torch.are_deterministic_algorithms_enabled():
        return "dense"
    samples = math.ceil(math.log2(max(inputs.numel() // max(index.shape[1], 1), 1)))
    connections = math.ceil(math.log2(max(index.count, 1)))
    case = f"{index.shape[0]}x{index.shape[1]} 2^{connections} 2^{samples} {kind}"
    if torch.is_autocast_enabled(inputs.device.type):
        case += f" {torch.get_autocast_dtype(inputs.device.type)}"
    return _known_or_measured(case, inputs, index, kind)


def _known_or_measured(case: str, inputs: Tensor, index: LiveIndex, kind: torch.dtype) -> Way:
    path = _path(inputs.device)
    key = str(path), case
    found = _known.get(key)
    if found is None and _saved_elsewhere():
        # As dense as now when a checkpoint computes it anew.
        found = _known[key] = "dense"
    if found is None and not _capturing(inputs.device):
        with _LOCK:
            _known.update(((str(path), name), way) for name, way in _read(path).items())
            found = _known.get(key)
            if found is None:
                found = _known[key] = _measured(path, case, inputs, index, kind)
    return found or "dense"


def _measured(path: Path, case: str, inputs: Tensor, index: LiveIndex, kind: torch.dtype) -> Way:
    # Modes that watch what a model computes must not take this for part of it.
    with section("measuring products"), torch._C.DisableTorchFunction():
        lasted = product_seconds(inputs, index, kind)
    way: Way = "rows" if lasted["rows"] < lasted["dense"] else "dense"
    # What did not run for want of memory may run the next time.
    if all(map(math.isfinite, lasted.values())):
        _write(path, {**_read(path), case: way})
    return way


def product_seconds(inputs: Tensor, index: LiveIndex, kind: torch.dtype) -> dict[Way, float]:
    """The time of some forward and backward passes, by way; infinite where one cannot run.

    Args:
        inputs: Such as pass through the layer; only their form counts. Shape ``(*, in)``.
        index: Of the weights, on the device of the inputs.
        kind: The type of the weights.
    """
    return {way: _seconds(way, inputs, index, kind) for way in _PRODUCTS}


def _seconds(way: Way, inputs: Tensor, index: LiveIndex, kind: torch.dtype) -> float:
    """The time of a forward and a backward pass in its fastest turn; infinite where it fails."""
    device = inputs.device
    # Constant numbers: a measurement must not move the device's random state.
    like = torch.full(inputs.shape, 0.5, dtype=inputs.dtype, device=device, requires_grad=True)
    values = torch.full((index.count,), 0.5, dtype=kind, device=device, requires_grad=True)
    wait = torch.get_device_module(device).synchronize
    single = torch.float64 if kind == torch.float64 else torch.float32

    def step() -> None:
        if way == "dense":
            outputs = _PRODUCTS[way](like, values, None, index)
        else:
            outputs = _PRODUCTS[way](like.to(single), values.to(single), None, index)
        torch.autograd.grad(outputs, (like, values), torch.ones_like(outputs))

    def turn() -> float:
        wait(device)
        start = time.perf_counter()
        for _ in range(_STEPS):
            step()
        wait(device)
        return time.perf_counter() - start

    try:
        with torch.enable_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PyTorch says once that such matrices are new
            for _ in range(_WARM):
                step()
            return min(turn() for _ in range(_TURNS))
    except (RuntimeError, NotImplementedError):  # no kernel, or no memory
        return math.inf


def _saved_elsewhere() -> bool:
    """Whether hooks take what is saved for backward passes, as those of checkpoints: they would
    count what a measurement saves.
    """
    autograd: Any = torch._C._autograd
    return autograd._top_saved_tensors_default_hooks(True) is not None


def _capturing(device: torch.device) -> bool:
    """Whether a CUDA graph is recorded, in which nothing may be timed."""
    return device.type == "cuda" and torch.cuda.is_current_stream_capturing()


def _path(device: torch.device) -> Path:
    name = _name(device.type, device.index or 0)
    return cache_folder() / "products" / f"{name}.json"


_names: Final[dict[tuple[str, int], str]] = {}


def _name(kind: str, number: int) -> str:
    """What tells the figures of one kind of device from those of others."""
    found = _names.get((kind, number))
    if found is None:
        told = torch.cuda.get_device_name(number) if kind == "cuda" else kind
        text = f"{VERSION} {kind} {told} {torch.__version__} {torch.version.cuda}"
        found = _names[kind, number] = hashlib.sha256(text.encode()).hexdigest()[:16]
    return found


def _read(path: Path) -> dict[str, Way]:
    """What the cache holds; nothing where it is damaged."""
    with suppress(OSError, ValueError, AttributeError):
        document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return {case: way for case, way in document.items() if way in _PRODUCTS}
    return {}


def _write(path: Path, ways: dict[str, Way]) -> None:
    # A cache that cannot be written costs time, and nothing else.
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, json.dumps(ways, indent=1, sort_keys=True) + "\n")
