from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from types import ModuleType, SimpleNamespace
from typing import Any

import networkx as nx
import numpy as np
import pytest
import torch

from structure_net.evolution.metrics import accelerated, betweenness
from structure_net.evolution.metrics.accelerated import (
    Accelerator,
    by_networkx,
    cugraph,
    to_networkx,
    torch_on_cuda,
)
from tests.structure_net.evolution.metrics.graph_cases import random_graph, vector


@pytest.fixture(autouse=True)
def _asked_anew() -> Iterator[None]:
    cugraph.cache_clear()
    torch_on_cuda.cache_clear()
    yield
    cugraph.cache_clear()
    torch_on_cuda.cache_clear()


class FailingCupy(ModuleType):
    """What cupy is on a machine without a device: it imports, and computes nothing."""

    def __init__(self) -> None:
        super().__init__("cupy")

        def count() -> int:
            raise RuntimeError("cudaErrorNoDevice: no CUDA-capable device is detected")

        self.cuda = SimpleNamespace(runtime=SimpleNamespace(getDeviceCount=count))


def test_the_graph_as_networkx_has_it_keeps_weights_and_layers() -> None:
    graph = random_graph(skips=0.1)
    made = to_networkx(graph)
    assert made.number_of_nodes() == graph.vertices
    assert made.nodes[12]["layer"] == "1"
    edges = [(t, h, made.edges[t, h]["weight"]) for t, h in made.edges]
    given = zip(graph.tails.tolist(), graph.heads.tolist(), graph.weights.tolist(), strict=True)
    assert sorted(edges) == list(given)
    assert not to_networkx(graph, directed=False).is_directed()


def test_a_package_that_imports_is_no_device(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "cupy", FailingCupy())
    monkeypatch.setitem(sys.modules, "nx_cugraph", ModuleType("nx_cugraph"))
    with caplog.at_level(logging.INFO, logger=accelerated.__name__):
        found = cugraph()
    assert not found.available
    assert "no CUDA-capable device" in found.reason
    assert found.reason in caplog.text
    assert cugraph() is found


def test_without_the_packages_the_cpu_computes() -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "cupy", None)
        assert "ModuleNotFoundError" in cugraph().reason
        graph = random_graph()
        found = by_networkx("pagerank", graph)
    assert found == nx.pagerank(to_networkx(graph))


def test_a_wrong_result_is_no_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accelerated, "_cugraph_result", lambda: 0.5)
    assert cugraph() == Accelerator(False, "networkx on CUDA gives 0.5 instead of 1.0")


def test_what_fails_on_the_device_runs_on_the_cpu_and_the_log_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(accelerated, "_cugraph_result", lambda: 1.0)
    assert cugraph().available
    graph, before = random_graph(), dict(nx.config)
    with caplog.at_level(logging.WARNING, logger=accelerated.__name__):
        found = by_networkx("pagerank", graph)  # the backend is not installed after all
    assert found == nx.pagerank(to_networkx(graph))
    assert "networkx.pagerank runs on the CPU" in caplog.text
    assert dict(nx.config) == before


def test_a_call_is_handed_to_the_device_where_it_works(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str | None] = []

    def pagerank(
        graph: Any, *, backend: str | None = None, alpha: float = 0.85
    ) -> dict[int, float]:
        asked.append(backend)
        return {0: alpha}

    monkeypatch.setattr(accelerated, "_cugraph_result", lambda: 1.0)
    monkeypatch.setattr(nx, "pagerank", pagerank)
    assert by_networkx("pagerank", random_graph(), alpha=0.5) == {0: 0.5}
    assert asked == ["cugraph"]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_torch_without_a_device_says_why() -> None:
    found = torch_on_cuda()
    assert not found.available
    assert "torch on CUDA does not work here" in found.reason


@pytest.mark.cuda
def test_products_on_the_device_are_those_of_the_cpu() -> None:
    assert torch_on_cuda().available
    graph = random_graph((200, 150, 100), density=0.3)
    here, there = betweenness(graph), betweenness(graph, device="cuda")
    torch.testing.assert_close(there, here, rtol=0, atol=1e-9)


@pytest.mark.cuda
def test_networkx_on_the_device_gives_what_the_cpu_gives() -> None:
    if not cugraph().available:
        pytest.skip(cugraph().reason)
    graph = random_graph((60, 50, 40), density=0.3)
    found = vector(by_networkx("betweenness_centrality", graph))
    np.testing.assert_allclose(found, betweenness(graph), atol=1e-6)
