"""How well scores rank places, with intervals, as a Markdown table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RESAMPLES, COVERAGE = 2000, 0.95
LEAST = 0.005
"""Networks whose best place gains less, in nats, have nothing to tell places apart by."""

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Trial:
    """One network whose places were widened in turn.

    Args:
        design: The kind of networks that it is one of.
        train: The gain of each place in training loss.
        held_out: The gain in held-out loss.
        scores: By name, one number a place; NaN where a score is not valid.
    """

    design: str
    train: tuple[float, ...]
    held_out: tuple[float, ...]
    scores: Mapping[str, tuple[float, ...]]


@dataclass(frozen=True, slots=True)
class Verdict:
    """One score over all networks of a kind, each with the ends of its interval.

    Args:
        correlation: Spearman's between score and gain over the places of a network, the mean over
            networks with at least `LEAST` to gain; ties share ranks, and a score that is the same
            at all places gives 0.
        best: The fraction of these networks whose best place the score puts first; ties count
            their share.
        regret: How much more the best place gains than the one put first, a mean, in nats.
        held_out: The same in held-out loss.
    """

    correlation: tuple[float, float, float]
    best: tuple[float, float, float]
    regret: tuple[float, float, float]
    held_out: tuple[float, float, float]


def judged(scores: Array, train: Array, held_out: Array, seed: int = 0) -> Verdict:
    """Judges one score.

    Args:
        scores: Shape ``(networks, places)``; NaN counts as least.
        train: Gains, the same shape.
        held_out: Gains, the same shape.
        seed: Of the bootstrap, which draws whole networks.
    """
    known = np.where(np.isnan(scores), -np.inf, scores)
    chosen = known == known.max(1, keepdims=True)
    share = chosen / chosen.sum(1, keepdims=True)
    telling = np.where(train.max(1) >= LEAST, 1.0, np.nan)
    columns = np.stack(
        [
            telling * _correlations(known, train),
            telling * (share * (train == train.max(1, keepdims=True))).sum(1),
            train.max(1) - (share * train).sum(1),
            held_out.max(1) - (share * held_out).sum(1),
        ]
    )
    drawn = np.random.default_rng(seed).integers(len(train), size=(RESAMPLES, len(train)))
    edges = ((1 - COVERAGE) / 2, (1 + COVERAGE) / 2)
    low, high = np.quantile(np.nanmean(columns[:, drawn], axis=2), edges, axis=1)
    means = np.nanmean(columns, axis=1)
    cells = [(float(m), float(a), float(b)) for m, a, b in zip(means, low, high, strict=True)]
    return Verdict(*cells)


def _correlations(one: Array, other: Array) -> Array:
    """Spearman's over each row."""
    left, right = _centred_ranks(one), _centred_ranks(other)
    size = np.sqrt((left**2).sum(1) * (right**2).sum(1))
    found: Array = (left * right).sum(1) / np.where(size > 0, size, np.inf)
    return found


def _centred_ranks(values: Array) -> Array:
    below = (values[:, None, :] < values[:, :, None]).sum(2)
    same = (values[:, None, :] == values[:, :, None]).sum(2)
    ranks = below + (same - 1) / 2
    centred: Array = ranks - ranks.mean(1, keepdims=True)
    return centred


def document(trials: Sequence[Trial], protocol: str) -> str:
    """The whole page: what was done, and a table for each kind of networks."""
    parts = ["# Where to grow: which score finds the best place", _INTRODUCTION, protocol, _READING]
    for design in dict.fromkeys(trial.design for trial in trials):
        chosen = [trial for trial in trials if trial.design == design]
        parts += [f"## {design.capitalize()}", _shares(chosen), _table(chosen)]
    return "\n\n".join(parts) + "\n"


def _shares(trials: Sequence[Trial]) -> str:
    train = np.array([trial.train for trial in trials])
    every = len(train)
    train = train[train.max(1) >= LEAST]
    shares = (train == train.max(1, keepdims=True)).mean(0)
    gains = train.mean(0)
    listed = "; ".join(
        f"layer {place + 1} is best in {share:.0%}, gains {gain:.3f}"
        for place, (share, gain) in enumerate(zip(shares, gains, strict=True))
    )
    return f"{len(train)} of {every} networks have something to gain. Of these, {listed}."


_INTRODUCTION = (
    "Written by `python -m benchmarks.growth_location --markdown docs/growth_location.md`. "
    "Strategies that rank places rest their defaults on it."
)
_READING = (
    f"Ranks: Spearman's correlation of score and gain over the three places, of the networks whose "
    f"best place gains at least {LEAST} nats. Best: how often the best place of these has the "
    "largest score. Regret, of all networks: what the chosen place gains less than the best one, "
    "in nats of training loss, and of held-out loss. In brackets 95 % intervals of a bootstrap "
    "over networks. Sorted by regret; `random` is the mean over all choices, `best` always right. "
    "One small task: it tells families of scores apart, not neighbours in the table."
)


def _table(trials: Sequence[Trial]) -> str:
    train = np.array([trial.train for trial in trials])
    held_out = np.array([trial.held_out for trial in trials])
    verdicts = {
        name: judged(np.array([trial.scores[name] for trial in trials]), train, held_out)
        for name in trials[0].scores
    }
    verdicts["*random*"] = judged(np.zeros_like(train), train, held_out)
    verdicts["*best*"] = judged(train, train, held_out)
    header = ("score", "ranks", "best", "regret", "held-out regret")
    rows = [header, tuple("-" * len(cell) for cell in header)]
    for name, one in sorted(verdicts.items(), key=lambda item: item[1].regret[0]):
        cells = (_cell(one.correlation, 2), _cell(one.best, 2))
        rows.append((name, *cells, _cell(one.regret, 4), _cell(one.held_out, 4)))
    widths = [max(len(row[column]) for row in rows) for column in range(len(header))]
    return "\n".join(
        "| " + " | ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)) + " |"
        for row in rows
    )


def _cell(value: tuple[float, float, float], digits: int) -> str:
    mean, low, high = (f"{number:.{digits}f}" for number in value)
    return f"{mean} [{low}, {high}]"
