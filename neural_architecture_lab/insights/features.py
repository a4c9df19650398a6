"""Which features of architectures go with good results, over all hypotheses together."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np

from neural_architecture_lab.insights.arms import GOALS
from neural_architecture_lab.insights.factors import numbers_in
from neural_architecture_lab.insights.insight import Insight
from neural_architecture_lab.insights.reading import Tried
from neural_architecture_lab.reviewing import Review

RESAMPLES: Final = 5_000
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
    for goal in GOALS:
        blocks = [_block(review, trials, goal) for review, trials in studied]
        for name in sorted({key for block in blocks for row in block for key in row[1]}):
            yield from _tested(name, goal, blocks, [one.frozen.id for one, _ in studied], resamples)


_Row = tuple[float, dict[str, float]]


def _block(review: Review, trials: Sequence[Tried], goal: str) -> list[_Row]:
    groups: dict[tuple[str, int], list[Tried]] = {}
    for trial in trials:
        if trial.status == "finished" and math.isfinite(trial.metrics.get(goal, math.nan)):
            groups.setdefault((trial.arm, trial.point), []).append(trial)
    return [(_mean([t.metrics[goal] for t in group]), _known(group)) for group in groups.values()]


def _known(group: Sequence[Tried]) -> dict[str, float]:
    found = numbers_in(group[0].settings)
    for name in _SIZES:
        values = [trial.metrics.get(name, math.nan) for trial in group]
        if all(map(math.isfinite, values)):
            found[f"number of {name}" if name != "flops" else name] = _mean(values)
    return found


def _tested(
    name: str, goal: str, blocks: Sequence[list[_Row]], ids: Sequence[str], resamples: int
) -> Iterator[Insight]:
    from scipy import stats

    pairs, used = [], []
    for block, one in zip(blocks, ids, strict=True):
        rows = [(known[name], value) for value, known in block if name in known]
        if len({x for x, _ in rows}) > 1 and len({y for _, y in rows}) > 1:
            x, y = (stats.rankdata(column) for column in zip(*rows, strict=True))
            pairs.append(((x - x.mean()) / x.std(), (y - y.mean()) / y.std()))
            used.append(one)
    if len(pairs) < 2:
        return
    found = sum(float(x @ y) for x, y in pairs)
    generator = np.random.default_rng(0)
    drawn = np.zeros(resamples)
    for x, y in pairs:
        drawn += generator.permuted(np.tile(y, (resamples, 1)), axis=1) @ x
    p = float((1 + (np.abs(drawn) >= abs(found) - 1e-9).sum()) / (1 + resamples))
    count = sum(len(x) for x, _ in pairs)
    rho = found / count
    yield Insight(
        "feature",
        f"{goal} goes {'up' if rho > 0 else 'down'} with {name}: mean rank correlation {rho:.2f}"
        f" within {len(pairs)} hypotheses, {count} networks' means",
        tuple(used),
        "ranks shuffled within each hypothesis",
        p,
        {"correlation": rho},
    )


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)
