"""A report is written whole or not at all, from one look that changes nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from structure_net.core import create_standard_network
from structure_net.data import load_dataset
from structure_net.errors import RunError
from structure_net.evolution.components import NetworkContext, create_standard_evolution_system
from structure_net.evolution.components.analyzers import ChainBarcode
from structure_net.evolution.metrics import Unavailable, map_barcode
from structure_net.runs.analysis import (
    PICTURES,
    TOPICS,
    DataChoice,
    PageFacts,
    Picture,
    Report,
    Subject,
    drawn,
    free_place,
    look,
    pictures_of,
    render_page,
    subject_of,
    topics_of,
    write_report,
)
from structure_net.surgery import Journal, save_checkpoint

CHEAP = ("network", "extrema")


@pytest.fixture(scope="module")
def subject() -> Subject:
    digits = load_dataset("digits", seed=0)
    context = NetworkContext(
        create_standard_network([64, 16, 10], density=0.2, seed=0),
        digits.train.batches(64, shuffle=True, seed=0),
    )
    evolved = create_standard_evolution_system(epochs=1).evolve_network(context, 1)
    return Subject("net", evolved, digits, 64, 0)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    # Whatever was written, no draft stays beside it.
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_a_report_lies_where_it_was_asked_for(subject: Subject, place: Path) -> None:
    report = write_report(subject, place / "deep" / "report", topics=CHEAP, batches=2)
    assert isinstance(report, Report)
    assert report.page.is_file()
    stored = json.loads((report.folder / "analysis.json").read_text())
    assert stored == report.document


def test_an_empty_folder_is_taken(subject: Subject, place: Path) -> None:
    (place / "report").mkdir()
    out = free_place(place / "report")
    assert write_report(subject, out, topics=["network"], batches=1).page.is_file()


@pytest.mark.parametrize("moment", ["extrema", "picture extrema"])
def test_a_report_that_is_interrupted_leaves_nothing(
    subject: Subject, place: Path, moment: str
) -> None:
    def told(what: str, _: float) -> None:
        if what == moment:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_report(subject, place / "deep" / "report", topics=CHEAP, batches=1, told=told)
    assert not list(place.iterdir())


def test_an_analysis_leaves_the_network_as_it_was(subject: Subject) -> None:
    before = {n: t.clone() for n, t in subject.context.network.state_dict().items()}
    look(subject.context, CHEAP, batches=2)
    after = subject.context.network.state_dict()
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())


def test_topics_come_in_one_order_and_are_told_as_they_are_done(subject: Subject) -> None:
    told: list[str] = []
    found = look(subject.context, topics_of(["extrema", "network"]), batches=1,
                 told=lambda what, _: told.append(what))  # fmt: skip
    assert told == ["the pass over the data", "network", "extrema"]
    assert [*dict.fromkeys(key.partition("_")[0] for key in found)] == ["network", "extrema"]


def test_no_names_mean_all_topics() -> None:
    assert topics_of(None) == TOPICS
    with pytest.raises(RunError, match="name at least one topic"):
        topics_of([])


def test_every_topic_has_a_picture_or_a_place_in_one() -> None:
    pictured = {topic for one in PICTURES for topic in one.topics}
    # Performance is one of the columns of the rankings.
    assert pictured | {"performance"} == set(TOPICS)
    assert len({one.name for one in PICTURES}) == len(PICTURES)


def test_without_a_journal_there_are_no_pictures_of_one() -> None:
    names = {one.name for one in pictures_of(TOPICS, Journal())}
    assert not names & {"decision_log", "lineage"}


def test_pictures_of_many_layers_are_drawn_side_by_side(subject: Subject) -> None:
    found = look(subject.context, ["hebbian"], batches=1)
    (picture,) = [one for one in PICTURES if one.name == "coactivation"]
    assert isinstance(picture, Picture)
    png = drawn(picture, found, subject.context.journal)
    width, height = (int.from_bytes(png[place : place + 4], "big") for place in (16, 20))
    assert width > 1.5 * height


def test_every_chain_of_layers_is_drawn() -> None:
    barcode = map_barcode([torch.eye(3)])
    (picture,) = [one for one in PICTURES if one.name == "map_barcode"]

    def width(chains: int) -> int:
        found = {"homology_barcodes": (ChainBarcode("x", ("fc",), barcode),) * chains}
        return int.from_bytes(drawn(picture, found, Journal())[16:20], "big")

    assert width(3) > 1.4 * width(1)


def facts(**values: object) -> PageFacts:
    return PageFacts("net", "digits", 1, 10, 64, "", values, (), {})


def test_the_page_says_what_is_not_available_and_why() -> None:
    reason = Unavailable("too few samples")
    text = render_page(facts(one_score={"a": reason, "b": reason, "c": 1.0}, two_score=reason))
    assert "- `one_score` of `a`, `b`: too few samples" in text
    assert "- `two_score`: too few samples" in text


def test_an_order_of_layers_that_is_not_there_is_said_with_its_reason() -> None:
    text = render_page(
        facts(
            one_ranking={"b": 2.0, "a": 1.0, "c": Unavailable("?")},
            two_ranking=Unavailable("no graph"),
        )
    )
    assert "| `one` | `b` | 2 | `a` |" in text
    assert "| `two` | - | - | no graph |" in text


def test_a_bar_in_a_name_does_not_break_a_table() -> None:
    assert r"`a\|b`" in render_page(facts(one_ranking={"a|b": 1.0}))


def test_a_checkpoint_is_looked_at_on_the_data_that_are_named(
    subject: Subject, tmp_path: Path
) -> None:
    file = tmp_path / "net.safetensors"
    context = subject.context
    save_checkpoint(file, context.network, journal=context.journal, iteration=1)
    found = subject_of(file, DataChoice("digits", batch_size=32, seed=5))
    assert (found.batch_size, found.seed) == (32, 5)
    assert found.context.iteration == 1
    assert len(found.context.journal.edits) == len(context.journal.edits)
    with pytest.raises(RunError, match="Name them with --dataset"):
        subject_of(file, DataChoice())
