"""Architectures beyond the common ones: how many of their layers change, and exactly.

Tolerance: the models are small and in float64, an exact edit differs by the order of summation
alone; a wrong one moves the first digits. 1e-10 is far from both.
"""

from __future__ import annotations

import pytest

from tests.zoo.attempts import Subject, succeeded
from tests.zoo.exotic_sequences import CASES as SEQUENCES
from tests.zoo.exotic_tables import CASES as TABLES
from tests.zoo.exotic_vision import CASES as VISION

EXACT = 1e-10
EXOTIC = {case.name: case for case in (*VISION, *SEQUENCES, *TABLES)}

# Layers in a hundred, the outputs aside, that grow by any count; all, where nothing stands here.
# A stream whose writers go through something else before the norm can only be copied (gfnet, s4).
ANY_COUNT = {
    "gfnet": 40,
    "s4": 0,
    "bahdanau": 87,
    "vqvae": 75,
    "pointnet": 75,
    "gat": 50,
    "involution": 66,
}
# ... that grow by any count or by doubling. Energies and attention scores are one wide for good,
# codes are picked by their number, and a square map of the channels has its identity in the code.
ANY_WAY = {"bahdanau": 87, "vqvae": 75, "pointnet": 75, "gat": 50, "involution": 66}


@pytest.mark.parametrize("name", EXOTIC)
def test_the_layers_of_an_exotic_architecture_grow_exactly(name: str) -> None:
    subject = Subject(EXOTIC[name])
    grown, changed = 0, 0
    for layer in subject.layers:
        if layer not in subject.graph.editable:
            continue
        growths, doubling = list(subject.growths(layer)), subject.doubling(layer)
        removal = subject.removal(layer)
        tried = [*growths, doubling, subject.split(layer), *([removal] if removal else [])]
        assert not [a for a in tried if a.refusal is None and not a.gap < EXACT]
        grown += succeeded(growths)
        changed += succeeded(growths) or doubling.refusal is None
    count = len(subject.layers)
    assert 100 * grown >= ANY_COUNT.get(name, 100) * count
    assert 100 * changed >= ANY_WAY.get(name, 100) * count
