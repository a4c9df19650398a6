"""Which features of architectures go with good results, over all hypotheses together."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from neural_architecture_lab.insights.arms import GOALS
from neural_architecture_lab.insights.factors import numbers_in
from neural_architecture_lab.insights.insight import Insight
from neural_architecture_lab.insights.reading import Tried
from neural_architecture_lab.outcomes import mean_of
from neural_architecture_lab.reviewing import Review

RESAMPLES: Final = 5_000
_AT_ONCE: Final = 250
"""Shuffles that are drawn together: their memory is that times the networks of a hypothesis."""

_SIZES: Final = ("parameters", "connections", "layers", "flops", "edits")


def features(
    studied: Sequence[tuple[Review, Sequence[Tried]]], *, resamples: int = RESAMPLES
) -> Iterator[Insight]:
    """Numbers among settings and sizes that go with accuracy, or else loss, within hypotheses.

    What is compared are the means of arms at points, by their ranks within their hypothesis: other
    hypotheses may be about other data. The p-value is that of the ranks' sum of products where
    goals are shuffled within each hypothesis. What goes together need not be cause and effect.

    Args:
        studied: Hypotheses with their trials; two or more in which a feature differs are needed.
        resamples: How many shuffles are drawn.
    """
    ids = [one.frozen.id for one, _ in studied]
    for goal in GOALS:
        blocks = [_block(review, trials, goal) for review, trials in studied]
        alike: dict[tuple[bytes, ...], tuple[list[str], _Ranks]] = {}
        for name in sorted({key for block in blocks for row in block for key in row[1]}):
            ranks = _ranks(name, blocks, ids)
            if len(ranks) > 1:
                same = tuple(x.tobytes() for _, x, _ in ranks)
                alike.setdefault(same, ([], ranks))[0].append(name)
        for names, ranks in alike.values():
            yield _tested(names, goal, ranks, resamples)


_Row = tuple[float, dict[str, float]]
_Ranks = list[tuple[str, NDArray[np.float64], NDArray[np.float64]]]


def _block(review: Review, trials: Sequence[Tried], goal: str) -> list[_Row]:
    groups: dict[tuple[str, int], list[Tried]] = {}
    for trial in trials:
        if trial.status == "finished" and math.isfinite(trial.metrics.get(goal, math.nan)):
            groups.setdefault((trial.arm, trial.point), []).append(trial)
    return [(mean_of([t.metrics[goal] for t in group]), _known(group)) for group in groups.values()]


def _known(group: Sequence[Tried]) -> dict[str, float]:
    found = numbers_in(group[0].settings)
    for name in _SIZES:
        values = [trial.metrics.get(name, math.nan) for trial in group]
        if all(map(math.isfinite, values)):
            found[f"number of {name}" if name != "flops" else name] = mean_of(values)
    return found


def _ranks(name: str, blocks: Sequence[list[_Row]], ids: Sequence[str]) -> _Ranks:
    """Standardised ranks of a feature and of the goal, where both differ within a hypothesis."""
    from scipy import stats

    found = []
    for block, one in zip(blocks, ids, strict=True):
        rows = [(known[name], value) for value, known in block if name in known]
        if len({x for x, _ in rows}) > 1 and len({y for _, y in rows}) > 1:
            x, y = (stats.rankdata(column) for column in zip(*rows, strict=True))
            found.append((one, (x - x.mean()) / x.std(), (y - y.mean()) / y.std()))
    return found


def _tested(names: Sequence[str], goal: str, ranks: _Ranks, resamples: int) -> Insight:
    """One test for features that rank all networks alike: nothing tells them apart."""
    found = sum(float(x @ y) for _, x, y in ranks)
    generator = np.random.default_rng(0)
    as_large = 0
    for first in range(0, resamples, _AT_ONCE):
        drawn = np.zeros(min(_AT_ONCE, resamples - first))
        for _, x, y in ranks:
            drawn += generator.permuted(np.tile(y, (len(drawn), 1)), axis=1) @ x
        as_large += int((np.abs(drawn) >= abs(found) - 1e-9).sum())
    count = sum(len(x) for _, x, _ in ranks)
    rho = found / count
    *others, last = names
    said = f"{', '.join(others)} and {last}, which rank alike" if others else last
    return Insight(
        "feature",
        f"{goal} goes {'up' if rho > 0 else 'down'} with {said}: mean rank correlation {rho:.2f}"
        f" within {len(ranks)} hypotheses, {count} networks' means",
        tuple(one for one, _, _ in ranks),
        "ranks shuffled within each hypothesis",
        (1 + as_large) / (1 + resamples),
        {"correlation": rho},
    )
