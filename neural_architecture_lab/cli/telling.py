"""What `nal` prints: tables for people, plain data for programs."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from neural_architecture_lab.planning import POWERS, Forecast
from neural_architecture_lab.report.wording import ALIKE, duration, is_alike
from neural_architecture_lab.reviewing import Review


def fail(message: str) -> None:
    """Writes one line to standard error."""
    sys.stderr.write(f"nal: {' '.join(message.split())}\n")


def review_row(review: Review) -> dict[str, Any]:
    """How far a hypothesis is, as plain data."""
    return {
        "hypothesis": review.frozen.id,
        "verdict": review.verdict.value,
        "reason": review.reason,
        "seeds": review.seeds,
        "planned": review.planned,
        "trials": review.trials,
        "failed": review.failed,
        "seconds": review.seconds,
        "hash": review.frozen.digest,
    }


def status_cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    """A row of `review_row` as the cells of a table."""
    return (
        row["hypothesis"],
        row["verdict"].upper(),
        f"{row['seeds']} of {row['planned']}",
        str(row["trials"]),
        str(row["failed"]),
        duration(row["seconds"]),
    )


STATUS_COLUMNS = ("hypothesis", "verdict", "seeds", "trials", "failed", "time")


def evidence_rows(reviews: Sequence[Review]) -> list[dict[str, Any]]:
    """Every judged prediction of several hypotheses, as plain data."""
    return [
        {
            "hypothesis": review.frozen.id,
            "metric": one.comparison.prediction.metric,
            "arm": one.comparison.arm,
            "versus": one.comparison.versus,
            "difference": None
            if one.mean is None
            else [one.mean.value, one.mean.low, one.mean.high],
            "standardised": None
            if one.effect is None
            else [one.effect.value, one.effect.low, one.effect.high],
            "corrected_p": one.adjusted,
            "pairs": len(one.comparison.seeds),
            "verdict": one.verdict.value,
        }
        for review in reviews
        for one in review.evidence
    ]


EVIDENCE_COLUMNS = (
    "metric",
    "hypothesis",
    "compared",
    "difference",
    "standardised",
    "p",
    "pairs",
    "verdict",
)


def evidence_cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    """A row of `evidence_rows` as the cells of a table."""
    effect = row["standardised"]
    return (
        row["metric"],
        row["hypothesis"],
        f"{row['arm']} - {row['versus']}",
        _interval(row["difference"]),
        ALIKE if effect and is_alike(effect[0]) else _interval(effect),
        f"{row['corrected_p']:.2g}",
        str(row["pairs"]),
        row["verdict"].upper(),
    )


def forecast_row(name: str, found: Forecast) -> dict[str, Any]:
    """What running a hypothesis would take, as plain data."""
    return {
        "hypothesis": name,
        "seeds": found.seeds,
        "why": found.why,
        "trials": found.trials,
        "seconds_each": found.seconds_each,
        "seconds": found.seconds,
        "predictions": [
            {
                "prediction": str(one.prediction),
                "deviation": one.deviation,
                "effect": one.effect,
                "seeds": {f"{power:g}": count for power, count in one.seeds.items()},
            }
            for one in found.needed
        ],
    }


def forecast_lines(found: Forecast) -> Iterator[str]:
    """The same for people, without the table of seeds."""
    yield f"{found.seeds} seeds: {found.why}"
    yield (
        f"{found.trials} trials of about {duration(found.seconds_each)}: about"
        f" {duration(found.seconds)} in all"
    )


FORECAST_COLUMNS = ("prediction", "effect", *(f"power {power:g}" for power in POWERS))


def forecast_cells(found: Forecast) -> list[tuple[str, ...]]:
    """The seeds that each prediction asks for, by power, as the cells of a table."""
    return [
        (
            str(one.prediction),
            ALIKE if is_alike(one.effect) else f"{one.effect:.3g} sd",
            *("—" if count is None else f"{count} seeds" for count in one.seeds.values()),
        )
        for one in found.needed
    ]


def _interval(values: Sequence[float] | None) -> str:
    return "—" if values is None else "{:.4g} [{:.4g}, {:.4g}]".format(*values)
