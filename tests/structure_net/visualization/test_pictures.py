"""What holds for every picture: own figures, no global state, reasons where values are absent."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from typing import Any

import matplotlib
import pytest
from matplotlib._pylab_helpers import Gcf
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from structure_net import visualization as draw
from structure_net.errors import MissingAnalysisError
from structure_net.evolution import NetworkContext
from structure_net.evolution.analysis import Lazy
from structure_net.evolution.components.analyzers import ChainBarcode
from structure_net.evolution.metrics import Unavailable
from structure_net.surgery import Journal

Plot = Callable[..., Axes]

OF_ANALYSIS: tuple[Plot, ...] = (
    draw.plot_betti_curves,
    draw.plot_bottlenecks,
    draw.plot_coactivation,
    draw.plot_extrema,
    draw.plot_gradient_flow,
    draw.plot_layered_graph,
    draw.plot_map_barcode,
    draw.plot_neural_persistence,
    draw.plot_persistence_barcode,
    draw.plot_persistence_diagram,
    draw.plot_rankings,
)
OF_JOURNAL: tuple[Plot, ...] = (draw.plot_decision_log, draw.plot_lineage)
REASON = Unavailable("the moon is not full")
ABSENT: tuple[tuple[Plot, dict[str, Any]], ...] = (
    (draw.plot_betti_curves, {"topology_betti_curves": {"a": REASON}}),
    (draw.plot_coactivation, {"hebbian_correlation": {"a": REASON}}),
    (draw.plot_layered_graph, {"graph_network": REASON, "graph_path_shares": REASON}),
    (draw.plot_map_barcode, {"homology_barcodes": (ChainBarcode("x", ("a",), REASON),)}),
    (draw.plot_neural_persistence, {"topology_null": {"a": REASON}}),
    (draw.plot_persistence_barcode, {"topology_diagrams": {"a": REASON}}),
    (draw.plot_persistence_diagram, {"topology_diagrams": {"a": REASON}}),
)


def name_of(plot: object) -> str:
    return getattr(plot, "__name__", "")


def words(ax: Axes) -> str:
    return " ".join(" ".join(text.get_text() for text in ax.texts).split())


@pytest.mark.parametrize("plot", OF_ANALYSIS, ids=name_of)
def test_a_picture_is_one_call_and_changes_no_global_state(
    plot: Plot, analysis: Mapping[str, Any]
) -> None:
    before = dict(matplotlib.rcParams)
    ax = plot(analysis)
    figure = ax.get_figure(root=True)
    assert figure is not None
    figure.savefig(io.BytesIO())
    assert dict(matplotlib.rcParams) == before
    assert not Gcf.get_all_fig_managers()
    assert ax.get_title(loc="left")


@pytest.mark.parametrize("plot", OF_ANALYSIS, ids=name_of)
def test_a_picture_is_drawn_into_axes_of_the_caller(
    plot: Plot, analysis: Mapping[str, Any]
) -> None:
    mine = Figure().subplots()
    assert plot(analysis, mine) is mine


@pytest.mark.parametrize("plot", OF_JOURNAL, ids=name_of)
def test_a_picture_of_a_journal_changes_no_global_state(
    plot: Plot, evolved: NetworkContext
) -> None:
    before = dict(matplotlib.rcParams)
    mine = Figure().subplots()
    assert plot(evolved.journal, mine) is mine
    figure = plot(evolved.journal).get_figure(root=True)
    assert figure is not None
    figure.savefig(io.BytesIO())
    assert dict(matplotlib.rcParams) == before


@pytest.mark.parametrize("plot", OF_JOURNAL, ids=name_of)
def test_a_journal_without_edits_is_said_to_have_none(plot: Plot) -> None:
    assert "the journal holds no" in words(plot(Journal()))


@pytest.mark.parametrize(("plot", "found"), ABSENT, ids=name_of)
def test_a_value_that_is_not_there_is_drawn_as_its_reason(
    plot: Plot, found: dict[str, Any]
) -> None:
    ax = plot(found)
    assert words(ax) == f"not available: {REASON.reason}"
    assert not ax.lines
    assert not ax.patches
    assert not ax.collections
    assert not ax.images


@pytest.mark.parametrize("plot", OF_ANALYSIS, ids=name_of)
def test_a_missing_analyzer_is_named(plot: Plot) -> None:
    with pytest.raises(MissingAnalysisError, match="Add the analyzer whose keys begin with"):
        plot({})


def test_an_unknown_layer_is_refused_with_those_that_there_are(
    analysis: Mapping[str, Any],
) -> None:
    with pytest.raises(MissingAnalysisError, match=r"knows no layer 'fc9'; it knows 'layers\.0'"):
        draw.plot_coactivation(analysis, layer="fc9")


def test_a_value_that_was_left_for_later_is_computed_when_it_is_drawn() -> None:
    late = {"topology_null": Lazy(lambda: {"a": REASON})}
    assert REASON.reason in words(draw.plot_neural_persistence(late))


@pytest.mark.parametrize("name", ["数据", "costs $x^{$ and $y", "a" * 60])
def test_any_name_of_a_layer_is_drawn_without_a_warning(
    name: str, analysis: Mapping[str, Any]
) -> None:
    only = {
        key: {name: analysis[key]["layers.0"]}
        for key in ("topology_diagrams", "topology_cloud_null", "topology_betti_curves",
                    "topology_null", "hebbian_correlation")
    }  # fmt: skip
    only["hebbian_redundant"] = {}
    for plot in (draw.plot_persistence_diagram, draw.plot_betti_curves, draw.plot_coactivation,
                 draw.plot_neural_persistence):  # fmt: skip
        figure = plot(only).get_figure(root=True)
        assert figure is not None
        figure.savefig(io.BytesIO())
