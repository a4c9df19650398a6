"""What is noted of a chain is what its layers give."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from structure_net.core import create_standard_network, sparse_passes
from structure_net.core.noting import Chain, ChainNotes, Picked
from structure_net.core.sparse_chains import Link, Links, chained
from structure_net.core.unit_sums import unit_sums

WIDTHS = (40, 33, 20, 7)


pytestmark = pytest.mark.usefixtures("live_storage")


def _chain(inputs: Tensor, seed: int = 0) -> Chain:
    model = create_standard_network(list(WIDTHS), density=0.3, seed=seed).to(inputs.dtype)
    layers = list(model.layers)
    links = Links(Link(one.index, place < 2) for place, one in enumerate(layers))  # type: ignore[arg-type]  # sparse layers
    return Chain(inputs, [p for one in layers for p in (one.weight, one.bias)], links)  # type: ignore[misc]  # the same


def _random(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(shape, dtype=dtype, generator=torch.Generator().manual_seed(1))


def _values(chain: Chain) -> list[Tensor]:
    """The inputs, and what each product gives."""
    found = [chain.inputs]
    for place in range(len(chain.links)):
        part = chain.parameters[: 2 * place + 2]
        found.append(chained(chain.inputs, part, Links(chain.links[: place + 1])))
    return found


@torch.no_grad()
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["single", "double"])
@pytest.mark.parametrize("batch", [1, 7, 128, 150])
@pytest.mark.parametrize("turned", [True, False])
def test_notes_are_sums_and_rows_of_what_a_chain_gives(
    batch: int, dtype: torch.dtype, turned: bool
) -> None:
    wide, which, places = _random(3, batch, 40, dtype=dtype), [batch - 1, 0], torch.tensor([4, 1])
    chain = _chain(wide[0])
    notes, all_values = ChainNotes(chain.links), []
    rows = [torch.zeros(5, width, dtype=dtype) for width in WIDTHS[1:]]
    for values in wide:
        inputs = values.t().contiguous().t() if turned else values
        chain = chain._replace(inputs=inputs)
        assert notes.fits(chain)
        outputs = notes.run(chain, Picked(torch.tensor(which), places, rows))
        expected = _values(chain)
        assert torch.equal(outputs, expected[-1])
        assert all(
            torch.equal(kept[places], one[which])
            for kept, one in zip(rows, expected[1:], strict=True)
        )
        all_values.append(expected)
    assert notes.count == 3 * batch
    for place, (sums, *parts) in enumerate(zip(notes.sums, *all_values, strict=True)):
        wanted = unit_sums(torch.cat(parts).contiguous())
        assert wanted is not None
        number = 6 if place else 2
        # 450 values of size 1: in float32, lines of which are summed in single precision.
        near = 1e-10 if dtype == torch.float64 else 1e-3
        torch.testing.assert_close(sums[:number], wanted[:number], rtol=0, atol=near)
        if place:
            assert torch.equal(sums[4:], wanted[4:])


@torch.no_grad()
def test_notes_are_the_same_bits_on_any_number_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    chain, before = _chain(_random(64, 40)), torch.get_num_threads()
    alone, together = ChainNotes(chain.links), ChainNotes(chain.links)
    alone.run(chain, None)
    monkeypatch.setattr(sparse_passes, "SHARED_WORK", 0)
    monkeypatch.setattr(sparse_passes, "THREADED_WORK", 0)
    torch.set_num_threads(3)
    try:
        outputs = together.run(chain, None)
    finally:
        torch.set_num_threads(before)
    assert torch.equal(outputs, _values(chain)[-1])
    assert all(map(torch.equal, together.sums, alone.sums))


@torch.no_grad()
def test_what_changes_between_batches_is_noticed() -> None:
    chain = _chain(_random(9, 40))
    notes = ChainNotes(chain.links)
    notes.run(chain, None)
    other = _chain(_random(9, 40), seed=1)
    for one in (other, chain._replace(inputs=_random(5, 40)), chain):
        assert notes.fits(one)
        assert torch.equal(notes.run(one, None), _values(one)[-1])


@torch.no_grad()
@pytest.mark.parametrize("place", [None, 0, 1], ids=["inputs", "weights", "bias"])
def test_memory_that_was_freed_between_batches_is_not_read(place: int | None) -> None:
    chain = _chain(_random(9, 40))
    notes = ChainNotes(chain.links)
    notes.run(chain, None)
    tensor = chain.inputs if place is None else chain.parameters[place]
    assert tensor is not None
    tensor.untyped_storage().resize_(0)
    with pytest.raises(RuntimeError, match="has no memory"):
        notes.run(chain, None)


def test_what_notes_cannot_hold_does_not_fit() -> None:
    chain = _chain(_random(9, 40))
    notes = ChainNotes(chain.links)
    assert notes.fits(chain)
    assert not notes.fits(chain._replace(inputs=_random(0, 40)))
    assert not notes.fits(chain._replace(inputs=_random(9, 80)[:, ::2]))
    assert not notes.fits(chain._replace(inputs=_random(256 * 8 + 1, 40)))
    assert not notes.fits(Chain(_random(9, 33), chain.parameters[2:], Links(chain.links[1:])))
