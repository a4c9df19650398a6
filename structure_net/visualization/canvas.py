"""What the pictures share: axes without global state, colours, frames, words for what is absent.

Colours are Okabe and Ito's, which stay distinct under the common colour-vision deficiencies; scales
run through maps of even lightness. No picture says anything by colour alone.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Literal

import torch

from structure_net.errors import MissingAnalysisError
from structure_net.evolution.analysis import Lazy
from structure_net.evolution.metrics.validity import Unavailable

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BLUE: Final = "#0072B2"
VERMILLION: Final = "#D55E00"
GREEN: Final = "#009E73"
PURPLE: Final = "#CC79A7"
ORANGE: Final = "#E69F00"
INK: Final = "#333333"
GREY: Final = "#8C8C8C"
FAINT: Final = "#BBBBBB"
PALE: Final = "#E8E8E8"

SMALL: Final = 8.0
TEXT: Final = 9.0
TITLE: Final = 11.0
_LONGEST_NAME: Final = 22
_SHORTER: Final = 14
_LONGEST_LINE: Final = 66
_MOST_COLUMNS: Final = 20

Grid = Literal["", "x", "y"]

Analysis = Mapping[str, Any]
"""What analyzers found: an `Analysis`, or any mapping with the keys that a picture reads."""


def new_axes(ax: Axes | None, *, width: float = 7.0, height: float = 4.2) -> Axes:
    """``ax``, or the axes of a figure of its own, which no global list holds.

    Args:
        ax: Axes of the caller's.
        width: Of a new figure, in inches.
        height: Of a new figure, in inches.
    """
    if ax is not None:
        return ax
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=150, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    return figure.subplots()


def found(analysis: Analysis, key: str) -> Any:
    """The value of ``key``, computed now where it was left for later.

    Raises:
        MissingAnalysisError: There is none; the message lists the keys that there are.
    """
    if key not in analysis:
        prefix, divided, _ = key.partition("_")
        adds = f"whose keys begin with '{prefix}_'" if divided else "that provides it"
        raise MissingAnalysisError(
            f"This picture needs {key!r}, which the analysis lacks (there is:"
            f" {', '.join(sorted(analysis)) or 'nothing'}). Add the analyzer {adds}, or name one of"
            " these where the picture takes a name."
        )
    value = analysis[key]
    return value.get() if isinstance(value, Lazy) else value


def of_layer(analysis: Analysis, key: str, layer: str | None) -> tuple[str, Any]:
    """The value of ``key`` for a layer, and the layer's name.

    Args:
        analysis: What was found.
        key: Of a mapping by layer.
        layer: Its name; the first one that has a value if None.

    Raises:
        MissingAnalysisError: The key is absent, or knows no such layer.
    """
    values = found(analysis, key)
    if isinstance(values, Unavailable):
        return layer or "", values
    if layer is None:
        known = [name for name, one in values.items() if not isinstance(one, Unavailable)]
        layer = next(iter(known or values), None)
    if layer is None:
        return "", Unavailable("no layer was looked at")
    if layer not in values:
        raise MissingAnalysisError(
            f"{key!r} knows no layer {layer!r}; it knows {', '.join(map(repr, values))}."
        )
    return layer, values[layer]


def frame(ax: Axes, *, title: str = "", x: str = "", y: str = "", grid: Grid = "") -> None:
    """Gives axes our plain look: a title to the left, two spines, faint lines along ``grid``."""
    if title:
        ax.set_title(legible(title), loc="left", fontsize=TITLE, fontweight="bold", color=INK)
    ax.set_xlabel(legible(x), color=INK, fontsize=TEXT)
    ax.set_ylabel(legible(y), color=INK, fontsize=TEXT)
    ax.spines[["top", "right"]].set_visible(False)
    ax.tick_params(which="both", colors=INK, labelsize=SMALL)
    if grid:
        ax.grid(axis=grid, color="#EEEEEE", lw=0.8)
    ax.set_axisbelow(True)


def say_absent(ax: Axes, title: str, reason: Unavailable | str) -> Axes:
    """Draws nothing but the reason why there is nothing to draw."""
    words = reason.reason if isinstance(reason, Unavailable) else reason
    frame(ax, title=title)
    ax.spines[:].set_visible(False)
    ax.set_xticks([])
    ax.set_yticks([])
    text = "\n".join(textwrap.wrap(f"not available: {words}", 48))
    place: dict[str, Any] = {"transform": ax.transAxes, "ha": "center", "va": "center"}
    ax.text(0.5, 0.5, legible(text), fontsize=TEXT, style="italic", color=GREY, **place)
    return ax


def name_rows(ax: Axes, names: Sequence[str]) -> None:
    """Puts the layers' names beside rows 0, 1, ... of the y axis, the first one on top."""
    ax.set_yticks(range(len(names)), [legible(short(name)) for name in names])
    ax.set_ylim(len(names) - 0.5, -0.5)
    ax.tick_params(axis="y", length=0)


