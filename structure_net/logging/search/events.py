"""When what happened in a run: edits by their kinds, and what its curves did.

Times are fractions of the run: what happens in epoch ``k`` of ``n`` happens at ``k / n``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

import numpy as np

from structure_net.logging.search.curves import as_losses, learning_curve, shape_of
from structure_net.logging.search.facts import ExperimentFacts

if TYPE_CHECKING:
    from numpy.typing import NDArray

OF_CURVES: Final = ("settled", "best", "broke", "fell", "jumped", "began", "learned", "ended")
"""What a curve does: see `events_of`."""

EDITS: Final = "edits"
"""Stands for edits of all kinds."""

_LASTING: Final = 0.1
"""A fall or a jump is one from this part of the curve's range on."""


def events_of(facts: ExperimentFacts) -> dict[str, tuple[float, ...]]:
    """The times of each event, ascending: edits by their kinds, and those of `OF_CURVES`.

    Of the learning curve: when it ``settled`` (see `curves.CurveShape`), was at its ``best``,
    ``broke`` (was not finite any more), ``fell`` the deepest and ``jumped`` the highest from one
    epoch to the next, ``began`` to move (made a tenth of its gain) and had ``learned`` (made nine
    tenths); and when the run ``ended``, which is 1.
    """
    found = {kind: tuple(sorted(times)) for kind, times in facts.edited_at.items() if times}
    curve = learning_curve(facts.curves)
    if curve is not None:
        found |= {name: (time,) for name, time in _of_curve(*curve)}
    if facts.epochs:
        found["ended"] = (1.0,)
    return found


def _of_curve(name: str, values: tuple[float, ...]) -> Iterator[tuple[str, float]]:
    count = len(values)
    losses = as_losses(name, np.asarray(values, dtype=np.float64))
    finite = np.isfinite(losses)
    if not finite.all():
        yield "broke", float(np.argmin(finite) + 1) / count
    if count < 3 or not finite.any():
        return
    losses = losses[: int(np.argmin(finite))] if not finite.all() else losses
    if len(losses) < 3:
        return
    yield "best", float(np.argmin(losses) + 1) / count
    if finite.all():
        shape = shape_of(name, values)
        yield "settled", (shape.settled_at * (count - 1) + 1) / count
    yield from _steps(losses, count)


def _steps(losses: NDArray[np.float64], count: int) -> Iterator[tuple[str, float]]:
    spread = float(np.ptp(losses))
    if spread <= 0:
        return
    steps = np.diff(losses)
    fall, jump = int(np.argmax(steps)), int(np.argmin(steps))
    if steps[fall] > _LASTING * spread:
        yield "fell", (fall + 2) / count
    if -steps[jump] > _LASTING * spread:
        yield "jumped", (jump + 2) / count
    best = np.minimum.accumulate(losses)
    whole = best[0] - best[-1]
    if whole > 0:
        done = (best[0] - best) / whole
        yield "began", float(np.argmax(done >= 0.1) + 1) / count
        yield "learned", float(np.argmax(done >= 0.9) + 1) / count
