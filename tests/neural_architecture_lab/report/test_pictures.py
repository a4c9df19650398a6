from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from neural_architecture_lab import LabConfig, NeuralArchitectureLab
from neural_architecture_lab.report.fronts import Front, front_of
from neural_architecture_lab.report.gathering import Section
from neural_architecture_lab.report.pictures import (
    compared,
    curve_names,
    curves_svg,
    effects_svg,
    front_svg,
    grew,
    growth_svg,
    seeds_svg,
)
from tests.neural_architecture_lab.report.reported import hypothesis


@pytest.fixture(scope="module")
def section(tmp_path_factory: pytest.TempPathFactory) -> Section:
    folder: Path = tmp_path_factory.mktemp("lab")
    lab = NeuralArchitectureLab(LabConfig(results_dir=folder))
    lab.run_hypothesis_test(lab.register_hypothesis(hypothesis()))
    return lab.generate_report().sections[0]


@pytest.mark.parametrize("draw", [effects_svg, seeds_svg, curves_svg, growth_svg])
def test_a_picture_is_svg_and_the_same_for_the_same_numbers(
    draw: Callable[[Section], str], section: Section
) -> None:
    text = draw(section)
    assert ET.fromstring(text).tag.endswith("svg")
    assert draw(section) == text


def test_both_arms_are_on_the_front_where_each_is_better_in_one_thing(section: Section) -> None:
    front = front_of(section)
    assert isinstance(front, Front)
    assert (front.cost, front.goal, front.arms) == ("parameters", "accuracy", ("fixed", "grown"))
    assert front.best == (True, True)
    assert front.sure == (1.0, 1.0)
    assert ET.fromstring(front_svg(front)).tag.endswith("svg")


def test_what_is_drawn_is_what_there_is(section: Section) -> None:
    assert compared(section) == ("accuracy", "parameters")
    assert curve_names(section) == ("validation_accuracy",)
    assert grew(section)
