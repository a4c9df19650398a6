"""The picture of an evolution shows what it was given and changes nothing else."""

from __future__ import annotations

import io
import warnings
from dataclasses import replace

import matplotlib
import pytest
from matplotlib.figure import Figure

from structure_net.visualization import (
    EvolutionCurve,
    EvolutionPoint,
    GrowthMark,
    Reference,
    plot_evolution,
)

POINTS = (
    EvolutionPoint(1.0, 110, 100, 0.50, 0.48),
    EvolutionPoint(2.0, 110, 100, 0.60, 0.57),
    EvolutionPoint(3.0, 165, 150, 0.80, 0.70),
)
MARKS = (GrowthMark(2.25, "+50 connections"),)


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def line(figure: Figure, panel: int, label: str) -> tuple[list[float], list[float]]:
    (found,) = [x for x in figure.axes[panel].get_lines() if x.get_label() == label]
    return [float(x) for x in found.get_xdata()], [float(y) for y in found.get_ydata()]


def test_the_accuracies_are_drawn_over_seconds() -> None:
    figure = plot_evolution(EvolutionCurve(POINTS))
    assert line(figure, 0, "training") == ([1.0, 2.0, 3.0], [0.50, 0.60, 0.80])
    assert line(figure, 0, "validation") == ([1.0, 2.0, 3.0], [0.48, 0.57, 0.70])


def test_a_count_jumps_at_the_edit_and_not_at_the_epoch_that_reports_it() -> None:
    times, counts = line(plot_evolution(EvolutionCurve(POINTS, MARKS)), 1, "connections")
    jump = [t for t, a, b in zip(times, counts, counts[1:], strict=False) if a != b]
    assert jump == [2.25]


def test_every_edit_is_marked_in_both_panels_and_named() -> None:
    figure = plot_evolution(EvolutionCurve(POINTS, MARKS))
    for axes in figure.axes:
        assert 2.25 in [float(x.get_xdata()[0]) for x in axes.get_lines()]
    assert "+50 connections" in texts(figure)


def test_edits_that_lie_close_are_marked_and_named_as_far_as_there_is_room() -> None:
    marks = tuple(GrowthMark(1.0 + index / 100, f"edit {index}") for index in range(50))
    figure = plot_evolution(EvolutionCurve(POINTS, marks))
    named = [text for text in texts(figure) if text.startswith("edit")]
    assert 0 < len(named) < len(marks)
    lines = [float(x.get_xdata()[0]) for x in figure.axes[0].get_lines()]
    assert all(mark.seconds in lines for mark in marks)


def test_names_of_edits_do_not_cover_each_other() -> None:
    marks = tuple(GrowthMark(1.0 + index / 20, f"+{index} connections") for index in range(40))
    figure = plot_evolution(EvolutionCurve(POINTS, marks))
    figure.canvas.draw()
    names = [t for t in figure.axes[0].texts if t.get_text().endswith("connections")]
    boxes = [name.get_window_extent() for name in names]
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[i + 1 :])


def test_references_stand_in_the_legend_with_their_value() -> None:
    curve = EvolutionCurve(POINTS, references=(Reference("start network", 0.4),))
    legend = plot_evolution(curve).axes[0].get_legend()
    assert legend is not None
    assert "start network (0.400)" in [text.get_text() for text in legend.get_texts()]


def test_a_run_without_accuracies_shows_its_size() -> None:
    figure = plot_evolution(
        EvolutionCurve((EvolutionPoint(1.0, 11, 10), EvolutionPoint(2.0, 11, 10)))
    )
    assert line(figure, 1, "parameters")[1][-1] == 11


LOSSES = (
    EvolutionPoint(1.0, 11, 10, train_loss=0.9, validation_loss=1.1),
    EvolutionPoint(2.0, 11, 10, train_loss=0.02, validation_loss=0.0123),
)


def test_a_run_without_accuracies_shows_its_losses() -> None:
    curve = EvolutionCurve(LOSSES, references=(Reference("start network", loss=0.5),))
    figure = plot_evolution(curve)
    assert figure.axes[0].get_ylabel() == "loss"
    assert line(figure, 0, "training") == ([1.0, 2.0], [0.9, 0.02])
    assert line(figure, 0, "validation") == ([1.0, 2.0], [1.1, 0.0123])
    assert line(figure, 0, "start network (0.500)")[1] == [0.5, 0.5]
    assert "0.0123" in texts(figure)
    low, high = figure.axes[0].get_ylim()
    assert low == 0
    assert high > 1.1


def test_accuracies_are_shown_where_both_were_measured() -> None:
    both = tuple(replace(point, train_loss=0.5) for point in POINTS)
    references = (Reference("start network", loss=0.5),)
    figure = plot_evolution(EvolutionCurve(both, references=references))
    assert figure.axes[0].get_ylabel() == "accuracy"
    assert line(figure, 0, "training")[1] == [0.50, 0.60, 0.80]
    assert all("start" not in str(x.get_label()) for x in figure.axes[0].get_lines())


@pytest.mark.parametrize("word", ["\u6570\u636e", "costs $x^{$ and $y", "\U0001f40d"])
def test_any_name_is_drawn_without_a_warning(word: str) -> None:
    marks = (GrowthMark(2.25, f"+8 heads in {word}"),)
    curve = EvolutionCurve(POINTS, marks, (Reference(word, 0.4),), title=f"{word}: 64-10")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plot_evolution(curve).savefig(io.BytesIO())


def test_the_picture_can_be_drawn_into_axes_of_the_caller() -> None:
    mine = Figure()
    first, second = mine.subplots(2, 1)
    assert plot_evolution(EvolutionCurve(POINTS), axes=(first, second)) is mine


def test_no_global_state_of_matplotlib_is_changed() -> None:
    before = dict(matplotlib.rcParams)
    plot_evolution(EvolutionCurve(POINTS, MARKS, title="a title"))
    assert dict(matplotlib.rcParams) == before


@pytest.mark.parametrize(
    ("points", "message"),
    [((), "at least one point"), (POINTS[::-1], "in order of time")],
)
def test_what_cannot_be_drawn_is_refused(points: tuple[EvolutionPoint, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        plot_evolution(EvolutionCurve(points))
