from __future__ import annotations

import math

import pytest
import torch

from structure_net.evolution.metrics.rewiring import (
    as_pairs,
    closest_to_zero,
    cosine_drop_rate,
    kernel_shares,
    random_free,
    shares_by_momentum,
    strongest_free,
    strongest_of,
    strongest_places,
    weakest,
)
from structure_net.evolution.metrics.validity import Unavailable


def test_the_drop_rate_follows_half_a_cosine() -> None:
    assert cosine_drop_rate(0.3, 0, 8) == 0.3
    assert cosine_drop_rate(0.3, 2, 8) == pytest.approx(0.15 * (1 + math.sqrt(0.5)))
    assert cosine_drop_rate(0.3, 4, 8) == pytest.approx(0.15)
    assert cosine_drop_rate(0.3, 8, 8) == 0.0
    assert cosine_drop_rate(0.3, 9, 8) == 0.0


@pytest.mark.parametrize("arguments", [(1.5, 0, 1), (-0.1, 0, 1), (0.3, -1, 1), (0.3, 0, 0)])
def test_a_drop_rate_out_of_range_is_refused(arguments: tuple[float, float, float]) -> None:
    with pytest.raises(ValueError, match="must be"):
        cosine_drop_rate(*arguments)


def test_the_weakest_are_the_smallest_and_of_equals_the_first() -> None:
    assert weakest(torch.tensor([3.0, 1.0, 2.0, 1.0, 1.0]), 3).tolist() == [1, 3, 4]
    assert weakest(torch.tensor([3.0, 1.0, 2.0, 1.0, 1.0]), 2).tolist() == [1, 3]
    assert weakest(torch.ones(2), 0).tolist() == []
    with pytest.raises(ValueError, match=r"\[0, 2\]"):
        weakest(torch.ones(2), 3)


def test_each_sign_loses_its_share_of_weights_close_to_zero() -> None:
    weights = torch.tensor([0.1, -0.9, 0.2, -0.8, 5.0, -0.7, 4.0, -0.6])
    assert closest_to_zero(weights, 0.5).tolist() == [0, 2, 5, 7]
    assert closest_to_zero(weights, 0.25).tolist() == [0, 7]


def test_new_connections_come_at_the_largest_scores_that_are_free() -> None:
    score = torch.tensor([[9.0, 1.0, 3.0], [2.0, 8.0, 3.0]])
    taken = torch.tensor([0, 4])
    assert strongest_free(score, taken, 2) == ((0, 2), (1, 2))
    assert strongest_free(score, taken, 3) == ((0, 2), (1, 0), (1, 2))
    assert len(strongest_free(score, taken, 99)) == 4
    assert strongest_free(score, taken, 0) == ()
    with pytest.raises(ValueError, match="must be in"):
        strongest_free(score, taken, -1)


def test_free_places_of_the_lowest_score_are_not_mistaken_for_taken_ones() -> None:
    score = torch.tensor([[5.0, -torch.inf, -torch.inf], [torch.nan, 8.0, -torch.inf]])
    assert strongest_free(score, torch.tensor([0, 4]), 2) == ((0, 1), (1, 0))
    assert strongest_free(score, torch.tensor([1, 4]), 3) == ((0, 0), (0, 2), (1, 0))


@pytest.mark.parametrize("kind", ["normal", "ties", "one value", "sorted", "few are not -inf"])
@pytest.mark.parametrize("count", [1, 300, 5000, 70_000])
def test_of_many_places_the_strongest_are_the_same_as_by_a_sort(kind: str, count: int) -> None:
    score = torch.randn(300, 300, generator=torch.Generator().manual_seed(0))
    if kind == "ties":
        score = (3 * score).round()
    elif kind == "one value":
        score = torch.ones(300, 300)
    elif kind == "sorted":
        score = score.flatten().sort().values.view(300, 300)
    elif kind == "few are not -inf":
        score = score.where(score > 3, -torch.inf)
    none = torch.zeros(0, dtype=torch.int64)
    order = torch.sort(score.flatten(), descending=True, stable=True).indices[:count]
    found = torch.tensor(strongest_free(score, none, count))
    assert torch.equal(found[:, 0] * 300 + found[:, 1], order.sort().values)


