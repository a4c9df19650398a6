"""What a training step of a sparse layer costs on this machine, in either storage.

The costs are measured at a few sizes when they are first asked for (`crossover_measuring`, one or
two seconds), for the number of threads that PyTorch uses, and kept in the folder ``crossover`` of
`files.cache_folder`. Every later process reads them there, so that the same seed takes the same
path.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import torch

from structure_net.core.layer_costs import LayerCosts
from structure_net.core.sections import section
from structure_net.files import cache_folder, write_text

VERSION: Final = 5
"""Raised when the kernels or what is measured of them change, so that figures are taken anew."""

_LOCK: Final = threading.Lock()
_known: Final[dict[tuple[int, str], LayerCosts]] = {}
_listeners: Final[list[Callable[[bool], None]]] = []


def costs_here() -> LayerCosts:
    """The costs on this machine, with as many threads as PyTorch uses now.

    Read from the cache, or measured and kept there. Where the cache cannot be written, a process
    measures once for itself.
    """
    key = torch.get_num_threads(), str(cache_folder())
    found = _known.get(key)
    if found is None:
        with _LOCK:
            found = _known.get(key) or _read_or_measure()
            _known[key] = found
    return found


def measure_again() -> LayerCosts:
    """Measures the costs on this machine anew, and keeps them in place of what was known."""
    with _LOCK:
        costs = _measured()
        _write(costs)
        _known[torch.get_num_threads(), str(cache_folder())] = costs
    return costs


@contextmanager
def watching_measurement(listener: Callable[[bool], None]) -> Iterator[None]:
    """Tells ``listener`` of every measurement inside, in any thread: True when it begins, False
    when it ends.
    """
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)


def _read_or_measure() -> LayerCosts:
    kept = _read()
    if kept is not None:
        return kept
    costs = _measured()
    # Another process may have measured meanwhile: what was written first holds for all.
    if (written := _read()) is not None:
        return written
    _write(costs)
    return costs


def _measured() -> LayerCosts:
    from structure_net.core.crossover_measuring import measured_costs

    for listener in tuple(_listeners):
        listener(True)
    try:
        with section("measuring storages"):
            return measured_costs()
    finally:
        for listener in tuple(_listeners):
            listener(False)


def _read() -> LayerCosts | None:
    """What the cache holds; None where that is nothing or damaged."""
    try:
        document = json.loads(_path().read_text(encoding="utf-8"))
        return LayerCosts.from_document(document["costs"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _write(costs: LayerCosts) -> None:
    document = {"measured_on": _machine(), "costs": costs.as_document()}
    path = _path()
    # A cache that cannot be written costs time, and nothing else.
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, json.dumps(document, indent=1) + "\n")


def _path() -> Path:
    text = json.dumps(_machine(), sort_keys=True)
    name = hashlib.sha256(text.encode()).hexdigest()[:16]
    return cache_folder() / "crossover" / f"{name}.json"


def _machine() -> dict[str, Any]:
    """What the costs depend on."""
    return {
        "version": VERSION,
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }


def _processor() -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return f"{platform.machine()} {platform.processor()}"
