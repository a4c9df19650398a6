"""The page of an analysis: Markdown, made from plain values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from structure_net.evolution.metrics.validity import Unavailable
from structure_net.runs.analysis.pictures import MOST_PARTS, Picture

# Heading, key, and how a value reads, of the columns of the table of layers.
_COLUMNS: Final = (
    ("effective rank", "information_effective_rank", "{:.1f}"),
    ("bits on the label", "information_label", "{:.2f}"),
    ("dead", "extrema_dead_ratio", "{:.1%}"),
    ("saturated", "extrema_saturated_ratio", "{:.1%}"),
    ("gradient norm", "gradient_norm", "{:.2e}"),
    ("Taylor importance", "sensitivity_unit_taylor", "{:.2e}"),
    ("effective width", "graph_effective_width", "{:.1f}"),
    ("persistence (deviations)", "topology_null", "{:+.1f}"),
    ("directions lost", "homology_layers", "{:.0f}"),
)
_END: Final = "_ranking"
_RANKINGS: Final = "rankings"


@dataclass(frozen=True, slots=True)
class PageFacts:
    """Everything that the page says.

    Args:
        name: The run or the checkpoint.
        dataset: The data set's name.
        iteration: How many iterations the network had.
        batches: How many batches were looked at.
        batch_size: Samples in a batch.
        command: The command line, word by word; empty where there was none.
        values: What was found, by key.
        pictures: Those that were drawn, each in a file of its name.
        seconds: By topic.
    """

    name: str
    dataset: str
    iteration: int
    batches: int
    batch_size: int
    command: str
    values: Mapping[str, Any]
    pictures: Sequence[Picture]
    seconds: Mapping[str, float]


def render_page(facts: PageFacts) -> str:
    """The page as Markdown: what was looked at, where to act, the layers, the pictures."""
    sections = (
        f"# Analysis of {facts.name}",
        _looked_at(facts),
        _layers(facts.values),
        _where_to_act(facts),
        *(_picture(one, facts.values) for one in facts.pictures if one.name != _RANKINGS),
        _absent(facts.values),
        _rest(facts),
    )
    return "\n\n".join(section for section in sections if section) + "\n"


def _looked_at(facts: PageFacts) -> str:
    seen = facts.values.get("extrema_samples") or facts.values.get("information_samples")
    samples = f", {seen:,} samples" if isinstance(seen, int) else ""
    words = (
        f"The network after {facts.iteration} iteration{'' if facts.iteration == 1 else 's'}, on"
        f" up to {facts.batches} training batches of {facts.batch_size} of `{facts.dataset}`"
        f"{samples}, in evaluation mode."
    )
    total = facts.values.get("network_connections")
    if total is not None:
        density, parameters = facts.values["network_density"], facts.values["network_parameters"]
        words += f" It has {total:,} connections ({density:.2%}) and {parameters:,} parameters."
    return words


def _where_to_act(facts: PageFacts) -> str:
    """The analyzers' orders of the layers, with the picture of them."""
    values, rows = facts.values, []
    for key in (one for one in values if one.endswith(_END)):
        topic, ranking = key.removesuffix(_END), values[key]
        layers = [layer for layer in ranking or () if not isinstance(ranking[layer], Unavailable)]
        if layers:
            first, *others = layers
            rows.append((f"`{topic}`", f"`{first}`", f"{ranking[first]:.3g}", _names(others)))
        else:
            reason = ranking.reason if isinstance(ranking, Unavailable) else "no layer to rank"
            rows.append((f"`{topic}`", "-", "-", reason))
    table = _table(("analyzer", "first", "score", "then"), rows)
    for picture in facts.pictures:
        if picture.name == _RANKINGS:
            return f"{_picture(picture, values)}\n\n{table}"
    return f"## Where to act first\n\n{table}" if rows else ""


def _names(layers: Sequence[str]) -> str:
    shown = [f"`{layer}`" for layer in layers[:4]]
    left = len(layers) - len(shown)
    return ", ".join(shown) + (f" and {left} more" if left else "") or "-"


def _layers(values: Mapping[str, Any]) -> str:
    known = values.get("network_layers")
    columns = [column for column in _COLUMNS if isinstance(values.get(column[1]), Mapping)]
    if known is None or not known:
        return ""
    rows = [
        (
            f"`{name}`",
            f"{one['inputs']:,}",
            f"{one['outputs']:,}",
            f"{one['connections']:,}",
            f"{one['density']:.1%}",
            *(_cell(values[key].get(name), form) for _, key, form in columns),
        )
        for name, one in known.items()
    ]
    heads = ("layer", "inputs", "units", "connections", "density", *(head for head, *_ in columns))
    return "## The layers\n\n" + _table(heads, rows)


def _cell(value: Any, form: str) -> str:
    """A layer's value as one number, or a dash where there is none."""
    for name in ("bits", "z", "lost"):
        value = getattr(value, name, value)
    if hasattr(value, "mean") and not isinstance(value, int | float):
        value = float(value.mean())
    return form.format(value) if isinstance(value, int | float) else "-"


def _picture(picture: Picture, values: Mapping[str, Any]) -> str:
    parts = len(values[picture.each]) if picture.each else 0
    left = f" Shown: the first {MOST_PARTS} of {parts}." if parts > MOST_PARTS else ""
    image = f"![{picture.title}]({picture.name}.png)"
    return f"## {picture.title}\n\n{image}\n\n{picture.caption}{left}"


def _absent(values: Mapping[str, Any]) -> str:
    """What has no value here, and why; a reason that many layers share stands once."""
    found: dict[tuple[str, str], list[str]] = {}
    for key, value in values.items():
        if isinstance(value, Unavailable):
            found.setdefault((key, value.reason), [])
        elif isinstance(value, Mapping):
            for name, one in value.items():
                if isinstance(one, Unavailable):
                    found.setdefault((key, one.reason), []).append(str(name))
    if not found:
        return ""
    lines = [
        f"- `{key}`{f' of {_names(layers)}' if layers else ''}: {reason}"
        for (key, reason), layers in found.items()
    ]
    return "## Not available here\n\n" + "\n".join(lines)


def _rest(facts: PageFacts) -> str:
    times = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in facts.seconds.items())
    parts = [
        "## Numbers",
        "All numbers: [analysis.json](analysis.json). The keys are explained with each analyzer"
        " (`structure_net.evolution.components.analyzers`).",
        f"Time: {times}." if times else "",
        f"Made by `{facts.command}`." if facts.command else "",
    ]
    return "\n\n".join(part for part in parts if part)


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(_escaped(cell) for cell in row) + " |" for row in lines)


def _escaped(text: str) -> str:
    return text.replace("|", r"\|").replace("\n", " ")
