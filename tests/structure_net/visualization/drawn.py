"""What pictures have drawn, by its kind."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.patches import Rectangle


def rectangles(ax: Axes) -> list[Rectangle]:
    """The bars, in the order of drawing."""
    return [patch for patch in ax.patches if isinstance(patch, Rectangle)]
