"""Barcodes of chains of maps: planted ones are recovered, and complexes have their homology."""

from __future__ import annotations

import random
from collections import Counter
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from structure_net.evolution.metrics import MapBarcode, Unavailable, map_barcode

Bars = dict[tuple[int, int], int]


def randn(rows: int, columns: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(rows, columns, generator=generator, dtype=torch.float64)


def low_rank(rows: int, columns: int, rank: int, seed: int) -> Tensor:
    return randn(rows, rank, seed) @ randn(rank, columns, seed + 1000)


def basis(size: int, seed: int) -> Tensor:
    left, right = (torch.linalg.qr(randn(size, size, seed + k)).Q for k in (0, 1))
    return left @ torch.diag(torch.linspace(0.5, 2, size, dtype=torch.float64)) @ right


def planted(spaces: int, bars: Bars, seed: int) -> list[Tensor]:
    """Maps with these bars, in random bases of the spaces, of condition 4 at most."""
    living = [
        [(bar, copy) for bar, count in sorted(bars.items()) for copy in range(count)
         if bar[0] <= space <= bar[1]]
        for space in range(spaces)
    ]  # fmt: skip
    bases = [basis(len(one), seed + 2 * k) for k, one in enumerate(living)]
    maps = []
    for (k, before), (_, after) in pairwise(enumerate(living)):
        plain = torch.zeros(len(after), len(before), dtype=torch.float64)
        for column, bar in enumerate(before):
            if bar in after:
                plain[after.index(bar), column] = 1
        maps.append(bases[k + 1] @ plain @ torch.linalg.inv(bases[k]))
    return maps


def barcode(maps: list[Tensor]) -> MapBarcode:
    found = map_barcode(maps)
    assert isinstance(found, MapBarcode)
    return found


def test_generic_layers_hand_on_what_the_narrowest_can() -> None:
    found = barcode([randn(8, 10, 0), randn(6, 8, 1), randn(4, 6, 2)])
    assert found.bars == {(0, 0): 2, (0, 1): 2, (0, 2): 2, (0, 3): 4}
    assert found.through == 4
    assert [found.narrowed(space) for space in range(4)] == [0, 2, 2, 2]


def test_a_layer_of_low_rank_loses_directions_and_leaves_others_unused() -> None:
    found = barcode([randn(8, 10, 0), low_rank(6, 8, 3, 1), randn(4, 6, 2)])
    assert found.bars == {(0, 0): 2, (0, 1): 5, (0, 3): 3, (2, 2): 2, (2, 3): 1}
    assert [found.unused(space) for space in range(4)] == [0, 0, 3, 0]
    assert [found.lost(space) for space in range(4)] == [2, 5, 0, 0]
    assert found.isolated(2) == 2


def test_a_complex_has_its_homology() -> None:
    """Rank 3 into and rank 4 out of eight dimensions, composed to nothing: dim H = 8 - 3 - 4."""
    basis = torch.linalg.qr(randn(8, 8, 0)).Q
    first = basis[:, :3] @ randn(3, 7, 1)
    second = randn(6, 4, 2) @ basis[:, 3:7].T
    assert float((second @ first).abs().max()) < 1e-13
    found = barcode([first, second])
    assert found.isolated(1) == 1
    assert found.ranks[0, 2] == 0


@pytest.mark.parametrize("scale", [1e-8, 1.0, 1e8])
def test_the_scale_of_the_maps_does_not_matter(scale) -> None:
    maps = [randn(8, 10, 0), low_rank(6, 8, 3, 1), randn(4, 6, 2)]
    assert barcode([scale * one for one in maps]).bars == barcode(maps).bars


def test_a_long_chain_keeps_directions_that_it_makes_small() -> None:
    """Twelve maps that halve one direction 30 times each: its product is below 1e-100."""
    shrink = torch.diag(torch.tensor([1.0, 2.0**-30], dtype=torch.float64))
    assert barcode([shrink] * 12).bars == {(0, 12): 2}


def test_random_planted_barcodes_are_recovered() -> None:
    draw = random.Random(0)
    recovered = 0
    for seed in range(200):
        spaces = draw.randint(2, 6)
        bars: Counter[tuple[int, int]] = Counter()
        for _ in range(draw.randint(spaces, 14)):
            start = draw.randint(0, spaces - 1)
            bars[start, draw.randint(start, spaces - 1)] += 1
        for space in range(spaces):
            bars[space, space] += 1
        recovered += barcode(planted(spaces, dict(bars), 100 * seed)).bars == dict(bars)
    assert recovered == 200


def test_single_precision_recovers_a_rank() -> None:
    single = [low_rank(30, 40, 10, 0).float(), randn(20, 30, 1).float()]
    assert barcode(single).ranks == {
        (0, 0): 40, (0, 1): 10, (0, 2): 10, (1, 1): 30, (1, 2): 20, (2, 2): 20,
    }  # fmt: skip


def test_bars_fill_the_spaces() -> None:
    maps = [randn(8, 10, 0), low_rank(6, 8, 3, 1), randn(4, 6, 2)]
    found = barcode(maps)
    for space, dimension in enumerate(found.dimensions):
        alive = sum(n for (i, j), n in found.bars.items() if i <= space <= j)
        assert alive == dimension


def test_a_dead_layer_cuts_all_bars() -> None:
    found = barcode([randn(4, 5, 0), torch.zeros(3, 4), randn(2, 3, 1).float()])
    assert found.bars == {(0, 0): 1, (0, 1): 4, (2, 2): 1, (2, 3): 2}
    assert found.through == 0


def test_ranks_that_hang_on_the_tolerance_are_no_barcode() -> None:
    """What the first map leaves of a direction falls below half the norm of the last, as a part
    of a larger space, and not by itself.
    """
    maps = [[[-2, 0], [-1, -1]], [[1, 0], [0, 2]], [[1, -1], [1, -1]]]
    found = map_barcode([torch.tensor(one).double() for one in maps], tolerance=0.5)
    assert isinstance(found, Unavailable)
    assert "contradict" in found.reason


@pytest.mark.parametrize(
    ("maps", "message"),
    [
        ([], "at least one map"),
        ([torch.ones(2)], "must be a matrix"),
        ([torch.ones(2, 2, dtype=torch.int64)], "must be a matrix of real numbers"),
        ([torch.full((2, 2), torch.nan)], "finite"),
        ([torch.ones(2, 3), torch.ones(2, 3)], "must read the 2 dimensions"),
    ],
)
def test_what_is_no_chain_is_refused(maps, message) -> None:
    with pytest.raises(ValueError, match=message):
        map_barcode(maps)
