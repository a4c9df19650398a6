"""What `nal` prints: tables for people, plain data for programs, and progress."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from neural_architecture_lab.planning import POWERS, Forecast
from neural_architecture_lab.report.composing import duration
from neural_architecture_lab.reviewing import Review
from neural_architecture_lab.runners.protocol import Result

if TYPE_CHECKING:
    from rich.console import Console

    from neural_architecture_lab.lab import OnResult


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
    return (
        row["metric"],
        row["hypothesis"],
        f"{row['arm']} - {row['versus']}",
        _interval(row["difference"]),
        _interval(row["standardised"]),
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
            f"{one.effect:.3g} sd",
            *("—" if count is None else f"{count} seeds" for count in one.seeds.values()),
        )
        for one in found.needed
    ]


@contextmanager
def progress_on(console: Console, what: str, of: int) -> Iterator[OnResult]:
    """Tells of results while the block runs: a bar on a terminal, a line for each tenth else.

    Args:
        console: Where.
        what: What goes on.
        of: How many trials there are in all.
    """
    if not console.is_terminal:
        yield _lines(console, what)
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
    from rich.progress import TimeRemainingColumn as Left

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), Left())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(what, total=of)

        def tell(result: Result, ended: int, total: int) -> None:
            bar.update(task, completed=ended, total=total)
            _tell_failure(console, result)

        yield tell


def _lines(console: Console, what: str) -> OnResult:
    def tell(result: Result, ended: int, of: int) -> None:
        if ended == of or ended * 10 // of > (ended - 1) * 10 // of:
            console.print(f"{what}: {ended} of {of} trials", markup=False)
        _tell_failure(console, result)

    return tell


def _tell_failure(console: Console, result: Result) -> None:
    if result.status != "finished":
        last = (result.error.strip().splitlines() or [""])[-1]
        said = f"{result.trial.id}: {result.status.replace('_', ' ')} {last}".strip()
        console.print(said, markup=False, soft_wrap=True)


def _interval(values: Sequence[float] | None) -> str:
    return "—" if values is None else "{:.4g} [{:.4g}, {:.4g}]".format(*values)
