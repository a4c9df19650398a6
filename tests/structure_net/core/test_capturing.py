"""A program is captured in one thread, and the others compute as ever."""

from __future__ import annotations

from threading import Thread
from typing import Any

import torch
from torch import Tensor, nn

from structure_net.core import StandardSparseLayer
from structure_net.core.capturing import capturing


class Asking(nn.Module):
    """Says whether it is captured, and what another thread hears of that."""

    def forward(self, x: Tensor) -> Tensor:
        _HEARD["here"] = capturing()
        thread = Thread(target=_ask)
        thread.start()
        thread.join()
        return x.relu()


_HEARD: dict[str, Any] = {}


def _ask() -> None:
    _HEARD["there"] = capturing()
    layer = StandardSparseLayer(40, 60, density=0.1, generator=torch.Generator().manual_seed(0))
    _HEARD["output"] = layer(torch.ones(2, 40)).detach()


def test_an_export_is_one_threads() -> None:
    _ask()
    expected = _HEARD.pop("output")
    torch.export.export(Asking(), (torch.zeros(2, 3),), strict=False)
    assert (_HEARD.pop("here"), _HEARD.pop("there")) == (True, False)
    assert torch.equal(_HEARD.pop("output"), expected)
    assert not capturing()


def test_a_compiled_function_is_captured() -> None:
    def asking(x: Tensor) -> Tensor:
        return x + 1 if capturing() else x

    compiled: Any = torch.compile(asking, backend="eager", fullgraph=True)
    assert compiled(torch.zeros(1)) == 1
    assert asking(torch.zeros(1)) == 0
