"""Conditions of a question: how far they are met, what they weigh, how they are put together."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from structure_net.errors import SearchError
from structure_net.logging.search import ExperimentFacts, ExperimentIndex
from structure_net.logging.search.amounts import Amounts
from structure_net.logging.search.conditions import (
    Condition,
    OfChange,
    OfNumber,
    OfRank,
    OfTrait,
    OfWord,
)
from structure_net.logging.search.grading import ramp, scale
from structure_net.logging.search.places import Places, nouns, signs
from structure_net.logging.search.quantities import Quantity
from structure_net.logging.search.rows import Rows
from structure_net.logging.search.scoring import Answer, Likeness, Wanted, unmet
from structure_net.logging.search.tokens import Token, tokens_of, widths_in
from structure_net.logging.search.wording import mended, merged, vocabulary


def facts(name: str, **known: object) -> ExperimentFacts:
    return ExperimentFacts(name=name, **known)  # type: ignore[arg-type]  # as the tests say


@pytest.fixture
def index(tmp_path: Path) -> Iterator[ExperimentIndex]:
    opened = ExperimentIndex(tmp_path, engine="numpy")
    opened.add(
        facts("a", density=0.02, widths=(8, 4, 2), parameters=100, dataset="mnist"),
        facts("b", density=0.5, widths=(8, 16, 2), parameters=1_000, dataset="mnist"),
        facts("c", density=1.0, widths=(8, 9, 9, 2), parameters=90_000, dataset="digits"),
        facts("d", start_widths=(8, 4, 2), widths=(8, 16, 2), parameters=5_000, text="noisy"),
    )
    yield opened
    opened.close()


def rows_of(index: ExperimentIndex) -> Rows:
    return index._current()  # what its conditions are asked about


def numbers(text: str) -> dict[str, tuple[str, float]]:
    """The first field of each number of a question, with its comparison and value."""
    places = Places(
        tokens_of(text), {("momentum",): Quantity(("momentum",), ("momentum",), "plain")}
    )
    parts = [part for one in Amounts(places).conditions() for part in one.parts]
    return {p.fields[0]: (p.sign, round(p.value, 6)) for p in parts if isinstance(p, OfNumber)}


@pytest.mark.parametrize(
    ("text", "field", "sign", "value"),
    [
        ("fewer than 20k parameters", "parameters", "<", 20_000),
        ("at least 1.5 million params", "parameters", ">", 1_500_000),
        ("no more than 10,000 connections", "connections", "<", 10_000),
        ("accuracy above 97 %", "accuracy", ">", 0.97),
        ("an error below 3%", "accuracy", ">", 0.97),
        ("97 % on train", "train_accuracy", "=", 0.97),
        ("sparsity of ninety-five percent", "density", "=", 0.05),
        ("twenty thin layers", "depth", "=", 20),
        ("three hidden layers", "hidden", "=", 3),
        ("batch size of 512", "batch_size", "=", 512),
        ("lr 1e-3", "learning_rate", "=", 0.001),
        ("around 50 epochs", "epochs", "~", 50),
        ("took over two hours", "seconds", ">", 7200),
        ("more than a day", "seconds", ">", 86_400),
        ("half an hour", "seconds", "~", 1800),
        ("pruned twice", "edits.", "=", 2),
        ("momentum .9", "momentum", "=", 0.9),
        ("grew to four times its size", "growth", "~", 4),
        ("tripled its width", "width_growth", "~", 3),
        ("cut to a third", "growth", "~", 1 / 3),
        ("lost 60 % of its weights", "growth", "~", 0.4),
        ("a bottleneck of 4", "narrowest", "=", 4),
    ],
)
def test_numbers_are_of_what_the_words_beside_them_say(
    text: str, field: str, sign: str, value: float
) -> None:
    found = numbers(text)[field]
    assert found[0] == sign
    assert math.isclose(found[1], value, rel_tol=1e-5)


@pytest.mark.parametrize(
    "text",
    [
        "cifar-10",
        "resnet50",
        "after 5 epochs",
        "at epoch 7",
        "one by one",
        "only better once it grew",
    ],
)
def test_numbers_in_names_and_times_are_no_sizes(text: str) -> None:
    assert numbers(text) == {}


def test_a_change_is_met_where_both_ends_are(index: ExperimentIndex) -> None:
    (asked,) = (c for c in index.asked("grown from 4 to 16 neurons").conditions if len(c.parts) > 1)
    part = next(one for one in asked.parts if isinstance(one, OfChange))
    assert part.grades(rows_of(index)).tolist() == [0.0, 0.0, 0.0, 1.0]
    assert part.total(rows_of(index)) == 1.0


def test_a_comparison_that_is_met_counts_fully_and_one_that_is_not_the_less_the_farther(
    index: ExperimentIndex,
) -> None:
    below = OfNumber(("parameters",), "<", 1_000, "size").grades(rows_of(index))
    assert below[:2].tolist() == [1.0, 1.0]
    assert 1 > below[3] > below[2] >= 0
    assert OfNumber(("no_such_field",), "=", 1, "size").total(rows_of(index)) == 0.0


def test_an_order_is_among_those_that_are_asked_for(index: ExperimentIndex) -> None:
    largest = OfRank("parameters", largest=True)
    assert np.argmax(largest.grades(rows_of(index), np.ones(4, dtype=bool))) == 2
    assert np.argmax(largest.grades(rows_of(index), np.array([1, 1, 0, 0], dtype=bool))) == 1
    assert index.find("the largest network on mnist")[0].name == "b"
    assert index.find("the smallest network")[0].name == "a"
    assert index.find("the most parameters")[0].name == "c"


def test_what_contradicts_costs_more_than_near_misses(index: ExperimentIndex) -> None:
    said = Condition("x", (OfWord("noisy"),))
    half, nothing = said.loss(np.array([0.5, 0.0]))
    assert nothing == pytest.approx(1.0, abs=1e-12)
    assert half < nothing / 2
    denied = Condition("x", (OfWord("noisy"),), denied=True)
    assert denied.grades(rows_of(index)).tolist() == [1.0, 1.0, 1.0, 0.0]
    assert said.weight(rows_of(index)) > denied.weight(rows_of(index)) > 0


def test_the_clearest_case_of_a_trait_counts_fully(index: ExperimentIndex) -> None:
    grades = OfTrait("sparse").grades(rows_of(index))
    assert grades[0] == 1.0
    assert grades[2] == 0.0


def test_a_question_says_how_it_was_understood(index: ExperimentIndex) -> None:
    asked = index.asked("the sparsest mnist net with at least 500 parameters, not noisy")
    assert asked.told == "data set mnist; parameters > 500; least density; not unstable (noisy)"
    wanted: Wanted = Answer(asked)
    scores = wanted.scores(rows_of(index), np.arange(4))
    assert np.argmax(scores) == 1
    assert wanted.proposed(rows_of(index)) is None


def test_what_nothing_meets_is_told(index: ExperimentIndex) -> None:
    (said,) = index.unmet("more than 2 million parameters")
    assert "No run has parameters > 2000000" in said
    assert index.unmet("more than 200 parameters") == ()
    everything = np.arange(4)
    conditions = index.asked("fewer than 5 parameters").conditions
    assert unmet(conditions, rows_of(index), everything) == ["parameters < 5"]
    said = index.unmet("", where={"dataset": "mnist", "parameters": {">": 5_000}})
    assert said == (
        "Without the filter on dataset, 1 runs pass.",
        "Without the filter on parameters, 2 runs pass.",
    )
    (said,) = index.unmet("", where={"dataset": "svhn", "density": {"<": 0.6}})
    assert said == "No run passes the filter on dataset; 2 pass the others."


@pytest.mark.parametrize(
    "text",
    [
        "?!",
        "日本語",
        "что это",
        "🦄" * 50,
        "x" * 10_000,
        "the of and",
        "\x00\x01",
        "% % %",
    ],
)
def test_nonsense_is_refused_in_words(index: ExperimentIndex, text: str) -> None:
    with pytest.raises(SearchError, match="says anything about the experiments"):
        index.find(text)


@pytest.mark.parametrize(
    "text", ["sparse " * 3_000, "sparse 1e999 parameters", "0 layers sparse", "sparse -- 'DROP"]
)
def test_odd_questions_are_answered_all_the_same(index: ExperimentIndex, text: str) -> None:
    assert index.find(text)[0].name in "abcd"


def test_likeness_is_nearness_of_structure(index: ExperimentIndex) -> None:
    vector = rows_of(index).structure[1]
    scores = Likeness(vector).scores(rows_of(index), np.arange(4))
    assert (np.argmax(scores), scores[1]) == (1, 1.0)


def test_words_and_numbers_of_a_text_are_told_apart() -> None:
    tokens = tokens_of("Twenty-five layers, 10,000 units (98% of NeuronSplit)")
    assert [token.number for token in tokens if token.number is not None] == [25.0, 10_000.0, 98.0]
    assert {token.clause for token in tokens} == {0, 1, 2}
    assert isinstance(tokens[0], Token)
    assert widths_in("a 784-256-10 net")[0] == ["784-256-10"]
    assert widths_in("widths 16 32 64 128")[0] == ["16-32-64-128"]
    assert ("sparsity",) in nouns()
    assert signs("before")["at", "least"] == ">"


def test_typing_errors_are_mended_and_other_words_left_alone() -> None:
    said = mended(tokens_of("convolutonal plateued spite house"), {})
    stems = [token.stem for token in said]
    assert {"convolutional", "plateau"} <= set(stems)
    assert stems[2] in {"spit", "spite"}
    assert "plateau" in vocabulary()
    assert merged(tokens_of("it got stuck at the end"))[0].stem == "stuck"


def test_grades_go_from_nothing_to_one() -> None:
    assert [ramp(x, 2, 4) for x in (1, 2, 3, 4, 5)] == [0, 0, 0.5, 1, 1]
    assert scale(10, 1, 100) == pytest.approx(0.5, abs=1e-12)
