"""Questions about when, about what was done to what, and about shapes of curves."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from structure_net.logging.search import ExperimentFacts, ExperimentIndex, fields_of
from structure_net.logging.search.conditions import Condition, OfNumber, OfTime, OfTrait
from structure_net.logging.search.curves import as_losses, shape_of
from structure_net.logging.search.deeds import bound, counted, deeds
from structure_net.logging.search.describing import traits_of
from structure_net.logging.search.events import events_of
from structure_net.logging.search.learning import learned_of
from structure_net.logging.search.moments import (
    Mention,
    Moment,
    conditions_of,
    loosely,
    mentions_of,
    moments_of,
    spoken_of,
)
from structure_net.logging.search.naming import also_named, named_in, named_word
from structure_net.logging.search.nearness import hinted
from structure_net.logging.search.ordering import orders
from structure_net.logging.search.rows import NO_ROWS
from structure_net.logging.search.tokens import tokens_of
from structure_net.logging.search.wording import Said, spoken_phrases, understood

EPOCHS = 20
FALLING = tuple((2.0 * 0.8 ** np.arange(EPOCHS)).tolist())
PLACES = {"early": 1, "fifth": 5, "middle": 10, "late": 19}


def edited(name: str, kind: str, *epochs: int) -> ExperimentFacts:
    """A run of 20 epochs with edits behind some of them."""
    return ExperimentFacts(
        name=name,
        curves={"validation_loss": FALLING},
        edits={kind: len(epochs)},
        edited_at={kind: tuple(epoch / EPOCHS for epoch in epochs)},
    )


def at_each(kind: str) -> list[ExperimentFacts]:
    return [edited(f"{name} {kind}", kind, epoch) for name, epoch in PLACES.items()]


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("index")
    with ExperimentIndex(folder, engine="numpy") as index:
        index.add(*at_each("SplitNeurons"), *at_each("RemoveNeurons"), *at_each("InsertLayer"))
        index.add(edited("thrice", "MergeNeurons", 5, 10, 15), edited("all", "MergeNeurons", 1, 2))
    return folder


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("neurons were split in epoch 5", "fifth SplitNeurons"),
        ("split neurons within the first two epochs", "early SplitNeurons"),
        ("neurons split in the last 3 epochs", "late SplitNeurons"),
        ("neurons split halfway", "middle SplitNeurons"),
        ("pruned neurons after half of the run", "middle RemoveNeurons"),
        ("pruned neurons in the last quarter", "late RemoveNeurons"),
        ("layers inserted before epoch 3", "early InsertLayer"),
        ("layers inserted at epoch 10", "middle InsertLayer"),
        ("layers inserted in the second quarter", "fifth InsertLayer"),
        ("merged neurons at epochs 5, 10 and 15", "thrice"),
        ("merged neurons every five epochs", "thrice"),
        ("neurons merged every epoch", "all"),
        ("merges in each of the first two epochs", "all"),
        ("neurons merged three times", "thrice"),
    ],
)
def test_a_time_is_of_what_is_spoken_of_beside_it(index: Path, text: str, name: str) -> None:
    with ExperimentIndex(index, engine="numpy") as opened:
        assert opened.find(text, n=1)[0].name == name, opened.asked(text).told


@pytest.mark.parametrize(
    ("text", "windows", "unit"),
    [
        ("the first four epochs", ((0.0, 4.0),), "epoch"),
        ("the last 3 epochs", ((0.0, 3.0),), "left"),
        ("epochs 5 and 10", ((5.0, 5.0), (10.0, 10.0)), "epoch"),
        ("epochs 10 to 20", ((10.0, 20.0),), "epoch"),
        ("every 7 epochs", ((7.0, 7.0),), "spacing"),
        ("the tenth epoch", ((10.0, 10.0),), "epoch"),
        ("the second half", ((0.5, 1.0),), "run"),
        ("the last quarter", ((0.75, 1.0),), "run"),
        ("the first 10 percent of training", ((0.0, 0.1),), "run"),
        ("the middle third", ((1 / 3, 2 / 3),), "run"),
    ],
)
def test_times_are_read_to_the_epoch(
    text: str, windows: tuple[tuple[float, float], ...], unit: str
) -> None:
    (found,) = moments_of(tokens_of(text))
    assert isinstance(found, Moment)
    assert found.unit == unit
    assert np.allclose(found.windows, windows)


@pytest.mark.filterwarnings("error")
def test_a_time_beyond_all_numbers_is_far_from_all(index: Path) -> None:
    with ExperimentIndex(index, engine="numpy") as opened:
        found = opened.find(f"neurons were split after epoch {'9' * 400}")
    assert np.isfinite([one.score for one in found]).all()


def test_a_fraction_of_the_weights_is_no_time() -> None:
    assert moments_of(tokens_of("half of the weights were removed, a third remained")) == []


def test_events_are_where_the_curve_has_them() -> None:
    losses = (1.0, 0.8, 0.6, 0.5, 0.9, 0.85, 0.5, 0.4, float("nan"), float("nan"))
    facts = ExperimentFacts(name="a", curves={"validation_loss": losses})
    found = events_of(facts)
    assert found["fell"] == (0.5,)
    assert found["jumped"] == (0.7,)
    assert found["best"] == (0.8,)
    assert found["broke"] == (0.9,)
    assert found["ended"] == (1.0,)
    assert fields_of(facts)["at.broke"] == (0.9,)
    assert as_losses("validation_accuracy", np.array([0.25]))[0] == 0.75


@pytest.mark.parametrize(
    ("trait", "curve"),
    [
        ("waves", 0.7 + 0.2 * np.cos(np.arange(60) / 2.5)),
        ("staircase", [0.1] * 6 + [0.4] * 6 + [0.7] * 6),
        ("straight", np.linspace(0.2, 0.9, 20)),
        ("second_wind", [0.1, 0.3, 0.5, *[0.6] * 12, 0.7, 0.8, 0.85, 0.86, 0.87]),
    ],
)
def test_a_kind_of_curve_is_told_from_a_smooth_one(trait: str, curve: list[float]) -> None:
    smooth = 0.9 - 0.8 * np.exp(-8 * np.linspace(0, 1, 20))
    grades = [
        traits_of(ExperimentFacts(name="a", curves={"validation_accuracy": tuple(values)})).get(
            trait, 0.0
        )
        for values in (curve, smooth.tolist())
    ]
    assert grades[0] > 0.8
    assert grades[1] < 0.2
    assert learned_of(shape_of("validation_accuracy", tuple(smooth.tolist()))) == 1.0


@pytest.mark.parametrize(
    ("text", "traits"),
    [
        ("neurons were added and later removed", {"added_neurons", "removed_neurons"}),
        ("we put heads in and threw layers out", {"heads", "removed_layer"}),
        ("news about layers", set()),
        ("no layers were removed", set()),
    ],
)
def test_verbs_find_their_objects(text: str, traits: set[str]) -> None:
    tokens = tokens_of(text)
    said = understood(tokens)
    parts = [part for one in deeds(tokens, said) for part in one.parts]
    found = {part.trait for part in parts if isinstance(part, OfTrait)}
    told = {name for one in said for name in one.concepts if not one.denied}
    assert traits <= found | told
    assert traits or not found


def test_a_number_without_a_name_is_of_the_edits_beside_it() -> None:
    tokens = tokens_of("residual blocks, five in all")
    mention = Mention(("AddResidualBlock",), (0, 1), 0, "residual blocks")
    assert spoken_of(2, 1, [mention]) == (("AddResidualBlock",), "residual blocks")
    five = next(token for token in tokens if token.number == 5)
    part = counted(five, [mention]).parts[0]
    assert isinstance(part, OfNumber)
    assert part.fields == ("edits.AddResidualBlock",)
    some = Condition("twice", (OfNumber(("edits.",), "=", 2, "count"),), at=2)
    bounded = bound(some, [mention]).parts[0]
    assert isinstance(bounded, OfNumber)
    assert bounded.fields[0] == "edits.AddResidualBlock"


def test_a_loose_time_is_of_what_happens() -> None:
    said = understood(tokens_of("layers inserted late"))
    mentions = mentions_of(said, [])
    late = Said(("late_edits",), "", False, "late", True, (2,))
    (when,) = loosely(late, mentions)
    assert isinstance(when, OfTime)
    assert when.events[0] == "InsertLayer"
    assert loosely(late, []) == ()
    assert list(conditions_of([], mentions)) == []


@pytest.mark.parametrize(
    ("word", "trait"),
    [("flatlinish", "plateau"), ("overfittingly", "overfit"), ("qzxw", ""), ("the", "")],
)
def test_an_unknown_word_hints_at_what_is_spelled_like_it(word: str, trait: str) -> None:
    assert hinted(word) == trait
    assert all(words and concepts for words, concepts in spoken_phrases())


def test_the_second_of_an_order_is_told_from_the_first(tmp_path: Path) -> None:
    with ExperimentIndex(tmp_path, engine="numpy") as opened:
        opened.add(*(ExperimentFacts(name=f"{n}", parameters=n) for n in (10, 300, 2000)))
        assert opened.find("the largest net")[0].name == "2000"
        assert opened.find("the second largest net")[0].name == "300"
        assert opened.find("the third largest net")[0].name == "10"
    assert orders([], NO_ROWS) == []


def test_what_is_left_and_what_changed_are_read_as_factors(tmp_path: Path) -> None:
    with ExperimentIndex(tmp_path, engine="numpy") as opened:
        for name, after in (("eighth", 1000), ("half", 4000), ("kept", 8000)):
            opened.add(ExperimentFacts(name=name, start_parameters=8000, parameters=after))
        opened.add(ExperimentFacts(name="sparse", start_density=1.0, density=0.05))
        opened.add(ExperimentFacts(name="sparser", start_density=0.2, density=0.05))
        assert opened.find("an eighth of the parameters was left")[0].name == "eighth"
        assert opened.find("8k -> 4k parameters")[0].name == "half"
        assert opened.find("from dense down to 5 %")[0].name == "sparse"


def test_data_sets_are_found_by_what_is_known_of_them(tmp_path: Path) -> None:
    with ExperimentIndex(tmp_path, engine="numpy") as opened:
        opened.add(ExperimentFacts(name="a", dataset="svhn"))
        opened.add(ExperimentFacts(name="b", dataset="california_housing"))
        assert opened.find("house numbers")[0].name == "a"
        assert opened.find("house prices")[0].name == "b"
        rows = opened._current()
        named, left = named_in(tokens_of("house numbers"), rows)
        assert [one.sureness for one in named] == ["named"]
        assert left == []
        assert named_word("svhn", "svhn").shown == "'svhn'"
        assert {part.word for part in also_named("street view", rows)} == {"dataset=svhn"}
