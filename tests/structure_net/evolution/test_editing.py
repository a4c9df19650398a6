"""Carrying out proposals: what initialisers look at, what the journal notes, what can be undone."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from structure_net.errors import SurgeryError
from structure_net.evolution import NetworkContext, Proposal
from structure_net.evolution.batches import joined
from structure_net.evolution.editing import carried_out, carry_out, probe_of
from structure_net.evolution.memory import AnalysisMemory
from structure_net.surgery import (
    AddNeurons,
    CopyUnits,
    GradMax,
    MoveConnections,
    RandomOutgoing,
    SplitNeurons,
)
from tests.laws.storages import STORAGES, Storage
from tests.laws.storages import network as sparse_network

INPUTS = torch.randn(10, 6, generator=torch.Generator().manual_seed(0))
TARGETS = torch.arange(10) % 3


def context(**options: Any) -> NetworkContext:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 3))
    batches = list(zip(INPUTS.split(4), TARGETS.split(4), strict=True))
    return NetworkContext(network, batches, **options)


def test_a_probe_is_the_first_samples_of_the_training_data() -> None:
    probe = probe_of(context(), 7)
    assert probe is not None
    assert torch.equal(probe[0], INPUTS[:7])
    assert torch.equal(probe[1], TARGETS[:7])
    everything = probe_of(context(), 99)
    assert everything is not None
    assert len(everything[0]) == 10
    assert probe_of(context(), 0) is None


def test_batches_are_joined_in_their_structure_or_the_first_stands_alone() -> None:
    def batch(length: int, wide: int = 2) -> tuple[Any, Any]:
        return {"a": torch.ones(length, wide), "b": (torch.zeros(length), 3)}, torch.ones(length)

    inputs, targets = joined([batch(2), batch(3)], 4)
    assert inputs["a"].shape == (4, 2)
    assert inputs["b"][0].shape == (4,)
    assert len(targets) == 4
    assert joined([batch(2), batch(3, wide=5)], 4)[0]["a"].shape == (2, 2)
    with pytest.raises(ValueError, match="gave no batch"):
        joined([], 4)


def test_the_journal_notes_what_was_really_done() -> None:
    grown = carry_out(
        context(), [Proposal(AddNeurons("0", 2), "more", CopyUnits(0.0))], component="test"
    )
    assert isinstance(grown.journal.edits[0].edit, SplitNeurons)
    assert grown.journal.edits[0].reason == "more"


def test_what_was_done_can_be_undone_in_reverse_order() -> None:
    start = context()
    before = [parameter.detach().clone() for parameter in start.network.parameters()]
    wanted = [Proposal(AddNeurons("0", 2), "", GradMax(2)), Proposal(AddNeurons("0", 1))]
    done = carried_out(start, wanted, component="test")
    for applied in reversed(done):
        applied.undo()
    after = start.network.parameters()
    assert all(torch.equal(one, other) for one, other in zip(before, after, strict=True))


def test_what_moves_the_function_empties_the_memory() -> None:
    memory = AnalysisMemory()
    kept = memory.moment
    carry_out(context(memory=memory), [Proposal(AddNeurons("0", 1))], component="test")
    assert memory.moment == kept
    loud = Proposal(AddNeurons("0", 1), "", RandomOutgoing())
    carry_out(context(memory=memory), [loud], component="test")
    assert memory.moment > kept


def test_all_or_nothing() -> None:
    start = context()
    wanted = [Proposal(AddNeurons("0", 2)), Proposal(AddNeurons("2", 1))]
    with pytest.raises(SurgeryError):
        carried_out(start, wanted, component="test")
    assert start.network.get_parameter("0.weight").shape == (4, 6)
    assert not start.journal.edits


@pytest.mark.parametrize("storage", STORAGES)
def test_moves_are_taken_back_with_what_the_optimizer_knew_when_a_later_one_is_refused(
    storage: Storage,
) -> None:
    network = sparse_network(storage)
    optimizer = torch.optim.Adam(network.parameters())
    network(torch.randn(5, 12, dtype=torch.float64)).square().sum().backward()
    optimizer.step()
    start = NetworkContext(network, [], optimizer=optimizer)
    moves = []
    for number in (0, 1):
        pattern = network.layers[number].pattern
        (free,) = (~pattern.mask()).nonzero()[:1].tolist()
        moves.append(MoveConnections(f"layers.{number}", pattern.pairs[:1], (tuple(free),), 1.0))

    def everything() -> list[Tensor]:
        states = optimizer.state.values()
        values = [value for state in states for value in state.values()]
        return [one.clone() for one in (*network.state_dict().values(), *values)]

    before = everything()
    back = MoveConnections("layers.0", moves[0].added, moves[0].removed)
    refused = MoveConnections("layers.0", moves[0].removed, moves[0].added)
    with pytest.raises(SurgeryError):
        carried_out(start, list(map(Proposal, (*moves, refused))), component="test")
    assert not start.journal.edits
    assert all(map(torch.equal, everything(), before))
    carried_out(start, list(map(Proposal, (*moves, back))), component="test")
    assert [entry.edit for entry in start.journal.edits] == [*moves, back]
