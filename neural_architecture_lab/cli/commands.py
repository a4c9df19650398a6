"""What each command of `nal` does."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

from neural_architecture_lab.checking import check_trials
from neural_architecture_lab.choosing import choose_runner
from neural_architecture_lab.cli.loading import (
    existing,
    found_again,
    remember,
    remembered,
)
from neural_architecture_lab.cli.searches import (
    is_unfinished,
    run_searches,
    search_again,
    search_row,
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
from neural_architecture_lab.configuration import LabConfig, RunnerName
from neural_architecture_lab.errors import StoreError
from neural_architecture_lab.experiments import (
    available_hypotheses,
    completed,
    ready_hypothesis,
)
from neural_architecture_lab.hypothesis import Hypothesis
from neural_architecture_lab.lab import NeuralArchitectureLab
from neural_architecture_lab.planning import forecast, pilot_jobs
from neural_architecture_lab.progress import progress_on
from neural_architecture_lab.report import keep_report, report_of
from neural_architecture_lab.report.searches import SEARCH_COLUMNS, search_cells
from neural_architecture_lab.restoring import bring_back
from neural_architecture_lab.reviewing import Review, review, review_together
from neural_architecture_lab.run_settings import run_settings_of
from neural_architecture_lab.searching import Searched, searched
from neural_architecture_lab.store import Archive, Store
from neural_architecture_lab.trials import design
from structure_net.cli.console import emit, people, plain_table

if TYPE_CHECKING:
    from rich.console import Console

    from structure_net.logging import Sink

FAILED = 1
"""The exit code where a trial failed."""


def run(
    found: Sequence[tuple[Hypothesis, str]],
    config: LabConfig,
    *,
    sinks: Sequence[Sink] = (),
    as_json: bool = False,
) -> int:
    """Runs hypotheses, each with where it came from, and judges them together."""
    sources = {one.id: source for one, source in found}
    hypotheses = {one.id: one for one, _ in found}
    console = people(quiet=as_json)
    reviews = _run(list(hypotheses.values()), config, sources, console, sinks)
    if as_json:
        emit([review_row(one) for one in reviews])
    return FAILED if any(one.failed for one in reviews) else 0


def resumed(
    folder: Path,
    parallel: int | None,
    runner: str | None,
    device: str | None,
    *,
    limits: tuple[float | None, float | None] = (None, None),
) -> LabConfig:
    """How a folder's lab goes on: as it ran last, in whatever is not told otherwise."""
    before = run_settings_of(folder)
    seconds, memory = limits
    return LabConfig(
        before.parallel if parallel is None else parallel,
        folder,
        device or before.device,
        cast("RunnerName", runner or before.runner),
        replace(
            before.limits,
            seconds=before.limits.seconds if seconds is None else seconds,
            memory=before.limits.memory if memory is None else memory,
        ),
        before.order,
    )


def resume(config: LabConfig, *, sinks: Sequence[Sink] = (), as_json: bool = False) -> int:
    """Goes on with all hypotheses and searches of a folder that are not at their end."""
    archive = existing(config.folder)
    bring_back(run_settings_of(config.folder))
    frozen, sources = archive.hypotheses(), remembered(config.folder)
    reviewed = review(archive, list(frozen))
    left = [key for key, one in reviewed.items() if one.seeds < one.planned]
    # Those that ended count as well: the more are judged together, the more each has to show.
    again = [found_again(one, sources) for key, one in frozen.items() if key in {*left, *sources}]
    open_searches = [one for one in _searched(archive) if is_unfinished(one)]
    begun = {one.id: search_again(archive, one.id, sources) for one in open_searches}
    console = people(quiet=as_json)
    if not left and not begun:
        console.print(f"Nothing is left to run in {config.folder}.", markup=False)
        return status(config.folder, as_json=as_json)
    reviews = _run(again, config, {}, console, sinks) if left else []
    found = run_searches(begun, config, console)
    if as_json:
        emit([*map(review_row, reviews), *map(search_row, found)])
    return FAILED if any(one.failed for one in reviews) else 0


def status(folder: Path, *, as_json: bool = False) -> int:
    """How far each hypothesis and each search of a folder is; also while a lab runs."""
    archive = existing(folder)
    rows = [review_row(one) for one in review(archive, list(archive.hypotheses())).values()]
    begun = _searched(archive)
    if as_json:
        emit([*rows, *map(search_row, begun)])
        return 0
    console = people(quiet=False)
    if rows:
        console.print(plain_table(STATUS_COLUMNS, [status_cells(row) for row in rows], left=True))
    if begun:
        cells = [(one.id, *search_cells(one)) for one in begun]
        console.print(plain_table(SEARCH_COLUMNS, cells, left=True))
    if not rows and not begun:
        console.print(f"{folder} holds no hypothesis yet.", markup=False)
    return 0


def listing(folder: Path | None = None, *, as_json: bool = False) -> int:
    """The hypotheses that are ready to run, or what a folder of results holds."""
    if folder is not None:
        return _held_in(existing(folder), as_json=as_json)
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


