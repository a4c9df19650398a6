"""An export disturbs no other thread, and nothing stays of it, wherever interrupts strike."""

from __future__ import annotations

import builtins
import logging
import math
import sys
import warnings
from collections.abc import Callable
from threading import Event, Thread
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.backends import mha
from torch.export import _trace
from torch.fx import graph_module
from torch.nn.modules import transformer

from structure_net.core import StandardSparseLayer
from structure_net.core.compiling import load_registries
from structure_net.core.undoing import Undoing
from structure_net.graph import trace, tracing
from structure_net.graph.aside import plain, quiet
from tests.interrupting import left_alone

SETTINGS: dict[str, tuple[Any, ...]] = {
    "export": (_trace, "_ignore_backend_decomps", "_override_builtin_ops"),
    "attention": (mha, "get_fastpath_enabled"),
    "masks": (transformer, "_detect_is_causal_mask"),
    "sources": (graph_module, "_loader"),
    "streams": (sys, "stderr"),
    "warnings": (warnings, "filters"),
    "functions": (builtins, "max", "min"),
    "powers": (math, "pow"),
}
FUNCTIONS = builtins.max, builtins.min, math.pow


def settings() -> dict[str, Any]:
    held = {
        f"{kind} {name}": vars(module)[name]
        for kind, (module, *names) in SETTINGS.items()
        for name in names
    }
    return held | {"filters": list(logging.root.filters), "level": logging.root.manager.disable}


class Asking(nn.Module):
    """Asks in another thread, and in its own, while it runs."""

    def __init__(self, ask: Callable[[], object]) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 2)
        self.ask = ask

    def forward(self, x: Tensor) -> Tensor:
        thread = Thread(target=self.ask)
        thread.start()
        thread.join()
        self.ask()
        return torch.relu(self.layer(x))


def asked(ask: Callable[[], object]) -> list[Any]:
    """What another thread is told while a model is traced, and the one that traces it."""
    told: list[Any] = []
    trace(Asking(lambda: told.append(ask())), torch.zeros(2, 3))
    return told[:2]


def test_functions_of_python_are_its_own_while_a_model_is_traced() -> None:
    """Else kernels that are compiled meanwhile fail, for good if numba is loaded meanwhile."""
    found = asked(lambda: (builtins.max, builtins.min, math.pow))
    assert found == [FUNCTIONS, FUNCTIONS]


def test_other_threads_attend_and_export_as_ever() -> None:
    def ask() -> tuple[object, object]:
        with _trace._ignore_backend_decomps():
            return mha.get_fastpath_enabled(), torch.backends.mkldnn.enabled

    assert asked(ask)[0] == (True, False)


def test_other_threads_are_told_whether_a_mask_is_causal() -> None:
    mask = nn.Transformer.generate_square_subsequent_mask(3)
    found = asked(lambda: transformer._detect_is_causal_mask(mask, None, 3))
    assert found == [True, False]


def test_other_threads_keep_the_source_of_their_graphs() -> None:
    found = asked(lambda: graph_module._loader.cache("source", {}))
    assert found[0] != found[1] == "<exported>"
    assert graph_module._loader.get_source(found[0]) == "source"


def test_other_threads_write_and_log_as_ever(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    said: list[str] = []

    def ask() -> None:
        said.append("here" if said else "there")
        sys.stderr.write(said[-1])
        logging.getLogger("a training").warning(said[-1])

    asked(ask)
    assert said[:2] == ["there", "here"]
    assert capsys.readouterr().err == "there"
    assert [record.getMessage() for record in caplog.records if record.name == "a training"] == [
        "there"
    ]


def test_a_model_that_takes_the_larger_of_tensors_is_traced() -> None:
    class Larger(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(3, 4)
            self.head = nn.Linear(4, 2)

        def forward(self, x: Tensor) -> Tensor:
            hidden = self.layer(x)
            out: Tensor = self.head(hidden / max(hidden.abs().mean(), 0.5))
            return out

    assert "layer" in trace(Larger(), torch.ones(2, 3)).layers
    assert (builtins.max, builtins.min, math.pow) == FUNCTIONS


def test_what_numba_knows_is_no_stand_in_of_an_export() -> None:
    load_registries()
    from numba.core.registry import cpu_target

    with vars(_trace)["_override_builtin_ops"]():
        assert builtins.max is not FUNCTIONS[0]
        known = [cpu_target.typing_context.resolve_value_type(one) for one in FUNCTIONS]
    assert None not in known


def test_what_is_set_aside_is_put_back() -> None:
    before = settings()
    with (undo := Undoing()):
        plain(undo, libraries=True, operators=True)
        quiet(undo)
        assert vars(_trace)["_override_builtin_ops"] is before["export _override_builtin_ops"]
        assert not mha.get_fastpath_enabled()
        warnings.warn("unheard", stacklevel=1)
    assert settings() == before


@pytest.mark.parametrize("training", [True, False])
def test_an_interrupt_before_or_after_an_export_leaves_model_and_process(training: bool) -> None:
    recurrent, sparse = nn.LSTM(3, 4), StandardSparseLayer(4, 3, density=0.5)
    model = nn.Sequential(recurrent, sparse, nn.utils.parametrizations.orthogonal(nn.Linear(3, 4)))
    way, before = tracing._Way(training), settings()

    def task() -> None:
        undo = Undoing()
        with undo, undo:
            tracing._arrange(way, model, undo)

    def checked() -> None:
        try:
            task()
        finally:
            now = settings()
            assert all(now[name] is value or now[name] == value for name, value in before.items())

    names = ("tracing", "aside", "tags", "recording", "parametrizations")
    files = tuple(f"graph/{name}.py" for name in names)
    assert left_alone(model, checked, (*files, "torch/overrides.py"), every=89) > 5


def test_a_thread_that_puts_back_the_filters_of_meanwhile_silences_nobody() -> None:
    quieted, kept, over = Event(), Event(), Event()

    def other() -> None:
        quieted.wait()
        with warnings.catch_warnings():
            kept.set()
            over.wait()

    thread, undo = Thread(target=other), Undoing()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        thread.start()
        with undo, undo:
            quiet(undo)
            warnings.warn("unsaid", stacklevel=1)
            quieted.set()
            kept.wait()
        over.set()
        thread.join()
        with pytest.raises(UserWarning, match="said again"):
            warnings.warn("said again", stacklevel=1)
