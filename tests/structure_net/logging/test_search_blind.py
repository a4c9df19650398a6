"""Questions of people who had not seen the index find what they mean as often as they once did."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.laboratory import laboratory
from benchmarks.planted import BLIND, LABORATORY, SIMPLE, Case, cases
from structure_net.logging.search import ExperimentIndex

FOUND = {
    "first": 20,
    "second": 19,
    "third": 18,
    "fourth": 18,
    "fifth": 20,
    "sixth": 18,
    "seventh": 18,
    "eighth": 17,
}
"""How many of each set are found first among three hundred others."""


@pytest.fixture(scope="module")
def others(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("laboratory")
    with ExperimentIndex(folder, engine="numpy") as index:
        index.add(*laboratory(300))
    return folder


@pytest.mark.parametrize("asked", list(FOUND))
def test_a_set_once_blind_is_found_at_least_as_often_as_before(others: Path, asked: str) -> None:
    planted = cases(LABORATORY[asked], asked)
    with ExperimentIndex(others, engine="numpy") as index:
        index.add(*(case.facts for case in planted))
        found = [index.find(case.question, n=1)[0].name == case.facts.name for case in planted]
        index.remove(*(case.facts.name for case in planted))
    assert sum(found) >= FOUND[asked]


def test_every_set_has_twenty_questions_and_its_blind_figures() -> None:
    for asked, about in LABORATORY.items():
        planted = cases(about, asked)
        assert len(planted) == 20
        assert all(isinstance(case, Case) for case in planted)
        assert 0 <= BLIND[asked][0] <= BLIND[asked][1] <= 20


def test_simple_experiments_are_asked_for_in_every_words() -> None:
    assert [len(cases("simple", asked)) for asked in SIMPLE] == [30, 20, 20, 20]
