"""All tests that there are to make of what is stored, corrected together, and what they carry."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from neural_architecture_lab.hypothesis import Hypothesis
from neural_architecture_lab.insights import arms, factors
from neural_architecture_lab.insights.drawn import drawn
from neural_architecture_lab.insights.features import features
from neural_architecture_lab.insights.following import follow_up
from neural_architecture_lab.insights.insight import Insight, Insights
from neural_architecture_lab.insights.reading import Tried, averaged, read_tried
from neural_architecture_lab.reviewing import Review, review
from neural_architecture_lab.statistics import benjamini_hochberg
from neural_architecture_lab.store import Archive


def extract(
    archive: Archive,
    ids: Sequence[str] | None = None,
    *,
    level: float = 0.05,
    registered: Mapping[str, Hypothesis] | None = None,
) -> Insights:
    """What is learned beyond the verdicts, the surest first.

    Every test that is made counts, whatever came out (Benjamini and Hochberg). Of a hypothesis that
    is still running, or that stopped early, only its predictions are tested, by the test that
    allows for looks; the others would take a number of seeds that the results themselves chose.

    Args:
        archive: Where the results are.
        ids: Of which hypotheses; of all if None.
        level: Of what is told, the share that may be false on average.
        registered: Hypotheses by id, for follow-ups.

    Raises:
        StoreError: One of them has no results.
    """
    wanted = list(archive.hypotheses()) if ids is None else list(ids)
    studied = [
        (one, read_tried(archive, one.frozen.id)) for one in review(archive, wanted).values()
    ]
    candidates = list(_candidates(studied))
    adjusted = benjamini_hochberg([one.p_value for one in candidates])
    found = [
        replace(one, adjusted=float(p))
        for one, p in zip(candidates, adjusted, strict=True)
        if p <= level
    ]
    ranked = sorted(found, key=lambda one: (one.adjusted, one.p_value))
    return Insights(_followed(one, registered or {}) for one in ranked)


def _candidates(studied: Sequence[tuple[Review, Sequence[Tried]]]) -> Iterator[Insight]:
    ended = [(one, trials) for one, trials in studied if one.seeds >= one.planned]
    for one, _ in studied:
        yield from arms.surprises(one)
    for one, trials in ended:
        statement = one.frozen.statement
        names = sorted({name for trial in trials for name in trial.metrics})
        tables = {name: averaged(trials, name, len(statement["points"])) for name in names}
        yield from arms.dominance(one, tables)
        yield from arms.equivalence(one, tables)
        predicted = {str(said["metric"]) for said in statement["predictions"]}
        looked_at = sorted(predicted | ({*arms.GOALS} & set(names)))
        yield from arms.instability(
            one, {name: tables[name] for name in looked_at if name in tables}
        )
        for metric in looked_at:
            yield from factors.effects(one, trials, metric)
            yield from factors.doses(one, trials, metric)
            yield from drawn(one, trials, metric)
    yield from features(ended)


def _followed(insight: Insight, registered: Mapping[str, Hypothesis]) -> Insight:
    hypothesis = registered.get(insight.hypotheses[0])
    if hypothesis is None:
        return insight
    return replace(insight, follow_up=follow_up(insight, hypothesis))
