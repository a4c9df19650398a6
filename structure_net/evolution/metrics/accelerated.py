"""Graph measures on a CUDA device, and the one place that finds out whether one works.

That a package can be imported proves nothing: cupy imports without a device, and networkx hands a
call on to a backend that then fails. So the probe really computes something, once per process, and
says why it did not work. Every call afterwards is guarded, too: what fails on the device runs on
the CPU, and the log says so.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import torch

from structure_net.evolution.metrics.layered_graph import LayeredGraph

_LOG: Final = logging.getLogger(__name__)

_FAILURES: Final = (
    ImportError,  # the library, or a part that it loads late, is not installed
    RuntimeError,  # what CUDA raises, through torch and cupy
    OSError,  # a shared library of the driver or of CUDA cannot be loaded
    AssertionError,  # what a torch without CUDA raises
    AttributeError,  # a version of the library without the function that is called
    NotImplementedError,  # an algorithm that networkx's backend does not have
    TypeError,  # one that it has with other arguments
    ValueError,  # one that refuses a graph that networkx takes, such as one without edges
    MemoryError,  # what cupy and RMM raise where the device is full
)
"""What a library raises where its device, its driver or a part of itself is not there."""


@dataclass(frozen=True, slots=True)
class Accelerator:
    """Whether something works on the device.

    Args:
        available: Whether it gave the right result.
        reason: What was found.
    """

    available: bool
    reason: str


def _probed(name: str, compute: Callable[[], float], expected: float) -> Accelerator:
    try:
        found = compute()
    except _FAILURES as error:
        result = Accelerator(False, f"{name} does not work here: {type(error).__name__}: {error}")
    else:
        right = abs(found - expected) < 1e-6
        state = "works" if right else f"gives {found} instead of {expected}"
        result = Accelerator(right, f"{name} {state}")
    _LOG.info("%s", result.reason)
    return result


@cache
def torch_on_cuda() -> Accelerator:
    """Whether torch computes on a CUDA device; found out once per process."""
    return _probed("torch on CUDA", lambda: float(torch.ones(2, device="cuda").sum()), 2.0)


@cache
def cugraph() -> Accelerator:
    """Whether networkx computes on a CUDA device through cugraph; found out once per process."""
    return _probed("networkx on CUDA", _cugraph_result, 1.0)


def _cugraph_result() -> float:
    import cupy
    import networkx as nx
    import nx_cugraph  # noqa: F401 - networkx finds the backend by its entry point

    if not cupy.cuda.runtime.getDeviceCount():
        raise RuntimeError("there is no CUDA device")
    if float((cupy.ones(2) + 1).sum().get()) != 4.0:
        raise RuntimeError("cupy computes wrong sums")
    return float(sum(nx.pagerank(nx.path_graph(4), backend="cugraph").values()))


def to_networkx(graph: LayeredGraph, *, directed: bool = True) -> Any:
    """The graph as networkx has it: vertices by number, weights as ``weight``, layers as ``layer``.

    Args:
        graph: The graph.
        directed: A ``DiGraph``, or a ``Graph``.
    """
    import networkx as nx

    made = nx.DiGraph() if directed else nx.Graph()
    layers = [graph.layers[depth] for depth in graph.depth.tolist()]
    made.add_nodes_from((vertex, {"layer": layer}) for vertex, layer in enumerate(layers))
    edges = (graph.tails.tolist(), graph.heads.tolist(), graph.weights.tolist())
    made.add_weighted_edges_from(zip(*edges, strict=True))
    return made


def by_networkx(name: str, graph: LayeredGraph, *, directed: bool = True, **options: Any) -> Any:
    """What a function of networkx gives, computed on the device where that works.

    The choice of the backend holds for this call alone; networkx's own configuration stays as it
    is. Where the device fails, or cugraph lacks the function, the CPU computes it.

    Args:
        name: The function, such as ``"pagerank"``.
        graph: The graph.
        directed: Whether the direction of connections counts.
        options: Its further arguments.
    """
    import networkx as nx

    function, made = getattr(nx, name), to_networkx(graph, directed=directed)
    if cugraph().available:
        try:
            return function(made, backend="cugraph", **options)
        except (*_FAILURES, nx.NetworkXException) as error:
            _LOG.warning("networkx.%s runs on the CPU: %s: %s", name, type(error).__name__, error)
    with nx.config(backend_priority=[]):
        return function(made, **options)
