from __future__ import annotations

import pytest
import torch

from structure_net.evolution.metrics import (
    Bottleneck,
    Unavailable,
    bottlenecks,
    capacity_used,
    pressures,
    task_rank,
)

UNITS = {"a": 8, "b": 32, "c": 16}


def test_a_layer_below_the_geometric_mean_of_its_neighbours_is_a_bottleneck() -> None:
    found = bottlenecks({"a": 4.0, "b": 10.0, "c": 8.0}, UNITS, {"a": (36.0, 10.0)})
    assert [bottleneck.layer for bottleneck in found] == ["a"]
    assert found[0].target_rank == pytest.approx(360**0.5)
    # 8 * 18.97 / 4 = 37.9
    assert found[0].width == 38
    assert found[0].pressure == pytest.approx(360**0.5 / 4)


def test_at_the_width_that_lifts_it_a_layer_is_no_bottleneck() -> None:
    ranks = {"a": 3.0}
    (found,) = bottlenecks(ranks, UNITS, {"a": (9.0, 4.0)})
    lifted = ranks["a"] * found.width / UNITS["a"]
    assert bottlenecks({"a": lifted}, {"a": found.width}, {"a": (9.0, 4.0)}) == ()


def test_the_worst_comes_first_and_layers_without_neighbours_are_not_judged() -> None:
    ranks = {"a": 4.0, "b": 2.0, "c": 8.0}
    found = bottlenecks(ranks, UNITS, {"a": (4.5, 4.5), "b": (4.0, 8.0)})
    assert [bottleneck.layer for bottleneck in found] == ["b", "a"]


def test_a_layer_that_passes_on_enough_is_none() -> None:
    assert bottlenecks({"a": 6.0}, UNITS, {"a": (9.0, 4.0)}) == ()


def test_a_bottleneck_is_a_value() -> None:
    first = Bottleneck("a", 4.0, 6.0, 8, 12)
    assert first == Bottleneck("a", 4.0, 6.0, 8, 12)
    assert first.pressure == 1.5


def test_capacity_used_is_rank_over_width() -> None:
    assert capacity_used(4.0, 16) == 0.25
    with pytest.raises(ValueError, match="units"):
        capacity_used(1.0, 0)


def test_a_rank_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match="1 or more"):
        bottlenecks({"a": 0.5}, UNITS, {})


def test_an_even_funnel_is_under_no_pressure() -> None:
    """Ranks that fall by the same factor from layer to layer: each is its neighbours' mean."""
    funnel = [27.0, 9.0, 3.0, 1.0]
    ranks = {"a": funnel[1], "b": funnel[2]}
    found = pressures(ranks, {"a": (27.0, 3.0), "b": (9.0, 1.0)})
    assert found == {"a": pytest.approx(1.0), "b": pytest.approx(1.0)}


def test_pressures_come_highest_first_and_are_those_of_the_bottlenecks() -> None:
    ranks, around = {"a": 4.0, "b": 2.0}, {"a": (4.5, 4.5), "b": (4.0, 8.0)}
    found = pressures(ranks, around)
    assert list(found) == ["b", "a"]
    for bottleneck in bottlenecks(ranks, UNITS, around):
        assert bottleneck.pressure == pytest.approx(found[bottleneck.layer])


def test_a_task_asks_for_a_direction_less_than_it_has_balanced_classes() -> None:
    classes = torch.arange(40) % 5
    # The fifth singular value is 0 up to the root of rounding.
    assert float(task_rank(classes)) == pytest.approx(4.0, abs=1e-6)
    assert float(task_rank(classes.unsqueeze(1))) == pytest.approx(4.0, abs=1e-6)
    values = torch.randn(40, 1, generator=torch.Generator().manual_seed(0)).expand(40, 3)
    assert float(task_rank(values.double())) == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize(
    "targets", [torch.tensor(1.0), torch.zeros(4), torch.zeros(4, 2, dtype=torch.int64)]
)
def test_targets_that_ask_for_nothing_say_so(targets: torch.Tensor) -> None:
    assert isinstance(task_rank(targets), Unavailable)
