from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from neural_architecture_lab import (
    Arm,
    Hypothesis,
    LabConfig,
    NeuralArchitectureLab,
    Outcome,
    Prediction,
    Trial,
)
from neural_architecture_lab.report.fronts import Front, front_of
from neural_architecture_lab.report.gathering import Section
from neural_architecture_lab.report.pictures import (
    Unit,
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


def in_a_unit(trial: Trial, *, device: str) -> Outcome:
    """A loss that falls with the dose, in any unit, and costs."""
    own = 0.9 + 0.01 * (trial.seed * 7 % 5) - 0.02 * (trial.seed % 2) * (trial.arm == "b")
    dosed = 1 - 0.1 * float(str(trial.settings["dose"]))
    value = own * dosed * (0.5 if trial.arm == "a" else 1.0) * float(str(trial.settings["unit"]))
    return Outcome({"loss": value, "parameters": value / 2}, {"loss": [value, value / 2]})


@pytest.mark.parametrize("unit", [1.79e308, 1e-310], ids=["huge", "tiny"])
def test_numbers_of_any_size_are_judged_reported_and_drawn(unit: float, tmp_path: Path) -> None:
    arms = (Arm("a", {"unit": unit}, control=True), Arm("b", {"unit": unit}))
    claim = Hypothesis(
        name="Units",
        category="training",  # type: ignore[arg-type]
        question="?",
        prediction="!",
        experiment=in_a_unit,
        arms=arms,
        factors={"dose": [1, 2, 3, 4]},
        predictions=(Prediction("loss", "higher", unit / 100),),
        seeds=6,
    )
    lab = NeuralArchitectureLab(LabConfig(results_dir=tmp_path))
    result = lab.run_hypothesis_test(lab.register_hypothesis(claim))
    assert result.verdict.value == "supported"
    assert {one.kind for one in lab.extract_insights()} >= {"factor", "trend"}
    page = lab.generate_report().save_html(tmp_path / "report.html").read_text()
    assert page.count("data:image/svg") >= 4
    assert str(unit)[-4:-1] in str(lab.generate_report())


def test_an_axis_says_its_unit_where_numbers_are_far_from_one() -> None:
    for value, name in ((3.0, "loss"), (0.0, "loss"), (2e200, "loss (in 1e+200)")):
        assert Unit.of([value, -value / 2]).name("loss") == name
    assert Unit.of([4e-310])(4e-310) == pytest.approx(4, rel=1e-6)
    assert Unit.of([float("inf"), 2e300])(1e300) == pytest.approx(1)
    assert Unit()(2.5) == 2.5
