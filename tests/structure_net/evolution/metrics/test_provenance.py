from __future__ import annotations

import torch

from structure_net.evolution.metrics.provenance import (
    NOTHING,
    STATISTIC,
    Trail,
    blurred,
    collapsed,
    compressed,
    fits,
    joined,
    moved,
    numbered,
    of_input,
    single,
    tensors_in,
)


def test_labels_have_size_one_where_they_do_not_vary() -> None:
    label = torch.arange(3).reshape(1, 3, 1).expand(2, 3, 4)
    assert compressed(label).shape == (1, 3, 1)
    assert compressed(label.contiguous()).shape == (1, 3, 1)


def test_moving_entries_moves_their_labels() -> None:
    trail = numbered("a", (2, 3, 4), 1)
    found = moved([trail], [(2, 3, 4)], lambda labels: labels[0].flip(1).flatten(1))
    (label,) = found.labels["a", 0]
    assert label.tolist() == [[2] * 4 + [1] * 4 + [0] * 4]


def test_concatenation_keeps_apart_whose_entries_are_whose() -> None:
    trails, shapes = [numbered("a", (2, 3), 1), numbered("b", (2, 2), 1)], [(2, 3), (2, 2)]
    found = moved(trails, shapes, lambda labels: torch.cat(list(labels), 1))
    assert found.labels["a", 0][0].tolist() == [[0, 1, 2, NOTHING, NOTHING]]
    assert found.labels["b", 0][0].tolist() == [[NOTHING] * 3 + [0, 1]]


def test_a_slice_that_holds_nothing_of_a_layer_forgets_it() -> None:
    trails, shapes = [numbered("a", (2, 3), 1), Trail()], [(2, 3), (2, 2)]
    whole = moved(trails, shapes, lambda labels: torch.cat(list(labels), 1))
    rest = moved([whole], [(2, 5)], lambda labels: labels[0][:, 3:])
    assert not rest.live


def test_sums_come_from_both_operands_and_broadcast() -> None:
    stream, gate = numbered("a", (2, 3, 4), 1), numbered("b", (3, 1), 0)
    found = joined([(stream, 3), (gate, 2)], 3)
    assert {source: labels[0].shape for source, labels in found.labels.items()} == {
        ("a", 0): (1, 3, 1),
        ("b", 0): (1, 3, 1),
    }
    again = joined([(found, 3), (stream, 3)], 3)
    assert len(again.labels["a", 0]) == 1


def test_different_units_that_meet_along_an_axis_are_mixed() -> None:
    trail = numbered("a", (2, 3), 1)
    kept, lost = collapsed(trail, [0], STATISTIC), collapsed(trail, [1], STATISTIC)
    assert kept.labels["a", 0][0].shape == (1, 3)
    assert (lost.labels, lost.mixed) == ({}, {"a": STATISTIC})
    padded = torch.tensor([[0, 1], [NOTHING, 1]])
    one = single(padded, [0])
    assert one is not None
    assert one.tolist() == [[0, 1]]
    assert single(torch.tensor([[0, 1], [1, 1]]), [0]) is None


def test_inputs_are_numbered_along_every_axis_but_the_samples() -> None:
    trail = of_input("(input)", (2, 3, 4))
    assert set(trail.labels) == {("(input)", 1), ("(input)", 2)}
    # One axis is lost, and the other still tells units apart.
    pooled = collapsed(trail, [2], STATISTIC)
    assert (set(pooled.labels), pooled.mixed) == ({("(input)", 1)}, {})


def test_a_blurred_trail_names_layers_and_the_first_reason() -> None:
    first = numbered("a", (2, 3), 1).blurred("one")
    both = blurred([first, numbered("b", (2, 3), 1)], "other")
    assert both.mixed == {"a": "one", "b": "other"}
    assert both.layers == ("a", "b")


def test_labels_that_do_not_broadcast_do_not_fit() -> None:
    trail = numbered("a", (2, 3), 1)
    assert fits(trail, (5, 3))
    assert not fits(trail, (2, 4))
    assert not fits(trail, (1, 2, 3))


def test_tensors_are_found_in_nested_values() -> None:
    one, other = torch.zeros(1), torch.ones(2)
    assert tensors_in({"a": [one, (3, other)], "b": "text"}) == [one, other]