def test_the_strongest_of_some_candidates_come() -> None:
    places, score = torch.tensor([7, 0, 4, 2]), torch.tensor([1.0, 3.0, 2.0, 3.0])
    assert strongest_of(places, score, 2, width=3) == ((0, 0), (0, 2))
    assert strongest_of(places, score, 3, width=3) == ((0, 0), (0, 2), (1, 1))
    assert len(strongest_of(places, score, 9, width=3)) == 4
    assert strongest_places(places, score, 2).tolist() == [0, 2]
    assert as_pairs(torch.tensor([5, 3]), 3) == ((1, 2), (1, 0))


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16], ids=["half", "brain"])
def test_weights_of_half_precision_are_compared_too(kind: torch.dtype) -> None:
    weights = torch.tensor([0.5, -1, 2, -0.25]).to(kind)
    assert closest_to_zero(weights, 0.5).tolist() == [0, 3]
    assert strongest_places(torch.arange(4), weights, 2).tolist() == [0, 2]


def test_random_places_are_free_distinct_and_even() -> None:
    taken, free = torch.tensor([0, 4]), [(0, 1), (0, 2), (1, 0), (1, 2)]
    counts = dict.fromkeys(free, 0)
    for seed in range(600):
        drawn = random_free(taken, (2, 3), 2, torch.Generator().manual_seed(seed))
        assert len(set(drawn)) == 2
        for place in drawn:
            counts[place] += 1
    # Each of four places is drawn with probability 1/2: 300 of 600, deviation 12.2.
    assert all(abs(count - 300) < 5 * 12.3 for count in counts.values())
    assert len(random_free(taken, (2, 3), 9, torch.Generator())) == 4


def test_layers_share_new_connections_by_their_momentum() -> None:
    room = {"a": 100, "b": 100}
    assert shares_by_momentum({"a": 3.0, "b": 1.0}, room, 8) == {"a": 6, "b": 2}
    assert shares_by_momentum({"a": 2.0, "b": 1.0}, room, 10) == {"a": 7, "b": 3}


def test_what_a_layer_has_no_room_for_goes_to_the_others() -> None:
    room = {"a": 2, "b": 5, "c": 50}
    assert shares_by_momentum({"a": 8.0, "b": 1.0, "c": 1.0}, room, 20) == {"a": 2, "b": 5, "c": 13}
    # The last layer with room takes what is left, though its momentum is 0.
    assert shares_by_momentum({"a": 1.0, "b": 0.0, "c": 0.0}, room, 4) == {"a": 2, "b": 1, "c": 1}
    with pytest.raises(ValueError, match="the room"):
        shares_by_momentum({"a": 1.0}, {"a": 2}, 3)


def test_no_momentum_gives_no_shares() -> None:
    assert isinstance(shares_by_momentum({"a": 0.0}, {"a": 2}, 1), Unavailable)


def test_whole_kernels_share_what_was_dropped() -> None:
    """Of 20 weights a kernel of 9 and single ones get theirs; of kernels alone what fits."""
    momentum, room = {"a": 1.0, "b": 1.0}, {"a": 10, "b": 100}
    assert kernel_shares(momentum, room, 20, entries={"a": 9, "b": 1}) == {"a": 1, "b": 11}
    assert kernel_shares(momentum, room, 20, entries={"a": 9, "b": 4}) == {"a": 1, "b": 2}
    assert kernel_shares(momentum, {"a": 10, "b": 1}, 20, entries={"a": 4, "b": 4}) == {
        "a": 4,
        "b": 1,
    }
    equal = kernel_shares({"a": 2.0, "b": 1.0}, room, 90, entries={"a": 9, "b": 9})
    assert equal == shares_by_momentum({"a": 2.0, "b": 1.0}, room, 10)
    nothing = kernel_shares({"a": 0.0}, {"a": 2}, 2, entries={"a": 1})
    assert isinstance(nothing, Unavailable)
