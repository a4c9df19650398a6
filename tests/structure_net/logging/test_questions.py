"""What a question in words asks for: by families of words, by shares, by changes of width."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.ordinary import others
from structure_net.logging.search import ExperimentFacts, ExperimentIndex
from structure_net.logging.search.conditions import OfNumber


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("index")
    with ExperimentIndex(folder, engine="numpy") as index:
        index.add(*others(50))
    return folder


@pytest.mark.parametrize(
    ("text", "trait"),
    [
        ("accuracy dropped", "recovered"),
        ("the quality plunged all of a sudden, then bounced back", "recovered"),
        ("deleted a quarter of the filters", "shrank"),
        ("nearly all modifications were vetoed", "mostly_taken_back"),
        ("expanded in the final epochs", "late_edits"),
        ("the objective increased and the run exploded", "diverged"),
        ("no increase in depth", ""),
    ],
)
def test_words_of_one_family_say_the_same(index: Path, text: str, trait: str) -> None:
    with ExperimentIndex(index, engine="numpy") as opened:
        found = {name for name, weight in opened.asked(text).traits.items() if weight > 0}
    assert trait in found if trait else not found


@pytest.mark.parametrize(
    ("text", "field", "value"),
    [
        ("98% sparsity", "density", 0.02),
        ("sparsity of 98 percent", "density", 0.02),
        ("two percent of the connections", "density", 0.02),
        ("sixty weights, 5 % of them", "density", 0.05),
        ("12% correct", "accuracy", 0.12),
        ("above 91% with few connections", "accuracy", 0.91),
        ("60 % density", "density", 0.6),
    ],
)
def test_a_share_is_of_what_the_words_beside_it_say(
    index: Path, text: str, field: str, value: float
) -> None:
    with ExperimentIndex(index, engine="numpy") as opened:
        conditions = opened.asked(text).conditions
    parts = [part for one in conditions for part in one.parts if isinstance(part, OfNumber)]
    assert any(field in part.fields and abs(part.value - value) < 1e-9 for part in parts)


def test_a_change_of_width_is_found_by_its_numbers(tmp_path: Path) -> None:
    grown = {"start_widths": (64, 16, 8, 10), "widths": (64, 16, 24, 10)}
    with ExperimentIndex(tmp_path, engine="numpy") as opened:
        opened.add(ExperimentFacts(name="a", widths=(64, 8, 24, 10)))
        opened.add(ExperimentFacts(name="b", **grown))
        opened.add(ExperimentFacts(name="c", widths=(64, 8, 24, 10)))
        assert opened.find("a layer that went from 8 to 24")[0].name == "b"
