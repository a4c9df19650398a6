"""The pictures of an analysis: which there are, what they need, and what each shows."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from structure_net import visualization as draw
from structure_net.surgery.journal import Journal

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_PARTS: Final = 9
"""A picture that is drawn once for each layer shows at most so many of them."""

_ACROSS: Final = 3


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture of the report.

    Args:
        name: Of its file, without the ending.
        title: Its heading.
        caption: How to read it.
        topics: What it needs; a picture whose topics were not looked at is left out.
        draw: Takes the analysis, the journal, and axes or None.
        each: The key whose layers, or chains of layers, are drawn one by one, side by side; None:
            one picture for all.
    """

    name: str
    title: str
    caption: str
    topics: frozenset[str]
    draw: Callable[..., Axes]
    each: str | None = None


def _of_analysis(plot: Callable[..., Axes], **options: Any) -> Callable[..., Axes]:
    def drawn(analysis: Mapping[str, Any], _: Journal, ax: Axes | None, **more: Any) -> Axes:
        return plot(analysis, ax, **options, **more)

    return drawn


def _of_journal(plot: Callable[..., Axes]) -> Callable[..., Axes]:
    def drawn(_: Mapping[str, Any], journal: Journal, ax: Axes | None) -> Axes:
        return plot(journal, ax)

    return drawn


def _narrow(analysis: Mapping[str, Any], journal: Journal, ax: Axes | None) -> Axes:
    return draw.plot_bottlenecks(analysis, ax, journal=journal)


def _picture(name: str, title: str, topics: str, plot: Callable[..., Axes], **more: Any) -> Picture:
    caption = more.pop("caption")
    return Picture(name, title, caption, frozenset(topics.split()), plot, **more)


PICTURES: Final = (
    _picture(
        "rankings", "Where to act first", "", _of_analysis(draw.plot_rankings),
        caption="Each analyzer's order of the layers, 1 for where it would act first, with its"
        " score; `=` where it prefers none. To act is to widen the layer; by `topology` it is to"
        " prune or rewire it, by `extrema` to revive or relieve its units. Of these orders, that"
        " by `gradient` came closest to the layer that is best widened in our measurements"
        " on small networks (docs/growth_location.md).",
    ),
    _picture(
        "decision_log", "Why it was edited, and where", "", _of_journal(draw.plot_decision_log),
        caption="Every edit with the reason that its strategy gave; what a trial took back is red.",
    ),
    _picture(
        "lineage", "Layers over time", "", _of_journal(draw.plot_lineage),
        caption="What was done to which layer in which iteration; widths at birth in parentheses.",
    ),
    _picture(
        "bottlenecks", "Where the network is narrow", "information network", _narrow,
        caption="The width of each layer, and how many directions its activations span. A layer"
        " that passes on fewer than its neighbours is narrow; hatched is the width that would lift"
        " it.",
    ),
    _picture(
        "extrema", "Dead and saturated units", "extrema", _of_analysis(draw.plot_extrema),
        caption="Each layer's units from left to right. A dead unit never acts on the samples seen,"
        " a saturated one always does, a dormant one acts little beside its layer.",
    ),
    _picture(
        "gradient_flow", "How gradients flow", "gradient", _of_analysis(draw.plot_gradient_flow),
        caption="The mean gradient of each layer and the noise that one batch adds. Where the noise"
        " is far above, larger batches help; where a norm falls by orders of magnitude, the layers"
        " in front learn little.",
    ),
    _picture(
        "layered_graph", "The layered graph", "graph",
        _of_analysis(draw.plot_layered_graph, metric="graph_path_shares", relative=True),
        caption="Units as dots, the darker the more paths from inputs to outputs lead through them,"
        " beside the others of their layer; connections the darker the stronger.",
    ),
    _picture(
        "layered_graph_importance", "The layered graph by importance", "graph sensitivity",
        _of_analysis(draw.plot_layered_graph, metric="sensitivity_unit_taylor", relative=True),
        caption="The same graph; the darker a unit, the more the loss would change without it.",
    ),
    _picture(
        "coactivation", "Which units fire together", "hebbian",
        _of_analysis(draw.plot_coactivation), each="hebbian_correlation",
        caption="Correlations of a layer's units, like ones side by side. Dark squares are groups"
        " that say the same; ringed pairs could be merged.",
    ),
    _picture(
        "neural_persistence", "Neural persistence of the weights", "topology",
        _of_analysis(draw.plot_neural_persistence),
        caption="Beside the same weights in shuffled places. Outside the band, where the weights"
        " stand matters; inside, only how large they are.",
    ),
    _picture(
        "persistence_diagrams", "Persistence diagrams of the activations", "topology",
        _of_analysis(draw.plot_persistence_diagram), each="topology_diagrams",
        caption="Each mark is a component or a loop of the cloud of activations: born at one scale,"
        " dead at another. Filled marks outlive those of units that know nothing of each other.",
    ),
    _picture(
        "persistence_barcodes", "Barcodes of the activations", "topology",
        _of_analysis(draw.plot_persistence_barcode), each="topology_diagrams",
        caption="The same as bars; what goes beyond chance is in full colour.",
    ),
    _picture(
        "betti_curves", "Betti curves", "topology", _of_analysis(draw.plot_betti_curves),
        caption="How many loops the cloud of each layer has at each scale.",
    ),
    _picture(
        "map_barcode", "Which directions live through which layers", "homology",
        _of_analysis(draw.plot_map_barcode), each="homology_barcodes",
        caption="Each bar holds the directions that first appear in one layer and are last seen in"
        " another, by the weights alone. Only the blue ones carry the input to the output.",
    ),
)  # fmt: skip
"""All of them, in the order of the report."""


def pictures_of(topics: Sequence[str], journal: Journal) -> tuple[Picture, ...]:
    """The pictures that can be drawn of these topics, and of a journal that may be empty."""
    wordless = () if len(journal) else ("decision_log", "lineage")
    return tuple(one for one in PICTURES if one.topics <= set(topics) and one.name not in wordless)


def drawn(picture: Picture, analysis: Mapping[str, Any], journal: Journal) -> bytes:
    """A picture as the bytes of a PNG file.

    Args:
        picture: Of `pictures_of`.
        analysis: What was found.
        journal: The network's lineage.
    """
    figure = _figure(picture, analysis, journal)
    target = io.BytesIO()
    figure.savefig(target, format="png")
    return target.getvalue()


def _figure(picture: Picture, analysis: Mapping[str, Any], journal: Journal) -> Figure:
    parts = _parts(picture, analysis)
    if len(parts) < 2:
        figure = picture.draw(analysis, journal, None).get_figure(root=True)
        assert figure is not None
        return figure
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = min(_ACROSS, len(parts))
    rows = -(-len(parts) // columns)
    figure = Figure(figsize=(5.4 * columns, 5.0 * rows), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(rows, columns, squeeze=False).flatten()
    for ax, part in zip(grid, parts, strict=False):
        picture.draw(analysis, journal, ax, **part)
    for ax in grid[len(parts) :]:
        ax.set_visible(False)
    return figure


def _parts(picture: Picture, analysis: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What tells the parts of a picture that is drawn several times."""
    values = () if picture.each is None else analysis[picture.each]
    if isinstance(values, Mapping):
        return [{"layer": name} for name in values][:MOST_PARTS]
    return [{"chain": number} for number in range(len(values))][:MOST_PARTS]
