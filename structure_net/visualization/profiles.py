"""Where the time of a run went, as an icicle: sections below those that they lie in."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from structure_net.logging.profiling import BESIDE, ONCE, Costs, SectionCost
from structure_net.visualization.canvas import (
    BLUE,
    FAINT,
    GREEN,
    GREY,
    INK,
    ORANGE,
    PALE,
    PURPLE,
    SMALL,
    VERMILLION,
    frame,
    key,
    legible,
    new_axes,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_KINDS: Final = (
    ("training step", BLUE, ("data", "transfer", "forward", "loss", "backward", "optimizer")),
    ("analyzers", ORANGE, ("analyzer ", "shared pass", "analysis")),
    ("strategies", GREEN, ("strategy ",)),
    ("surgery", VERMILLION, ("surgery",)),
    ("trainers", PURPLE, ("trainer ", "validation")),
    ("once per machine", FAINT, tuple(ONCE)),
)
_LEAST: Final = 8
"""Letters of a name from which it is shown, cut if it is longer."""

_LETTER: Final = 0.0085
"""The width of a letter, as a fraction of the axes."""


def plot_costs(costs: Costs, ax: Axes | None = None) -> Axes:
    """The sections of a run, each as wide as its time, those within it below.

    What is left of a section below it is its own time. Sections too narrow for their name go
    without it. Sinks run beside the run; they are left out.

    Args:
        costs: What was measured.
        ax: Where to draw; a new figure if None.
    """
    within = [one for one in costs.sections if not one.path.startswith(BESIDE)]
    deepest = max((one.depth for one in within), default=0)
    ax = new_axes(ax, width=9.0, height=1.5 + 0.62 * (deepest + 2))
    frame(ax, title=f"Where {_seconds(costs.seconds)} went", x="seconds")
    width = max(costs.seconds, 1e-9)
    _box(ax, (0.0, width, 0), f"all  {_seconds(costs.seconds)}", PALE, width)
    met: dict[str, str] = {}
    for one, start in _placed(within, costs):
        kind, colour = _kind(one.name)
        met.setdefault(kind, colour)
        text = f"{_short(one.name)}\n{one.seconds / width:.0%}"
        _box(ax, (start, one.seconds, one.depth + 1), text, colour, width)
    ax.set_xlim(0, width)
    ax.set_ylim(deepest + 2, 0)
    ax.set_yticks([])
    ax.spines["left"].set_visible(False)
    _explain(ax, met)
    return ax


def _placed(sections: list[SectionCost], costs: Costs) -> Iterator[tuple[SectionCost, float]]:
    """Each section with the place where it begins: the largest of its level on the left."""
    by_parent: dict[str, list[SectionCost]] = {}
    for one in sections:
        by_parent.setdefault(one.parent, []).append(one)
    waiting = [("", 0.0)]
    while waiting:
        parent, start = waiting.pop()
        for one in sorted(by_parent.get(parent, ()), key=lambda one: -one.seconds):
            yield one, start
            waiting.append((one.path, start))
            start += one.seconds


def _box(ax: Axes, place: tuple[float, float, int], text: str, colour: str, whole: float) -> None:
    from matplotlib.patches import Rectangle

    start, width, row = place
    ax.add_patch(Rectangle((start, row), width, 1, facecolor=colour, edgecolor="white", lw=0.8))
    room = int(width / whole / _LETTER)
    lines = text.split("\n")
    cut = [line if len(line) <= room else f"{line[: room - 1]}…" for line in lines]
    if room < min(_LEAST, len(lines[0])):  # three letters of a name tell nothing
        return
    ink = INK if colour in {PALE, FAINT, ORANGE, PURPLE} else "white"
    ax.text(
        start + width / 2,
        row + 0.5,
        legible("\n".join(cut)),
        ha="center",
        va="center",
        fontsize=SMALL,
        color=ink,
        linespacing=1.15,
        clip_on=True,
    )


def _kind(name: str) -> tuple[str, str]:
    for kind, colour, beginnings in _KINDS:
        if name.startswith(beginnings):
            return kind, colour
    return "the rest", GREY


def _explain(ax: Axes, met: dict[str, str]) -> None:
    from matplotlib.patches import Patch

    order = [kind for kind, _, _ in _KINDS] + ["the rest"]
    handles = [Patch(color=met[kind], label=kind) for kind in order if kind in met]
    key(ax, handles, columns=7)


def _short(name: str) -> str:
    kind, _, rest = name.partition(" ")
    return rest if kind in {"analyzer", "strategy", "trainer"} else name


def _seconds(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds >= 1 else f"{1000 * seconds:.3g} ms"