def _held_in(archive: Archive, *, as_json: bool) -> int:
    rows = [
        ("hypothesis", one.id, one.category, ", ".join(one.statement["arms"]), one.question)
        for one in archive.hypotheses().values()
    ]
    rows += [
        ("search", key, ", ".join(one.objectives), f"{one.tries} settings", one.question)
        for key, one in archive.searches().items()
    ]
    columns = ("kind", "id", "about", "what", "question")
    if as_json:
        emit([dict(zip(columns, row, strict=True)) for row in rows])
    else:
        people(quiet=False).print(plain_table(columns, rows, left=True))
    return 0


def _searched(archive: Archive) -> list[Searched]:
    return [searched(archive, one) for one in archive.searches()]


def report(
    folder: Path,
    ids: Sequence[str],
    *,
    html: bool = False,
    out: str | None = None,
    keep: bool = False,
) -> int:
    """Prints the report, or writes its page and prints where that is; keeps it with the records.

    Raises:
        StoreError: The folder holds no results, or none of one of ``ids``.
    """
    archive = existing(folder)
    if pages := [one for one in ids if one.endswith(".html")]:  # no id has a full stop
        raise StoreError(f"Where a page goes is said by --out: nal report --out {pages[0]}")
    made = report_of(archive, ids or None)
    if keep:
        with Store(folder) as store:
            keep_report(store)
    console = people(quiet=False)
    if html or out:
        place = made.save_html(out or folder / "report.html")
        console.print(str(place), markup=False, soft_wrap=True)
    else:
        console.print(str(made), markup=False, soft_wrap=True)
    return 0


def compare(folders: Sequence[Path], ids: Sequence[str], *, as_json: bool = False) -> int:
    """Hypotheses of one folder or of several, side by side by metric, judged together.

    Raises:
        StoreError: A folder holds no results, or none holds one of ``ids``.
    """
    archives = [existing(folder) for folder in dict.fromkeys(folders)]
    held = [(archive, list(archive.hypotheses())) for archive in archives]
    known = {one for _, there in held for one in there}
    if unknown := [one for one in ids if one not in known]:
        raise StoreError(
            f"There are no results of {unknown[0]!r}; there are of"
            f" {', '.join(sorted(known)) or 'none'}. Folders are named by --results DIR."
        )
    wanted = [(archive, one) for archive, there in held for one in there if not ids or one in ids]
    rows = []
    for (archive, _), one in zip(wanted, review_together(wanted), strict=True):
        rows += [{"results": str(archive.folder), **row} for row in evidence_rows([one])]
    rows.sort(key=lambda row: row["metric"])
    if as_json:
        emit(rows)
        return 0
    several = len(archives) > 1
    columns = (*EVIDENCE_COLUMNS, *(("results",) if several else ()))
    cells = [(*evidence_cells(row), *((row["results"],) if several else ())) for row in rows]
    people(quiet=False).print(plain_table(columns, cells, left=True))
    return 0


def plan(
    found: Sequence[tuple[Hypothesis, str]],
    config: LabConfig,
    *,
    pilot: int,
    as_json: bool = False,
) -> int:
    """How many seeds for which power, and how long it will take, going by a pilot."""
    console = people(quiet=as_json)
    told = []
    wanted = [completed(hypothesis) for hypothesis, _ in found]
    for one in wanted:
        check_trials(one.name, one.experiment, design(one, seeds=1).trials, device=config.device)
    for one in wanted:
        jobs = list(pilot_jobs(one, pilot, config.device))
        console.print(
            f"{one.name}: a pilot of {pilot} seeds first, {len(jobs)} trials, which are none of"
            " those that are tested; nothing of it is stored.",
            markup=False,
            soft_wrap=True,
        )
        chosen = choose_runner(config, design(one, seeds=pilot), one.experiment)
        begun, results = time.perf_counter(), []
        with progress_on(console, "pilot", len(jobs)) as tell, closing(chosen.runner) as runner:
            for result in runner.run(jobs):
                results.append(result)
                tell(result, len(results), len(jobs))
        wall = time.perf_counter() - begun
        foreseen = forecast(one, results, parallel=config.max_parallel_experiments, wall=wall)
        told.append(forecast_row(one.id, foreseen))
        for line in forecast_lines(foreseen):
            console.print(line, markup=False, soft_wrap=True)
        console.print(plain_table(FORECAST_COLUMNS, forecast_cells(foreseen), left=True))
    if as_json:
        emit(told)
    return 0


def _run(
    hypotheses: Sequence[Hypothesis],
    config: LabConfig,
    sources: dict[str, str],
    console: Console,
    sinks: Sequence[Sink] = (),
) -> list[Review]:
    lab = NeuralArchitectureLab(config, sinks=sinks)
    for one in hypotheses:
        laid = lab.plan(lab.register_hypothesis(one))
        said = f"{one.id}: {len(laid.trials)} trials, {laid.seeds} seeds ({laid.why})"
        console.print(said, markup=False, soft_wrap=True)
    lab.check()
    remember(config.folder, sources)
    total = sum(len(lab.plan(key).trials) for key in lab.hypotheses)
    with progress_on(console, "running", total) as tell:
        results = lab.run_all(on_result=tell)
    for result in results.values():
        console.print(str(result), markup=False, soft_wrap=True)
    console.print(f"nal report --results {config.folder}", markup=False, soft_wrap=True)
    return [one.review for one in results.values()]
