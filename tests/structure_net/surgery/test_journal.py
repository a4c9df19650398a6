"""A journal keeps what happened, survives its file, and refuses a damaged one in one clear line."""

from __future__ import annotations

import copy
import dataclasses
import json
from typing import Any, get_args, get_type_hints

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from structure_net.core.pairs import PairTuple
from structure_net.errors import JournalError
from structure_net.surgery.edits import (
    AddNeurons,
    Edit,
    RemoveConnections,
    RemoveNeurons,
    SplitNeurons,
)
from structure_net.surgery.entries import EditEntry, Entry, EventEntry, WidthChange
from structure_net.surgery.journal import Journal
from structure_net.surgery.records import edit_from_data, edit_to_data, journal_schema


def edits_of(kind: type[Any]) -> st.SearchStrategy[Any]:
    numbers = {
        name: st.floats(allow_nan=False, allow_infinity=False)
        for name, hint in get_type_hints(kind).items()
        if hint is float
    }
    return st.builds(kind, **numbers)


EDITS: st.SearchStrategy[Edit] = st.one_of([edits_of(kind) for kind in get_args(Edit)])
JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
WIDTHS = st.none() | st.integers(0, 10_000)
EDIT_ENTRIES = st.builds(
    EditEntry,
    edit=EDITS,
    iteration=st.integers(0, 99),
    component=st.text(),
    reason=st.text(),
    seed=st.integers(0, 2**63 - 1),
    changes=st.lists(st.builds(WidthChange, st.text(), WIDTHS, WIDTHS), max_size=3).map(tuple),
)
EVENT_ENTRIES = st.builds(
    EventEntry,
    kind=st.text(),
    iteration=st.integers(0, 99),
    component=st.text(),
    detail=st.dictionaries(st.text(), JSON, max_size=3),
)


def example() -> Journal:
    return Journal(
        [
            EventEntry("start", detail={"layers": {"fc1": 8}}),
            EditEntry(AddNeurons("fc1", 2), 0, "growth", "dead ratio 0.4", 7),
            EventEntry("epoch", 0, detail={"loss": 0.5}),
            EditEntry(SplitNeurons("fc1", (1, 3), 0.1), 1, "growth", "saturated", 8),
        ]
    )


def test_data_of_no_edit_are_refused() -> None:
    written = edit_to_data(SplitNeurons("fc1", (1, 3)))
    for wrong in ({}, {"type": "Split"}, written | {"indices": 3}, written | {"more": 1}):
        with pytest.raises(JournalError, match="The data of an edit: "):
            edit_from_data(wrong)
    with pytest.raises(JournalError, match="must be JSON data"):
        edit_from_data(written | {"indices": object()})


def data() -> dict[str, Any]:
    content: dict[str, Any] = json.loads(example().to_json())
    return content


@given(edit=EDITS)
def test_every_edit_comes_back_from_json_equal_and_of_the_same_type(edit: Edit) -> None:
    data = json.loads(json.dumps(edit_to_data(edit)))
    assert data["type"] == type(edit).__name__
    assert edit_from_data(data) == edit
    entry = Journal.from_json(Journal([EditEntry(edit, 0, "growth", "dead", 0)]).to_json())[0]
    assert isinstance(entry, EditEntry)
    back = entry.edit
    assert back == edit
    assert type(back) is type(edit)
    assert hash(back) == hash(edit)


@settings(max_examples=50)
@given(entries=st.lists(EDIT_ENTRIES | EVENT_ENTRIES, max_size=5))
def test_a_journal_comes_back_from_json_equal_with_its_times(entries: list[Entry]) -> None:
    journal = Journal(entries)
    back = Journal.from_json(journal.to_json())
    assert back == journal
    assert [entry.time for entry in back] == [entry.time for entry in journal]


def test_every_member_of_the_union_of_edits_is_tried() -> None:
    assert len(get_args(Edit)) >= 17
    assert all(get_type_hints(kind) for kind in get_args(Edit))


def test_equality_ignores_times_and_nothing_else() -> None:
    first = EditEntry(AddNeurons("fc1", 2), time="2026-01-01T00:00:00+00:00")
    assert first == EditEntry(AddNeurons("fc1", 2), time="2027-01-01T00:00:00+00:00")
    for name, value in {
        "edit": AddNeurons("fc1", 3),
        "iteration": 1,
        "component": "growth",
        "reason": "why",
        "seed": 1,
        "changes": (WidthChange("fc1", 1, 2),),
    }.items():
        assert dataclasses.replace(first, **{name: value}) != first  # type: ignore[arg-type]


def test_a_fork_goes_on_by_itself() -> None:
    journal = example()
    for twin in (journal.fork(), copy.copy(journal), copy.deepcopy(journal)):
        assert twin == journal
        assert twin.changes == journal.changes
        twin.append(EventEntry("epoch"))
        assert len(twin) == len(journal) + 1
        assert twin.changes == journal.changes + 1


def test_edits_and_events_are_told_apart_in_order() -> None:
    journal = example()
    assert [entry.edit for entry in journal.edits] == [
        AddNeurons("fc1", 2),
        SplitNeurons("fc1", (1, 3), 0.1),
    ]
    assert [event.kind for event in journal.events()] == ["start", "epoch"]
    assert journal.events("epoch") == (journal[2],)
    assert journal[1:3] == Journal([journal[1], journal[2]])


