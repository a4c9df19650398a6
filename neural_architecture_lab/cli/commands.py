"""What each command of `nal` does."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from neural_architecture_lab.choosing import choose_runner
from neural_architecture_lab.cli.loading import (
    found_again,
    hypotheses_of,
    lasting,
    remember,
    remembered,
)
from neural_architecture_lab.cli.telling import (
    EVIDENCE_COLUMNS,
    FORECAST_COLUMNS,
    STATUS_COLUMNS,
    evidence_cells,
    evidence_rows,
    forecast_cells,
    forecast_lines,
    forecast_row,
    review_row,
    status_cells,
)
from neural_architecture_lab.configuration import LabConfig
from neural_architecture_lab.experiments import (
    available_hypotheses,
    completed,
    ready_hypothesis,
)
from neural_architecture_lab.hypothesis import Hypothesis
from neural_architecture_lab.lab import NeuralArchitectureLab
from neural_architecture_lab.planning import forecast, pilot_jobs
from neural_architecture_lab.progress import progress_on
from neural_architecture_lab.report import report_of
from neural_architecture_lab.reviewing import review
from neural_architecture_lab.store import Archive
from neural_architecture_lab.trials import design
from structure_net.cli.console import emit, people, plain_table

FAILED = 1
"""The exit code where a trial failed."""


def run(
    names: Sequence[str], config: LabConfig, *, seeds: int | None = None, as_json: bool = False
) -> int:
    """Runs hypotheses by name or file, and judges them together."""
    found: dict[str, tuple[Hypothesis, str]] = {}
    for name in names:
        for one in hypotheses_of(name):
            found[one.id] = (one if seeds is None else replace(one, seeds=seeds), lasting(name))
    sources = {key: source for key, (_, source) in found.items()}
    return _run([one for one, _ in found.values()], config, sources, as_json=as_json)


def resume(config: LabConfig, *, as_json: bool = False) -> int:
    """Goes on with all hypotheses of a folder that are not at their end."""
    archive = Archive(config.folder)
    frozen, sources = archive.hypotheses(), remembered(config.folder)
    reviews = review(archive, list(frozen))
    left = [key for key, one in reviews.items() if one.seeds < one.planned]
    # Those that ended count as well: the more are judged together, the more each has to show.
    again = [found_again(one, sources) for key, one in frozen.items() if key in {*left, *sources}]
    if not left:
        people(quiet=as_json).print(f"Nothing is left to run in {config.folder}.", markup=False)
        return status(config.folder, as_json=as_json)
    return _run(again, config, {}, as_json=as_json)


def status(folder: Path, *, as_json: bool = False) -> int:
    """How far each hypothesis of a folder is; also while a lab runs."""
    archive = Archive(folder)
    rows = [review_row(one) for one in review(archive, list(archive.hypotheses())).values()]
    if as_json:
        emit(rows)
        return 0
    table = plain_table(STATUS_COLUMNS, [status_cells(row) for row in rows], left=True)
    people(quiet=False).print(table if rows else f"{folder} holds no hypothesis yet.")
    return 0


def listing(*, as_json: bool = False) -> int:
    """The hypotheses that are ready to run."""
    library = {name: ready_hypothesis(name) for name in available_hypotheses()}
    if as_json:
        emit(
            [
                {
                    "name": name,
                    "category": one.category.value,
                    "question": one.question,
                    "prediction": one.prediction,
                    "arms": [arm.name for arm in one.arms],
                }
                for name, one in library.items()
            ]
        )
        return 0
    rows = [
        (name, one.category.value, ", ".join(arm.name for arm in one.arms), one.question)
        for name, one in library.items()
    ]
    people(quiet=False).print(
        plain_table(("name", "category", "arms", "question"), rows, left=True)
    )
    return 0


def report(folder: Path, ids: Sequence[str], *, html: bool = False, out: str | None = None) -> int:
    """Prints the report, or writes its page and prints where that is."""
    made = report_of(Archive(folder), ids or None)
    console = people(quiet=False)
    if html or out:
        place = made.save_html(out or folder / "report.html")
        console.print(str(place), markup=False, soft_wrap=True)
    else:
        console.print(str(made), markup=False, soft_wrap=True)
    return 0


def compare(folder: Path, ids: Sequence[str], *, as_json: bool = False) -> int:
    """Hypotheses side by side, metric by metric, judged together."""
    archive = Archive(folder)
    reviews = review(archive, list(ids or archive.hypotheses()))
    rows = sorted(evidence_rows(list(reviews.values())), key=lambda row: row["metric"])
    if as_json:
        emit(rows)
        return 0
    people(quiet=False).print(
        plain_table(EVIDENCE_COLUMNS, [evidence_cells(row) for row in rows], left=True)
    )
    return 0


def plan(names: Sequence[str], config: LabConfig, *, pilot: int, as_json: bool = False) -> int:
    """How many seeds for which power, and how long it will take, going by a pilot."""
    console = people(quiet=as_json)
    told = []
    for one in [completed(h) for name in names for h in hypotheses_of(name)]:
        jobs = list(pilot_jobs(one, pilot, config.device))
        console.print(
            f"{one.name}: a pilot of {pilot} seeds first, {len(jobs)} trials, which are none of"
            " those that are tested; nothing of it is stored.",
            markup=False,
            soft_wrap=True,
        )
        chosen = choose_runner(config, design(one, seeds=pilot))
        begun, results = time.perf_counter(), []
        with progress_on(console, "pilot", len(jobs)) as tell, closing(chosen.runner) as runner:
            for result in runner.run(jobs):
                results.append(result)
                tell(result, len(results), len(jobs))
        wall = time.perf_counter() - begun
        found = forecast(one, results, parallel=config.max_parallel_experiments, wall=wall)
        told.append(forecast_row(one.id, found))
        for line in forecast_lines(found):
            console.print(line, markup=False, soft_wrap=True)
        console.print(plain_table(FORECAST_COLUMNS, forecast_cells(found), left=True))
    if as_json:
        emit(told)
    return 0


def _run(
    hypotheses: Sequence[Hypothesis],
    config: LabConfig,
    sources: dict[str, str],
    *,
    as_json: bool,
) -> int:
    console = people(quiet=as_json)
    lab = NeuralArchitectureLab(config)
    for one in hypotheses:
        laid = lab.plan(lab.register_hypothesis(one))
        said = f"{one.id}: {len(laid.trials)} trials, {laid.seeds} seeds ({laid.why})"
        console.print(said, markup=False, soft_wrap=True)
    remember(config.folder, sources)
    total = sum(len(lab.plan(key).trials) for key in lab.hypotheses)
    with progress_on(console, "running", total) as tell:
        results = lab.run_all(on_result=tell)
    if as_json:
        emit([review_row(one.review) for one in results.values()])
    else:
        for result in results.values():
            console.print(str(result), markup=False, soft_wrap=True)
        console.print(f"nal report --results {config.folder}", markup=False, soft_wrap=True)
    return FAILED if any(one.review.failed for one in results.values()) else 0
