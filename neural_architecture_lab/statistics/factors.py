"""Which factor matters: analyses of variance with the seeds as blocks, on values or on ranks.

Every seed sees every combination of levels, so that a seed's own level is taken out first; for such
balanced designs that is what a mixed model with a random intercept for each seed finds. It takes
trials of one seed to be independent beyond that; `repeated` does not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from neural_architecture_lab.statistics.intervals import Interval
from neural_architecture_lab.statistics.samples import Vector, check_fraction, sample, scaled


@dataclass(frozen=True, slots=True)
class FactorEffect:
    """The effect of a factor, or of two together beyond each alone.

    Args:
        factors: One name, or two for an interaction.
        f: The F statistic.
        p_value: Of an F as large where the factor does nothing.
        freedom: Degrees of freedom of effect and of residual.
        share: Partial eta squared: of the variance that the others leave, what this explains.
    """

    factors: tuple[str, ...]
    f: float
    p_value: float
    freedom: tuple[float, float]
    share: Interval


def factor_effects(
    factors: Mapping[str, Sequence[Any]],
    seeds: Sequence[Any],
    response: ArrayLike,
    *,
    method: Literal["values", "aligned-ranks"] = "values",
    confidence: float = 0.95,
) -> tuple[FactorEffect, ...]:
    """Main effects and two-way interactions of factors, seeds taken out as blocks.

    Args:
        factors: For each factor the level in each trial: ``n`` of them, two or more distinct.
        seeds: The seed of each trial.
        response: Shape ``(n,)``.
        method: ``"values"``: an analysis of variance (type II). ``"aligned-ranks"``: the same of
            ranks, aligned for each effect, where outliers or skew rule.
        confidence: Of the intervals of the shares, in (0, 1).

    Returns:
        The effects, the largest share first. Interactions are those of two factors; they are left
        out where the trials do not tell them apart from the residual.

    Raises:
        ValueError: The lengths differ, a factor has one level, or too few trials are left for the
            residual.

    References:
        Wobbrock et al., "The aligned rank transform for nonparametric factorial analyses", 2011.
    """
    check_fraction(confidence=confidence)
    y, _ = scaled(sample(response, least=3, name="response"))
    columns = _codes(factors, seeds, len(y))
    terms = _terms(tuple(factors), columns, len(y))
    aligned = _aligned(columns, terms, y) if method == "aligned-ranks" else dict.fromkeys(terms, y)
    effects = []
    for term in terms:
        found = _tested(columns, terms, term, aligned[term])
        effects.append(_effect(term, *found, confidence))
    return tuple(sorted(effects, key=lambda effect: -effect.share.value))


_Term = tuple[str, ...]


def _codes(
    factors: Mapping[str, Sequence[Any]], seeds: Sequence[Any], count: int
) -> dict[str, Any]:
    """The levels as numbers, under names that a formula can hold."""
    columns: dict[str, Any] = {}
    for name, levels in {**factors, "": seeds}.items():
        if len(levels) != count:
            what = f"the factor {name!r}" if name else "seeds"
            raise ValueError(f"There are {count} responses, but {what} has {len(levels)} levels.")
        known = {level: place for place, level in enumerate(dict.fromkeys(levels))}
        if name and len(known) < 2:
            raise ValueError(f"The factor {name!r} must have two levels or more; got one.")
        columns[name] = np.array([known[level] for level in levels])
    return columns


def _terms(names: tuple[str, ...], columns: Mapping[str, Any], count: int) -> tuple[_Term, ...]:
    mains: tuple[_Term, ...] = tuple((name,) for name in names)
    pairs: tuple[_Term, ...] = tuple(combinations(names, 2))
    for terms in (mains + pairs, mains):
        used = _design(columns, terms)
        rank = int(np.linalg.matrix_rank(used))
        if rank == used.shape[1] and count - rank >= 2:
            return terms
    raise ValueError(
        f"{count} trials are too few, or too unevenly spread, for the effects of {list(names)};"
        " run every seed with every combination of levels."
    )


def _design(columns: Mapping[str, Any], terms: Sequence[_Term]) -> Any:
    """Sum-to-zero columns of the seeds and of each term, and the intercept."""
    parts = {name: _contrasts(codes) for name, codes in columns.items()}
    blocks = [np.ones((len(columns[""]), 1)), parts[""]]
    for term in terms:
        block = parts[term[0]]
        for name in term[1:]:
            block = (block[:, :, None] * parts[name][:, None, :]).reshape(len(block), -1)
        blocks.append(block)
    return np.concatenate(blocks, 1)


def _contrasts(codes: Any) -> Any:
    count = int(codes.max()) + 1
    table = np.concatenate((np.eye(count - 1), -np.ones((1, count - 1))))
    return table[codes]


def _tested(
    columns: Mapping[str, Any], terms: Sequence[_Term], term: _Term, y: Vector
) -> tuple[float, int, float, int]:
    """Type II: a term against the model without it and without what contains it.

    Returns:
        The sum of squares and the degrees of freedom of the effect and of the residual.
    """
    left, rank = _residual(_design(columns, terms), y)
    others = [other for other in terms if not set(term) <= set(other)]
    without, of_others = _residual(_design(columns, others), y)
    with_it, of_both = _residual(_design(columns, [*others, term]), y)
    return max(without - with_it, 0.0), of_both - of_others, left, len(y) - rank


def _residual(design: Any, y: Vector) -> tuple[float, int]:
    solution, _, rank, _ = np.linalg.lstsq(design, y, rcond=None)
    return float(((y - design @ solution) ** 2).sum()), int(rank)


def _effect(
    term: _Term,
    explained: float,
    of_effect: int,
    left: float,
    of_residual: int,
    confidence: float,
) -> FactorEffect:
    from scipy import stats

    if left <= 1e-28 * (explained + left):
        f, p = (0.0, 1.0) if explained == 0 else (float("inf"), 0.0)
    else:
        f = (explained / of_effect) / (left / of_residual)
        p = float(stats.f.sf(f, of_effect, of_residual))
    share = share_of(f, of_effect, of_residual, confidence=confidence)
    return FactorEffect(term, f, p, (of_effect, of_residual), share)


def share_of(
    f: float, of_effect: float, of_residual: float, *, confidence: float = 0.95
) -> Interval:
    """Partial eta squared with the interval that inverts the noncentral F distribution.

    Args:
        f: The F statistic.
        of_effect: Degrees of freedom of the effect.
        of_residual: Those of the residual.
        confidence: Of the interval, in (0, 1).
    """
    if np.isinf(f):
        return Interval(1.0, 1.0, 1.0, confidence)
    value = f * of_effect / (f * of_effect + of_residual)
    total, tail = of_effect + of_residual + 1, (1 - confidence) / 2
    ends = [_noncentrality(f, of_effect, of_residual, q) for q in (1 - tail, tail)]
    low, high = (end / (end + total) for end in ends)
    return Interval(value, low, high, confidence)


def _noncentrality(f: float, of_effect: float, of_residual: float, probability: float) -> float:
    from scipy import optimize, special

    def excess(noncentrality: float) -> float:
        return float(special.ncfdtr(of_effect, of_residual, noncentrality, f)) - probability

    if excess(0.0) <= 0:
        return 0.0
    reach = 10.0
    while excess(reach) > 0:
        reach *= 2
    return float(optimize.brentq(excess, 0.0, reach))


def _aligned(columns: Mapping[str, Any], terms: Sequence[_Term], y: Vector) -> dict[_Term, Vector]:
    """For each term the ranks of the response from which all other effects were taken."""
    from scipy import stats

    design = _design(columns, terms)
    solution = np.linalg.lstsq(design, y, rcond=None)[0]
    residual = y - design @ solution
    aligned = {}
    for term in terms:
        own = _design(columns, [term])
        width = _width(columns, term)
        place = _places(columns, terms, term)
        effect = own[:, -width:] @ solution[place]
        aligned[term] = np.asarray(stats.rankdata(np.round(residual + effect, 12)))
    return aligned


def _width(columns: Mapping[str, Any], term: _Term) -> int:
    """How many columns a term has in the design."""
    width = 1
    for name in term:
        width *= int(columns[name].max())
    return width


def _places(columns: Mapping[str, Any], terms: Sequence[_Term], term: _Term) -> slice:
    start = 1 + int(columns[""].max())
    for other in terms:
        width = _width(columns, other)
        if other == term:
            return slice(start, start + width)
        start += width
    raise AssertionError(term)
