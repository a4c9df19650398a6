"""`structure-net bench sparse`: its tables, its document, its refusals."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from structure_net.cli import benching, main
from structure_net.cli.preparing import preparation_told
from structure_net.core import crossover_costs, crossover_measuring
from structure_net.core.compiling import Kernel, compiled
from structure_net.core.crossover_costs import costs_here
from structure_net.core.layer_costs import LayerCosts

COSTS = LayerCosts(((1e4, 1e-3),), ((1e3, 1e-3),), ((1e3, 1e-4, 1e-7),))


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Small layers and networks, and costs of the test's own."""
    threads = torch.get_num_threads()
    monkeypatch.setattr(crossover_costs, "_path", lambda: tmp_path / "costs.json")
    monkeypatch.setattr(crossover_costs, "_known", {})
    monkeypatch.setattr(crossover_measuring, "measured_costs", lambda: COSTS)
    monkeypatch.setattr(benching, "_SECONDS", 0.01)
    monkeypatch.setattr(benching, "_SHAPES", ((10, 200), (40, 50), (5, 5)))
    monkeypatch.setattr(benching, "NETWORKS", ((40, 50, 10), (30, 40, 10), (20, 10)))
    yield
    torch.set_num_threads(threads)


@pytest.mark.usefixtures("small")
def test_tables_show_layers_and_networks(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "sparse", "--quick"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert all(word in out for word in ("40 x 50", "40-50-10", "crossover", "memory"))
    assert "20-10" not in out
    assert "with 1 thread;" in out


@pytest.mark.usefixtures("small")
def test_programs_get_one_document(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "sparse", "--quick", "--json", "--threads", "2"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["threads"] == 2
    assert len(document["layers"]) == 2
    assert len(document["networks"]) == 2 * 2
    assert {"widths", "density", "storages", "seconds", "memory"} <= set(document["networks"][0])


@pytest.mark.usefixtures("small")
def test_figures_are_measured_anew_when_asked(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["bench", "sparse", "--quick"]) == 0
    other = LayerCosts(((1e4, 2e-3),), ((1e3, 1e-3),), ((1e3, 1e-4, 1e-7),))
    monkeypatch.setattr(crossover_measuring, "measured_costs", lambda: other)
    assert main(["bench", "sparse", "--quick"]) == 0
    assert costs_here() == COSTS
    assert main(["bench", "sparse", "--quick", "--again"]) == 0
    assert costs_here() == other
    assert "Measures" in (main(["bench", "--help"]), capsys.readouterr().out)[1]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["bench", "dense"], "must be sparse; got 'dense'"),
        (["bench", "sparse", "--threads", "0"], "must be 1 or more; got 0"),
        (["bench", "sparse", "--threads", "two"], "must be a whole number"),
        (["bench"], "Missing argument"),
    ],
)
def test_what_cannot_be_measured_is_refused(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    assert said in capsys.readouterr().err


@compiled("float64(float64)")
def _twice(number: float) -> float:
    """What every machine has to compile once."""
    return 2 * number


@pytest.mark.usefixtures("small")
def test_a_terminal_is_told_once_what_is_prepared(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setenv("STRUCTURE_NET_CACHE", str(tmp_path))
    with preparation_told():
        crossover_costs.measure_again()
        crossover_costs.measure_again()
        for _ in range(2):
            assert Kernel(_twice.__wrapped__, ("float64(float64)",))(1.5) == 3.0
    told = capsys.readouterr().err
    assert told.count("measuring which storage") == 1
    assert told.count("compiling fast loops") == 1


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("terminal", [True, False])
def test_every_command_tells_a_terminal_what_a_cold_cache_takes(
    terminal: bool,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    def measured_costs() -> LayerCosts:
        assert Kernel(_twice.__wrapped__, ("float64(float64)",))(1.5) == 3.0
        return COSTS

    monkeypatch.setattr("sys.stderr.isatty", lambda: terminal)
    monkeypatch.setenv("STRUCTURE_NET_CACHE", str(tmp_path / "cold"))
    monkeypatch.setattr(crossover_measuring, "measured_costs", measured_costs)
    assert main(["bench", "sparse", "--quick", "--again", "--json"]) == 0
    told = capsys.readouterr().err
    assert told.count("measuring which storage") == terminal
    assert told.count("compiling fast loops") == terminal
