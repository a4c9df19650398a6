"""What a report says of a search: what was sought, what did best, and how it got there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import accumulate
from typing import Any, Final

from neural_architecture_lab.report import pictures
from neural_architecture_lab.report.blocks import Block, Bullets, Grid, Heading, Paragraph, Picture
from neural_architecture_lab.report.wording import ABSENT, duration, number
from neural_architecture_lab.searching import Searched, Try

MOST_ROWS: Final = 10
"""Further settings are left to the store."""

SEARCH_COLUMNS: Final = ("search", "settings", "best", "pruned", "failed", "trials", "time")
"""The table of searches."""


def searches(found: Sequence[Searched]) -> list[Block]:
    """All searches: one table, then one chapter each."""
    if not found:
        return []
    rows = tuple((one.name, *search_cells(one)) for one in found)
    blocks: list[Block] = [Heading(2, "Searches"), Grid(SEARCH_COLUMNS, rows)]
    for one in found:
        blocks += _chapter(one)
    return blocks


def search_cells(found: Searched) -> tuple[str, ...]:
    """How far a search is, and what is best: what stands behind its name in `SEARCH_COLUMNS`."""
    return (
        f"{len(found.tries) - found.ended('asked')} of {found.planned}",
        best_words(found),
        str(found.ended("pruned")),
        str(found.ended("failed")),
        str(found.trials),
        duration(found.seconds),
    )


def best_words(found: Searched) -> str:
    """The best of a search in a few words."""
    front, names = found.front, list(found.objectives)
    if not front:
        return ABSENT
    if len(names) > 1:
        return f"{len(front)} on the Pareto front"
    return f"{names[0]} {number(front[0].values[0])}: {settings_words(front[0].params)}"


def settings_words(settings: Mapping[str, Any]) -> str:
    """Settings by name, in words."""
    return ", ".join(f"{name} {_shown(value)}" for name, value in settings.items())


def course_svg(found: Searched) -> str:
    """Each setting's objective in the order of trying, and the best so far."""
    from structure_net.visualization.canvas import FAINT, VERMILLION, frame, key

    ((metric, way),) = found.objectives.items()
    figure, (ax,) = pictures.panels(1, 1, 2.8)
    ended = [one for one in found.tries if one.state == "complete"]
    pruned = [one for one in found.tries if one.state == "pruned" and one.values]
    unit = pictures.Unit.of(one.values[0] for one in (*ended, *pruned))
    numbers, values = [one.number for one in ended], [unit(one.values[0]) for one in ended]
    best = list(accumulate(values, max if way == "higher" else min))
    ax.step(numbers, best, where="post", color=VERMILLION, lw=1.5, label="best so far")
    ax.plot(numbers, values, "o", color=pictures.colours(["setting"])[0], ms=4, label="setting")
    if pruned:
        shown = [unit(one.values[0]) for one in pruned]
        ax.plot([one.number for one in pruned], shown, "x", color=FAINT, ms=5, label="pruned")
    frame(ax, x="setting", y=unit.name(metric), grid="y")
    ax.xaxis.get_major_locator().set_params(integer=True)
    key(ax, columns=3)
    return pictures.svg(figure)


def _chapter(found: Searched) -> list[Block]:
    sought = tuple(f"{metric}: {way} is better" for metric, way in found.objectives.items())
    blocks: list[Block] = [Heading(3, found.name)]
    if found.question:
        blocks.append(Paragraph(found.question, "Question."))
    blocks += [Bullets(sought), Paragraph(f"{_space(found)}.", "Searched:")]
    blocks.append(Paragraph(f"before the first trial; SHA-256 {found.digest}", "Frozen:"))
    if found.changed:
        blocks += [Paragraph("", "What was changed since:"), Bullets(found.changed)]
    reasons = Counter(one.reason for one in found.tries if one.state == "failed")
    if reasons:
        said = tuple(f"{count} x {reason}" for reason, count in reasons.most_common(MOST_ROWS))
        blocks += [Paragraph("", "What failed:"), Bullets(said)]
    if not found.front:
        return [*blocks, Paragraph("No setting was tried to its end yet.")]
    blocks.append(
        Paragraph(
            "The best of many looks better than it is: what was found is a guess until fresh seeds"
            " confirm it."
        )
    )
    blocks.append(_table(found))
    if len(found.objectives) == 1:
        says = "Each setting in the order of trying, and the best so far."
        blocks.append(Picture(f"{found.id}-course", says, partial(course_svg, found)))
    return blocks


def _space(found: Searched) -> str:
    statement = found.statement
    space = statement.get("space", {})
    if "suggest" in space and "source" in space:
        what = f"what {space['suggest']} suggests"
    else:
        what = "; ".join(f"{name} {_levels(levels)}" for name, levels in space.items())
    each = f"{found.seeds} seed{'s' * (found.seeds != 1)} each"
    parts = [str(statement.get(part, "")).rpartition(".")[2] for part in ("sampler", "pruner")]
    return ", ".join([what, each, *(f"by {part}" for part in parts if part)])


def _levels(levels: Any) -> str:
    if isinstance(levels, Mapping):
        ends = f"from {_shown(levels['low'])} to {_shown(levels['high'])}"
        return f"{ends} (logarithmic)" if levels["log"] else ends
    return "in " + " / ".join(map(_shown, levels))


def _table(found: Searched) -> Grid:
    names = sorted({name for one in found.tries for name in one.params})
    columns = ("setting", *found.objectives, *names)
    rows = tuple(
        (
            str(one.number),
            *map(number, one.values),
            *(_shown(one.params[name]) if name in one.params else ABSENT for name in names),
        )
        for one in _ranked(found)[:MOST_ROWS]
    )
    return Grid(columns, rows)


def _ranked(found: Searched) -> Sequence[Try]:
    if len(found.objectives) > 1:
        return found.front
    ((_, way),) = found.objectives.items()
    done = [one for one in found.tries if one.state == "complete"]
    return sorted(done, key=lambda one: one.values[0] * (-1 if way == "higher" else 1))


def _shown(value: Any) -> str:
    return number(value) if isinstance(value, float) else str(value)
