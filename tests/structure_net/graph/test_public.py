"""Public architectures, as a new user brings them: how many of their layers change, and exactly.

Tolerance: some of them compute in single precision inside (RMSNorm casts to float32), whatever the
model's own precision is; an exact edit then moves the output by some 1e-7, a wrong one moves the
first digits.
"""

from __future__ import annotations

import pytest

from tests.zoo import PUBLIC
from tests.zoo.attempts import Subject, succeeded

pytestmark = pytest.mark.extras

SINGLE = 1e-5
# Layers in a hundred, the output head aside, that grow by any count. These have streams that a norm
# writes and another one reads, depthwise convolutions in front of norms, or norms over all of space
# and channels, where doubling alone is exact.
ANY_COUNT = {
    "bert": 56,
    "convnext": 27,
    "distilbert": 60,
    "electra": 70,
    "poolformer": 33,
    "segformer": 58,
    "wav2vec2": 56,
}
# ... that grow by any count or by doubling.
ANY_WAY = 100


@pytest.mark.parametrize("name", PUBLIC)
def test_the_layers_of_a_public_architecture_grow_exactly(name: str) -> None:
    subject = Subject(PUBLIC[name])
    grown, changed = 0, 0
    for layer in subject.layers:
        if layer not in subject.graph.editable:
            continue
        growths = list(subject.growths(layer))
        tried = growths if succeeded(growths) else [*growths, subject.doubling(layer)]
        assert all(a.gap < SINGLE for a in tried), layer
        grown += succeeded(growths)
        changed += tried[-1].refusal is None
    count = len(subject.layers)
    assert 100 * grown >= ANY_COUNT.get(name, 80) * count
    assert 100 * changed >= ANY_WAY * count