def name_columns(ax: Axes, names: Sequence[str], notes: Sequence[str] = ()) -> None:
    """Puts the layers' names below columns 0, 1, ...

    Slanted where they would meet, and only every few of very many; the notes stand in a second
    line where there is room for them.
    """
    crowded = sum(len(short(name)) + 3 for name in names) > _LONGEST_LINE
    step = -(-len(names) // _MOST_COLUMNS)
    texts = [short(name, _SHORTER if notes else _LONGEST_NAME) for name in names]
    if notes and not crowded:
        texts = [f"{text}\n{note}" for text, note in zip(texts, notes, strict=True)]
    turned: dict[str, Any] = (
        {"rotation": 35, "ha": "right", "rotation_mode": "anchor"} if crowded else {}
    )
    shown = range(0, len(names), max(step, 1))
    ax.set_xticks(shown, [legible(texts[place]) for place in shown], **turned)
    ax.tick_params(axis="x", length=0)


def short(name: str, longest: int = _LONGEST_NAME) -> str:
    """A layer's name, its middle left out where it is long."""
    if len(name) <= longest:
        return name or "(network)"
    return f"{name[: longest // 2 - 1]}…{name[-(longest // 2) :]}"


def beside(ax: Axes, place: float, text: str, *, colour: str = INK) -> None:
    """Writes ``text`` to the right of the axes, at ``place`` on the y axis."""
    ax.annotate(
        legible(text),
        (1.0, place),
        xycoords=("axes fraction", "data"),
        xytext=(5, 0),
        textcoords="offset points",
        va="center",
        fontsize=SMALL,
        color=colour,
        annotation_clip=False,
    )


def key(ax: Axes, handles: Sequence[Any] | None = None, *, columns: int = 4) -> None:
    """The legend between the title and the axes, where it covers no data.

    Args:
        ax: With a title by `frame`.
        handles: What is explained; what is drawn with a label if None.
        columns: How many entries stand in a row.
    """
    shown = ax.get_legend_handles_labels()[0] if handles is None else list(handles)
    if not shown:
        return
    ax.legend(
        handles=shown,
        loc="lower left",
        bbox_to_anchor=(0.0, 1.0),
        ncols=columns,
        frameon=False,
        fontsize=SMALL,
        borderaxespad=0.2,
        handletextpad=0.5,
        columnspacing=1.3,
    )
    rows = -(-len(shown) // columns)
    style: dict[str, Any] = {"fontsize": TITLE, "fontweight": "bold", "color": INK}
    ax.set_title(ax.get_title(loc="left"), loc="left", pad=7 + 14 * rows, **style)


def number(value: float) -> str:
    """With three digits, thousands parted."""
    if value == int(value) and abs(value) < 1e15:
        return f"{int(value):,}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def numbers(values: Iterable[Any]) -> list[float]:
    """Those of ``values`` that are finite numbers."""
    plain = [float(one) for one in values if isinstance(one, int | float)]
    return [one for one in plain if torch.isfinite(torch.tensor(one))]


def legible(text: str) -> str:
    """The text with a box for each letter that the font lacks, and with dollar signs as they are.

    matplotlib draws the same box, but warns; and it reads what stands between dollars as a formula.
    """
    from matplotlib.font_manager import FontProperties, findfont, get_font

    known = get_font(findfont(FontProperties())).get_charmap()
    box = "\N{WHITE SQUARE}" if ord("\N{WHITE SQUARE}") in known else "?"
    drawn = (letter if letter == "\n" or ord(letter) in known else box for letter in text)
    return "".join(drawn).replace("$", r"\$")
