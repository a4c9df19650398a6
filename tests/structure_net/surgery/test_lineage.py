"""Lineages are compared step by step, and the comparison can be read."""

from __future__ import annotations

import torch
from torch import nn

from structure_net.core import create_standard_network
from structure_net.surgery.applying import apply
from structure_net.surgery.edits import AddNeurons, InsertLayer, RemoveNeurons
from structure_net.surgery.entries import EditEntry, EventEntry, WidthChange
from structure_net.surgery.journal import Journal
from structure_net.surgery.lineage import (
    architecture,
    describe,
    diff,
    final_widths,
    width_changes,
    widths,
)


def start(width: int = 8) -> EventEntry:
    model = nn.Sequential(nn.Linear(4, width), nn.ReLU(), nn.Linear(width, 2))
    return EventEntry("start", detail=architecture(model))


def grown(count: int, *, seed: int = 0, reason: str = "", before: int = 8) -> EditEntry:
    changes = (WidthChange("0", before, before + count),)
    return EditEntry(AddNeurons("0", count), 1, "growth", reason, seed, changes)


def test_an_architecture_is_json_and_names_each_layer() -> None:
    network = create_standard_network([4, 8, 2], density=0.5, seed=0)
    described = architecture(network)
    assert widths(described) == {"layers.0": 8, "layers.1": 2}
    assert described["layers"]["layers.0"]["inputs"] == 4
    assert described["parameters"] == network.get_network_stats()["total_parameters"]
    assert EventEntry("start", detail=described).detail == described


def test_a_layer_with_grafts_keeps_its_name() -> None:
    network = create_standard_network([4, 8, 2], density=0.5, seed=0)
    before = architecture(network)
    apply(network, InsertLayer("layers.0"), torch.zeros(2, 4))
    (change,) = width_changes(before, architecture(network))
    assert change.before is None
    assert change.layer.startswith("layers.0.grafts.")
    assert next(iter(architecture(network)["layers"])) == "layers.0"


def test_width_changes_name_what_differs_what_is_born_and_what_is_gone() -> None:
    before = {"layers": {"a": {"outputs": 1}, "b": {"outputs": 2}, "c": {"outputs": 3}}}
    after = {"layers": {"a": {"outputs": 1}, "b": {"outputs": 4}, "d": {"outputs": 5}}}
    assert width_changes(before, after) == (
        WidthChange("b", 2, 4),
        WidthChange("c", 3, None),
        WidthChange("d", None, 5),
    )


def test_final_widths_follow_edits_and_changes_by_hand() -> None:
    journal = Journal([start(), grown(3)])
    assert final_widths(journal) == {"0": 11, "2": 2}
    journal.append(
        EditEntry(RemoveNeurons("0", (1,)), changes=(WidthChange("2", 2, None),)),
    )
    assert final_widths(journal) == {"0": 11}
    by_hand = {"before": {}, "after": {"layers": {"x": {"outputs": 7}}}}
    journal.append(EventEntry("opaque", detail=by_hand))
    assert final_widths(journal) == {"x": 7}


def test_a_lineage_does_not_differ_from_itself() -> None:
    journal = Journal([start(), grown(3)])
    result = diff(journal, journal.fork())
    assert result.same
    assert len(result.common) == 2
    assert "2 common steps; no difference." in str(result)


def test_words_times_and_measurements_make_no_difference() -> None:
    one = Journal([start(), EventEntry("epoch", detail={"loss": 1.0}), grown(3, reason="a")])
    other = Journal([start(), grown(3, reason="b"), EventEntry("epoch", detail={"loss": 2.0})])
    assert diff(one, other).same


def test_another_seed_is_another_step() -> None:
    result = diff(Journal([start(), grown(3)]), Journal([start(), grown(3, seed=1)]))
    assert len(result.common) == 1
    assert (len(result.left), len(result.right)) == (1, 1)


def test_another_start_has_nothing_in_common() -> None:
    assert diff(Journal([start()]), Journal([start(9)])).common == ()


def test_lineages_that_part_are_shown_side_by_side() -> None:
    shared = Journal([start(), grown(3)])
    one, other = shared.fork(), shared.fork()
    one.append(
        EditEntry(
            InsertLayer("0", width=4), 2, changes=(WidthChange("0.grafts.inserted1", None, 4),)
        )
    )
    other.append(grown(5, before=11))
    other.append(EventEntry("opaque", 3, "Mine"))
    result = diff(one, other, names=("a", "b"))
    assert str(result).splitlines() == [
        "2 common steps.",
        "  0: start 8-2",
        "  1: AddNeurons('0', 3)",
        "",
        "a                             b",
        "----------------------------  --------------------------",
        "2: InsertLayer('0', width=4)  1: AddNeurons('0', 5)",
        "                              3: changed by hand by Mine",
        "",
        "layer               a   b",
        "------------------  --  --",
        "0                   11  16",
        "2                   2   2",
        "0.grafts.inserted1  4   -",
    ]


def test_one_lineage_that_goes_on_is_shown() -> None:
    one = Journal([start()])
    result = diff(one, Journal([start(), grown(2)]))
    assert result.left == ()
    assert not result.same
    assert "AddNeurons('0', 2)" in str(result)


def test_empty_journals_are_the_same() -> None:
    assert str(diff(Journal(), Journal())).strip() == "0 common steps; no difference."


def test_a_long_edit_is_cut() -> None:
    entry = EditEntry(RemoveNeurons("0", tuple(range(100))))
    assert len(describe(entry)) < 70
    assert describe(entry).endswith("...)")
