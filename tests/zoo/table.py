"""All test models of our own, by name."""

from __future__ import annotations

from tests.zoo import attention, convolutional, dense, habits, modes, sparse, traps

ZOO = {
    case.name: case
    for case in (
        *dense.CASES,
        *convolutional.CASES,
        *attention.CASES,
        *traps.CASES,
        *habits.CASES,
        *modes.CASES,
        *sparse.CASES,
    )
}