def test_numbers_of_other_libraries_become_plain_ones() -> None:
    edit = RemoveNeurons("fc1", tuple(np.arange(2)))
    entry = EditEntry(edit)
    event = EventEntry("epoch", detail={"loss": torch.tensor(0.5), "n": np.int64(3), "t": (1, 2)})
    assert [type(index) for index in entry.edit.indices] == [int, int]  # type: ignore[union-attr]
    assert event.detail == {"loss": 0.5, "n": 3, "t": [1, 2]}
    assert Journal.from_json(Journal([entry, event]).to_json()) == Journal([entry, event])


def test_an_edit_of_many_pairs_is_noted_as_it_is() -> None:
    pairs = PairTuple.of(np.arange(20).reshape(10, 2))
    edit = RemoveConnections("fc", pairs)
    assert EditEntry(edit).edit is edit  # not read pair by pair
    assert Journal.from_json(Journal([EditEntry(edit)]).to_json()).edits[0].edit == edit


def test_numbers_that_are_not_finite_become_words() -> None:
    infinity = float("inf")
    event = EventEntry("epoch", detail={"a": float("nan"), "b": infinity, "c": -infinity})
    assert event.detail == {"a": "NaN", "b": "Infinity", "c": "-Infinity"}


def test_detail_that_is_no_json_is_refused_with_its_place() -> None:
    with pytest.raises(TypeError, match=r"detail\.rows\[1\] must be JSON data .* got tensor"):
        EventEntry("epoch", detail={"rows": [1, torch.zeros(2)]})
    with pytest.raises(TypeError, match="strings as keys; got 3"):
        EventEntry("epoch", detail={3: 1})  # type: ignore[dict-item]


def test_an_edit_with_a_number_that_is_not_finite_is_refused() -> None:
    with pytest.raises(ValueError, match="'noise' of an edit must be finite; got nan"):
        EditEntry(SplitNeurons("fc1", (1,), float("nan")))


def test_only_entries_are_appended() -> None:
    with pytest.raises(TypeError, match="got AddNeurons"):
        Journal().append(AddNeurons("fc1", 2))  # type: ignore[arg-type]


def test_a_journal_is_saved_and_loaded(tmp_path: Any) -> None:
    path = tmp_path / "journal.json"
    example().save(path)
    example().save(path)
    assert Journal.load(path) == example()
    assert [file.name for file in tmp_path.iterdir()] == ["journal.json"]


def test_a_file_that_cannot_be_read_or_written_is_a_journal_error(tmp_path: Any) -> None:
    with pytest.raises(JournalError, match=r"nowhere.json' cannot be read: No such file"):
        Journal.load(tmp_path / "nowhere.json")
    with pytest.raises(JournalError, match=r"cannot be written to .*: No such file"):
        example().save(tmp_path / "nowhere" / "journal.json")


def broken(change: Any) -> str:
    content = data()
    change(content)
    return json.dumps(content)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", r"j.json: this is no JSON"),
        (b"\xff\xfe", r"j.json: this is no JSON"),
        ("[]", r"j.json: this is no journal; 'format' must be 'structure_net.journal'"),
        (broken(lambda c: c.update(format="x")), r"this is no journal"),
        (broken(lambda c: c.update(version=3)), r"version 3; this program reads up to 2. Update"),
        (broken(lambda c: c.update(version="1")), r"'version' must be a whole number .* got '1'"),
        (broken(lambda c: c.update(mood="good")), r"j.json: field 'mood' is not known"),
        (broken(lambda c: c.pop("entries")), r"j.json: field 'entries' is missing"),
        (
            broken(lambda c: c["entries"][1]["edit"].update(count="3")),
            r"j.json: entry 1, field 'edit.count' is wrong: .* valid integer; got '3'",
        ),
        (
            broken(lambda c: c["entries"][3]["edit"]["indices"].append(None)),
            r"j.json: entry 3, field 'edit.indices.2' is wrong: .*; got None",
        ),
        (
            broken(lambda c: c["entries"][1]["edit"].update(rate=3)),
            r"entry 1, field 'edit.rate' is not known; .* newer version than this program reads",
        ),
        (
            broken(lambda c: c["entries"][1]["edit"].update(type="AddLuck")),
            r"entry 1, field 'edit' is wrong: .*AddLuck",
        ),
        (broken(lambda c: c["entries"][2].pop("kind")), r"entry 2, field 'kind' is missing"),
        (broken(lambda c: c["entries"][2].update(type="x")), r"entry 2 is wrong"),
        (
            broken(lambda c: c["entries"][1].update(seed=-1, iteration="0")),
            r"entry 1, field 'iteration' is wrong: .* \(1 more problem\)",
        ),
    ],
)
def test_a_damaged_journal_is_refused_in_one_line(text: str | bytes, message: str) -> None:
    with pytest.raises(JournalError, match=message) as caught:
        Journal.from_json(text, source="j.json")
    assert "\n" not in str(caught.value)


def test_the_schema_accepts_what_is_written() -> None:
    jsonschema = pytest.importorskip("jsonschema")
    jsonschema.validate(data(), journal_schema())
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**data(), "mood": "good"}, journal_schema())
