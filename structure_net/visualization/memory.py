"""The memory of a process over time, with the line that was fitted to it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from structure_net.visualization.canvas import BLUE, FAINT, VERMILLION, frame, key, new_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Line = tuple[tuple[float, float], tuple[float, float]]
"""Two points: seconds and MiB."""


def plot_memory(
    samples: Sequence[tuple[float, float]],
    ax: Axes | None = None,
    *,
    line: Line | None = None,
    title: str = "Memory over time",
) -> Axes:
    """Memory as a curve that begins at 0 MiB, so that a small slope looks small.

    Args:
        samples: Seconds and MiB, in the order of time.
        ax: Where to draw; a new figure if None.
        line: The two ends of a fitted line.
        title: Stands above.
    """
    ax = new_axes(ax, width=8.0, height=3.6)
    frame(ax, title=title, x="minutes", y="MiB", grid="y")
    minutes = [seconds / 60 for seconds, _ in samples]
    held = [mebibytes for _, mebibytes in samples]
    ax.plot(minutes, held, color=BLUE, lw=1.2, label="memory of the process, without mapped files")
    ax.fill_between(minutes, held, color=FAINT, alpha=0.35, lw=0)
    if line is not None:
        (start, low), (end, high) = line
        label = "fitted line, after the first sixth"
        ax.plot([start / 60, end / 60], [low, high], color=VERMILLION, lw=1.6, ls="--", label=label)
    ax.set_ylim(0, 1.15 * max(held, default=1.0))
    ax.set_xlim(0, max(minutes, default=1.0) or 1.0)
    key(ax)
    return ax
