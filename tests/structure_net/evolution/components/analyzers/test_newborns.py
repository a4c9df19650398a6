from __future__ import annotations

from structure_net.evolution.components.analyzers.newborns import births
from structure_net.surgery import (
    AddHeads,
    AddNeurons,
    DoubleWidth,
    InsertLayer,
    Journal,
    MergeNeurons,
    RemoveLayer,
    RemoveNeurons,
    ResetNeurons,
    SplitNeurons,
)
from structure_net.surgery.edits import Edit
from structure_net.surgery.entries import OPAQUE, EditEntry, EventEntry, WidthChange


def _entry(edit: Edit, iteration: int, *changes: WidthChange) -> EditEntry:
    return EditEntry(edit, iteration, changes=changes)


def _width(before: int | None, after: int | None, layer: str = "fc") -> WidthChange:
    return WidthChange(layer, before, after)


def test_units_that_were_added_split_off_or_doubled_are_born_behind_the_others() -> None:
    journal = [
        _entry(AddNeurons("fc", 2), 1, _width(4, 6)),
        _entry(SplitNeurons("fc", (0,)), 2, _width(6, 7)),
        _entry(DoubleWidth("fc"), 3, _width(7, 14)),
    ]
    assert births(journal) == {"fc": {4: 1, 5: 1, 6: 2} | dict.fromkeys(range(7, 14), 3)}


def test_births_follow_units_through_removals_and_merges() -> None:
    journal = [
        _entry(AddNeurons("fc", 3), 1, _width(4, 7)),
        _entry(RemoveNeurons("fc", (1, 5)), 2, _width(7, 5)),
        _entry(MergeNeurons("fc", ((0, 2),)), 3, _width(5, 4)),
    ]
    assert births(journal) == {"fc": {2: 1, 3: 1}}


def test_a_reset_is_a_birth() -> None:
    assert births([_entry(ResetNeurons("fc", (1, 3)), 5)]) == {"fc": {1: 5, 3: 5}}


def test_a_new_layer_is_all_newborn_and_one_that_is_gone_is_forgotten() -> None:
    born = _entry(InsertLayer("fc"), 2, _width(None, 3, "new"))
    assert births([born]) == {"new": dict.fromkeys(range(3), 2)}
    assert births([born, _entry(RemoveLayer("new"), 3, _width(3, None, "new"))]) == {}


def test_all_layers_of_a_group_are_followed() -> None:
    journal = [_entry(AddNeurons("fc", 1), 1, _width(4, 5), _width(4, 5, "other"))]
    assert births(journal) == {"fc": {4: 1}, "other": {4: 1}}


def test_what_the_journal_does_not_tell_is_not_guessed() -> None:
    heads = _entry(AddHeads("fc", 1), 1, _width(8, 12))
    assert births([heads]) == {"fc": None}
    assert births([heads, _entry(ResetNeurons("fc", (0,)), 2)]) == {"fc": None}
    other = _entry(RemoveNeurons("fc", (0,)), 1, _width(8, 6, "packed"))
    assert births([other]) == {"packed": None}


def test_after_a_change_by_hand_all_units_count_as_old() -> None:
    journal = Journal([_entry(AddNeurons("fc", 2), 1, _width(4, 6)), EventEntry(OPAQUE)])
    assert births(journal) == {}
