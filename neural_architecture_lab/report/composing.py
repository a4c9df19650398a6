"""From what was gathered to what is said: the blocks of a report, in the order of reading."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from neural_architecture_lab.insights import Insight
from neural_architecture_lab.judgement import Evidence
from neural_architecture_lab.report import pictures
from neural_architecture_lab.report.blocks import Block, Bullets, Grid, Heading, Paragraph, Picture
from neural_architecture_lab.report.factoring import factors
from neural_architecture_lab.report.fronts import front_of
from neural_architecture_lab.report.gathering import MOST_SHOWN, Section
from neural_architecture_lab.report.wording import (
    ABSENT,
    duration,
    interval,
    mean,
    moment,
    standardised,
)
from neural_architecture_lab.runners.protocol import headline


def summary(sections: Sequence[Section]) -> list[Block]:
    """All hypotheses in one table."""
    if not sections:
        return [Paragraph("No hypothesis has been frozen here yet.")]
    family = sections[0].review.family
    rows = tuple(
        (
            section.review.frozen.name,
            section.review.verdict.upper(),
            section.review.frozen.category,
            f"{section.review.seeds} of {section.review.planned}",
            str(section.review.trials),
            str(section.review.failed),
            duration(section.review.seconds),
        )
        for section in sections
    )
    columns = ("hypothesis", "verdict", "category", "seeds", "trials", "failed", "time")
    together = (
        f"{family} predictions are judged together: p-values are corrected for all of them (Holm)."
    )
    return [Grid(columns, rows, leads=True), *([Paragraph(together)] if family > 1 else [])]


def chapter(section: Section) -> list[Block]:
    """One hypothesis."""
    return [
        Heading(2, section.review.frozen.name),
        *_statement(section),
        *_verdict(section),
        *_arms(section),
        *factors(section),
        *_front(section),
        *_courses(section),
        *_cost(section),
        *_deviations(section),
        *_environment(section),
    ]


def learned(insights: Sequence[Insight]) -> list[Block]:
    """What the results show beyond the verdicts."""
    heading = Heading(2, "Insights")
    if not insights:
        return [heading, Paragraph("No test beyond those of the predictions found anything.")]
    rows = tuple(
        (one.kind, one.sentence, one.test, f"{one.p_value:.2g}", f"{one.adjusted:.2g}")
        for one in insights
    )
    said = (
        "Found in these same results, not predicted: each needs seeds of its own to be confirmed."
        " p-values are corrected for all tests that were made (Benjamini and Hochberg)."
    )
    return [heading, Paragraph(said), Grid(("kind", "finding", "test", "p", "corrected p"), rows)]


def _statement(section: Section) -> list[Block]:
    frozen, statement = section.review.frozen, section.review.frozen.statement
    blocks: list[Block] = [
        Paragraph(frozen.question, "Question."),
        Paragraph(frozen.prediction, "Prediction."),
        Bullets(tuple(_predicted(said) for said in statement["predictions"])),
        Paragraph(
            f"{moment(frozen.time)}, before the trials that follow; SHA-256 {frozen.digest}",
            "Frozen:",
        ),
    ]
    if supplied := statement.get("supplied"):
        names = ", ".join(supplied)
        blocks.append(Paragraph(f"The category {frozen.category} supplies {names}.", "By default:"))
    return blocks


def _predicted(said: Mapping[str, Any]) -> str:
    arm, versus = said["arms"]
    size = float(said["smallest_effect"])
    if said["direction"] == "same":
        return f"{said['metric']} of {arm} is within {size:g} of that of {versus}"
    by = f", by {size:g} or more" if size else ""
    return f"{said['metric']} of {arm} is {said['direction']} than that of {versus}{by}"


def _verdict(section: Section) -> list[Block]:
    found = section.review
    blocks: list[Block] = [
        Heading(3, f"Verdict: {found.verdict.upper()}"),
        Paragraph(f"After {found.seeds} of {found.planned} seeds; {found.reason}."),
    ]
    if found.stopped_early:
        looks = ", ".join(map(str, found.frozen.statement["looks"]))
        blocks.append(Paragraph(f"Stopped early, at one of the planned looks ({looks} seeds)."))
    if section.judged and section.judged != found.verdict:
        blocks.append(
            Paragraph(
                f"When its trials ended it was judged with fewer others: {section.judged.upper()}."
                " Here the p-values allow for all hypotheses of this report."
            )
        )
    if found.evidence:
        blocks += [_evidence(found.evidence), Bullets(tuple(map(_why, found.evidence)))]
    if any(one.mean is not None for one in found.evidence):
        says = (
            "Mean differences with their intervals, and the seeds as ticks; what is grey is"
            " smaller than what matters."
        )
        draw = partial(pictures.effects_svg, section)
        blocks.append(Picture(f"{found.frozen.id}-effects", says, draw))
    return blocks


def _evidence(evidence: Sequence[Evidence]) -> Grid:
    columns = (
        "prediction about",
        "mean difference",
        "standardised",
        "p",
        "corrected p",
        "pairs",
        "verdict",
    )
    rows = tuple(
        (
            _compared(one),
            interval(one.mean),
            standardised(one.effect),
            f"{one.comparison.p_value:.2g}",
            f"{one.adjusted:.2g}",
            str(len(one.comparison.seeds)),
            one.verdict.upper(),
        )
        for one in evidence
    )
    return Grid(columns, rows)


def _compared(one: Evidence) -> str:
    compared = one.comparison
    return f"{compared.prediction.metric}: {compared.arm} minus {compared.versus}"


def _why(one: Evidence) -> str:
    """The reason without the numbers that the table has already."""
    reason = one.reason.partition("; mean difference")[0]
    settles = f"; about {one.seeds_to_settle} seeds would settle it" if one.seeds_to_settle else ""
    return f"{_compared(one)}: {reason}{settles}"


def _arms(section: Section) -> list[Block]:
    tables = {metric: section.values(metric) for metric in section.metrics}
    arms = [arm for arm in section.arms if any(table.get(arm) for table in tables.values())]
    if not arms:
        return []
    rows = tuple(
        (metric, *(mean(list(table.get(arm, {}).values())) for arm in arms))
        for metric, table in tables.items()
    )
    blocks: list[Block] = [
        Heading(3, "Arms"),
        Paragraph("Means over the seeds, with 95 % intervals; the control comes first."),
        Grid(("metric", *arms), rows),
    ]
    if pictures.compared(section):
        says = "Every seed in each arm, joined by a line; the bars are the means."
        draw = partial(pictures.seeds_svg, section)
        blocks.append(Picture(f"{section.review.frozen.id}-seeds", says, draw))
    return blocks


def _front(section: Section) -> list[Block]:
    front = front_of(section)
    if front is None:
        return []
    rows = tuple(
        (arm, interval(goal), interval(cost), "yes" if best else "no", f"{sure:.0%}")
        for arm, cost, goal, best, sure in zip(
            front.arms, front.costs, front.goals, front.best, front.sure, strict=True
        )
    )
    says = f"Arms by {front.goal} and {front.cost}; filled marks are beaten by none in both."
    name = f"{section.review.frozen.id}-front"
    return [
        Heading(3, f"Pareto front of {front.goal} and {front.cost}"),
        Grid(("arm", front.goal, front.cost, "on the front", "of resamples"), rows),
        Picture(name, says, partial(pictures.front_svg, front)),
    ]


def _courses(section: Section) -> list[Block]:
    blocks: list[Block] = []
    name = section.review.frozen.id
    first = f"seeds below {MOST_SHOWN}"
    if section.points > 1:
        point = section.review.frozen.statement["points"][0]
        first += "; " + ", ".join(f"{key} {value}" for key, value in point.items())
    if pictures.curve_names(section):
        says = f"Learning curves, the mean of each arm and each seed faintly ({first})."
        blocks += [Heading(3, "Learning curves"), _ends(section)]
        blocks.append(Picture(f"{name}-curves", says, partial(pictures.curves_svg, section)))
    if pictures.grew(section):
        says = f"When each network grew (up to {pictures.MOST_PANELS} seeds of each arm)."
        blocks += [Heading(3, "Growth"), _growth(section)]
        blocks.append(Picture(f"{name}-growth", says, partial(pictures.growth_svg, section)))
    return blocks


def _ends(section: Section) -> Grid:
    rows = []
    for name in pictures.curve_names(section):
        of_arms = [
            [s.curves[name][-1] for s in section.shown if s.arm == arm and s.curves.get(name)]
            for arm in section.arms
        ]
        rows.append((name, *(mean([x for x in ends if math.isfinite(x)]) for ends in of_arms)))
    return Grid(("at the last epoch", *section.arms), tuple(rows))


def _growth(section: Section) -> Grid:
    rows = []
    for arm in section.arms:
        events = [shown.events for shown in section.shown if shown.arm == arm]
        counts = Counter(text for of_seed in events for _, text in of_seed)
        epochs = [when for of_seed in events for when, _ in of_seed]
        when = f"{min(epochs):g} to {max(epochs):g}" if epochs else ABSENT
        what = ", ".join(f"{text} {count}x" for text, count in counts.most_common(5)) or ABSENT
        rows.append((arm, str(len(events)), what, when))
    return Grid(("arm", "seeds", "what happened", "epochs"), tuple(rows))


def _cost(section: Section) -> list[Block]:
    rows = []
    for arm in section.arms:
        of_arm = [trial for trial in section.tried if trial.arm == arm]
        seconds = [trial.seconds for trial in of_arm]
        memory = [trial.memory for trial in of_arm if trial.memory is not None]
        rows.append(
            (
                arm,
                str(len(of_arm)),
                str(sum(trial.status != "finished" for trial in of_arm)),
                duration(math.fsum(seconds)),
                duration(math.fsum(seconds) / len(seconds)) if seconds else ABSENT,
                f"{max(memory):.0f} MiB" if memory else ABSENT,
            )
        )
    columns = ("arm", "trials", "failed", "time in all", "time of one", "most memory")
    blocks: list[Block] = [Heading(3, "Cost"), Grid(columns, tuple(rows))]
    errors = Counter(
        (trial.arm, trial.status, headline(trial.error))
        for trial in section.tried
        if trial.status != "finished"
    )
    if errors:
        said = tuple(
            f"{arm}: {count} × {status.replace('_', ' ')}{': ' if error else ''}{error}"
            for (arm, status, error), count in errors.most_common(10)
        )
        blocks += [Paragraph("", "What failed:"), Bullets(said)]
    return blocks


def _deviations(section: Section) -> list[Block]:
    if not section.deviations:
        return [Paragraph("none since the hypothesis was first frozen.", "Deviations:")]
    first = section.first
    return [
        Heading(3, "Deviations"),
        Paragraph(
            f"First frozen {moment(first.time)} with SHA-256 {first.digest}."
            " What was changed since:"
        ),
        Bullets(section.deviations),
    ]


def _environment(section: Section) -> list[Block]:
    code, how = section.review.frozen.statement["code"], section.how
    rows = [(name, str(said)) for name, said in code.items() if name != "source"]
    rows.append(("SHA-256 of the experiment's source", str(code.get("source", ""))))
    blocks: list[Block] = [Heading(3, "How it was run")]
    if how:
        blocks.append(Paragraph(f"{how.get('runner', '?')}: {how.get('why', '')}.", "Runner:"))
        blocks.append(Paragraph(f"{how.get('device', '?')}.", "Device:"))
        blocks.append(Paragraph(f"{how.get('seeds', '')}.", "Number of seeds:"))
    return [*blocks, Grid(("what", "which"), tuple(rows))]
