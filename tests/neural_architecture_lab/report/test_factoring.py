from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from neural_architecture_lab import Range
from neural_architecture_lab.report.blocks import Grid, Heading, Picture, anchor
from neural_architecture_lab.report.factoring import Along, along_svg, factors, outcomes
from neural_architecture_lab.report.gathering import Section
from neural_architecture_lab.report.pictures import colours, panels, svg
from neural_architecture_lab.report.wording import ABSENT, duration, interval, mean, moment, number
from neural_architecture_lab.statistics import Interval
from tests.neural_architecture_lab.insights.learning import claim, ran


def section(folder: Path, **changes: object) -> Section:
    return ran(folder, claim(**changes)).generate_report().sections[0]


def test_a_grid_is_shown_by_shares_and_lines(tmp_path: Path) -> None:
    found = section(tmp_path, factors={"width": [1, 2, 9], "depth": [2, 1]}, seeds=4)
    blocks = factors(found)
    (table,) = (one for one in blocks if isinstance(one, Grid))
    assert {row[0] for row in table.rows} == {
        "width", "depth", "arm", "width × depth", "width × arm", "depth × arm"
    }  # fmt: skip
    for picture in (one for one in blocks if isinstance(one, Picture)):
        assert ET.fromstring(picture.draw()).tag.endswith("svg")
    width, depth = outcomes(found)
    assert isinstance(width, Along)
    assert (width.levels, depth.levels) == ((1, 2, 9), (1, 2))
    assert not width.drawn
    assert [len(seeds) for seeds in width.arms["a"]] == [4, 4, 4]


def test_drawn_points_are_shown_one_by_one(tmp_path: Path) -> None:
    found = section(
        tmp_path,
        factors={"width": Range(1, 90), "depth": Range(1, 5)},
        layout="latin-hypercube",
        points=12,
        seeds=2,
    )
    (table,) = (one for one in factors(found) if isinstance(one, Grid))
    assert [row[0] for row in table.rows] == ["width", "depth"]
    along = outcomes(found)
    assert all(one.drawn and len(one.levels) == 12 for one in along)
    assert along_svg(along) == along_svg(along)


def test_without_factors_there_is_nothing_of_them(tmp_path: Path) -> None:
    assert factors(section(tmp_path, seeds=2)) == []


@pytest.mark.parametrize(
    ("value", "said"),
    [(12930.0, "12930"), (12930.4, "12930"), (0.123456, "0.1235"), (1e9, "1e+09"), (3.0, "3")],
)
def test_numbers_have_no_exponent_where_they_need_none(value: float, said: str) -> None:
    assert number(value) == said


def test_an_interval_without_width_is_a_number() -> None:
    assert interval(Interval(3.0, 3.0, 3.0)) == "3"
    assert interval(Interval(0.5, 0.25, 0.75)) == "0.5 [0.25, 0.75]"
    assert (interval(None), mean([]), mean([2.0])) == (ABSENT, ABSENT, "2")
    assert mean([1.0, 3.0]).startswith("2 [")


def test_times_are_told_to_the_second() -> None:
    assert moment("2026-01-02T03:04:05.678901+00:00") == "2026-01-02 03:04:05 UTC"
    assert moment("2026-01-02T03:04:05+02:00") == "2026-01-02 01:04:05 UTC"
    assert moment("once") == "once"
    assert duration(300) == "5 min"


def test_a_table_leads_to_its_headings(tmp_path: Path) -> None:
    report = ran(tmp_path, claim("One <more>, please", seeds=2)).generate_report()
    assert f"](#{anchor('One <more>, please')})" in str(report)
    assert 'href="#one-more-please"' in report.html()
    assert '<h2 id="one-more-please">' in report.html()
    assert any(isinstance(one, Heading) for one in report.blocks())


def test_pictures_hold_as_many_axes_as_are_asked_for() -> None:
    figure, axes = panels(3, 2, 1.0)
    assert len(axes) == 3
    assert ET.fromstring(svg(figure)).tag.endswith("svg")
    assert len(set(colours(list("abcdef")))) == 6
