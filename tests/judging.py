"""How the programs of the tests judge a network."""

from __future__ import annotations

from structure_net.data import Dataset
from structure_net.evolution import NetworkContext
from structure_net.evolution.measuring import held_out


def accuracy(context: NetworkContext, data: Dataset) -> float:
    """On the test split, which no part of an evolution has seen."""
    test = data.test.batches(512)
    judged = held_out(NetworkContext(context.network, (), validation_loader=test))
    assert judged.accuracy is not None
    return judged.accuracy
