"""The index map behind every width edit composes, and its two ways of copying agree."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from structure_net.surgery import NEW, Reindex


def maps(size: int) -> st.SearchStrategy[Reindex]:
    entries = st.integers(NEW, size - 1)
    return st.lists(entries, min_size=1, max_size=12).map(lambda s: Reindex(size, tuple(s)))


@given(st.data())
def test_one_map_after_another_is_their_composition(data) -> None:
    first = data.draw(st.integers(1, 8).flatmap(maps))
    second = data.draw(maps(first.new_size))
    tensor = torch.arange(1.0, 3 * first.size + 1).view(3, first.size)
    assert torch.equal(
        second.gather(first.gather(tensor, 1), 1), first.then(second).gather(tensor, 1)
    )


@given(st.data())
def test_gathering_is_indexing_entry_by_entry(data) -> None:
    reindex = data.draw(st.integers(1, 8).flatmap(maps))
    fill = data.draw(st.sampled_from([0.0, 1.0, -2.5]))
    tensor = torch.arange(1.0, 4 * reindex.size + 1).view(2, reindex.size, 2)
    expected = torch.stack(
        [torch.full((2, 2), fill) if i == NEW else tensor[:, i] for i in reindex.source], 1
    )
    assert torch.equal(reindex.gather(tensor, 1, fill), expected)


@given(st.integers(1, 300), st.integers(0, 200))
def test_growing_then_dropping_the_new_is_the_identity(size, count) -> None:
    grown = Reindex.grow(size, count)
    undone = grown.then(Reindex.drop(size + count, range(size, size + count)))
    assert undone == Reindex.identity(size)


@given(st.data())
def test_shares_of_a_split_add_up(data) -> None:
    size = data.draw(st.integers(1, 10))
    split = Reindex.split(size, data.draw(st.lists(st.integers(0, size - 1), max_size=6)))
    shares = torch.zeros(size, dtype=torch.float64).index_add(0, split.index(), 1 / split.copies())
    torch.testing.assert_close(shares, torch.ones(size, dtype=torch.float64), rtol=0, atol=1e-12)
