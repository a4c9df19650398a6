"""Public architectures under norms of weights and of streams: what of them changes, and exactly.

Every layer but the head grows by one unit and by three, is doubled, and loses a unit that nothing
reads. Tolerance: some dozen operations in double precision on numbers of size one.
"""

from __future__ import annotations

import random

import pytest

from structure_net.graph import graph_of
from structure_net.surgery import AddNeurons, DoubleWidth, RemoveNeurons, edit
from tests.zoo.attempts import Attempt, Subject, distance, run
from tests.zoo.normalised import CASES as WEIGHTS
from tests.zoo.streams import CASES as STREAMS

CASES = {case.name: case for case in (*WEIGHTS, *STREAMS)}
EXACT = 1e-12
# Copies would double a sum over all channels, and an unbiased deviation counts them one by one.
NO_COPIES = {"stream_unit": {"stem", "down"}, "stream_annotated": {"stem", "down"}}


def exact(attempt: Attempt) -> bool:
    return attempt.refusal is None and attempt.gap < EXACT


@pytest.mark.parametrize("name", CASES)
def test_every_layer_grows_exactly_by_any_count(name: str) -> None:
    subject = Subject(CASES[name])
    assert set(subject.layers) <= subject.graph.editable.keys()
    for layer in subject.layers:
        growths = list(subject.growths(layer))
        assert len(growths) == 2, (layer, subject.graph.group(layer).refusal)
        assert all(map(exact, growths)), (layer, growths)


@pytest.mark.parametrize("name", CASES)
def test_every_layer_doubles_and_loses_what_nothing_reads_exactly(name: str) -> None:
    subject = Subject(CASES[name])
    for layer in subject.layers:
        doubled, removal = subject.doubling(layer), subject.removal(layer)
        if layer in NO_COPIES.get(name, ()):
            assert doubled.refusal is not None, layer
        else:
            assert exact(doubled), (layer, doubled)
        assert removal is not None, layer
        assert exact(removal), (layer, removal)


@pytest.mark.parametrize("name", CASES)
def test_a_chain_of_unverified_edits_keeps_the_function(name: str) -> None:
    """Growth, copies, and growth that is pruned again, one behind the other."""
    case, draw = CASES[name], random.Random(0)
    model, x, other = case.build(), case.inputs(2, seed=0), case.inputs(3, seed=7)
    before = tuple(run(model, other))
    for seed in range(10):
        graph = graph_of(model, x)
        layer = draw.choice([n for n in graph.editable if n not in case.outputs])
        group = graph.group(layer)
        count = draw.randint(1, 3) * group.granularity
        if seed % 3 == 2 and group.doubling_refusal is None and group.size < 30:
            edit(model, DoubleWidth(layer), x, verify=False)
            continue
        edit(model, AddNeurons(layer, count), x, verify=False, seed=seed)
        if seed % 3 == 1:
            units = graph_of(model, x).group(layer).channels[-count // group.granularity :]
            edit(model, RemoveNeurons(layer, sum(units, ())), x, verify=False)
    assert distance(before, tuple(run(model, other))) < EXACT
