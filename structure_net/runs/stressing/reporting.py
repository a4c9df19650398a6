"""What a stress run leaves for people: the verdict, the curve, the best networks."""

from __future__ import annotations

from structure_net.files import replacing, write_text
from structure_net.logging import current
from structure_net.runs.stressing.folder import Standing, StressFolder
from structure_net.runs.stressing.steadiness import MemorySample, Steadiness, steadiness_of
from structure_net.runs.stressing.tournament import samples_of
from structure_net.visualization import plot_memory


def report_stress(folder: StressFolder, standing: Standing) -> Steadiness:
    """Writes ``memory.png`` and ``report.md`` from the records, and returns the verdict."""
    samples = samples_of(folder)
    found = steadiness_of(samples)
    _draw(folder, samples, found)
    write_text(folder.report, _text(folder, standing, found))
    return found


def _draw(folder: StressFolder, samples: list[MemorySample], found: Steadiness) -> None:
    fitted = found.slope == found.slope
    line = tuple(zip(found.span, found.line, strict=True)) if fitted else None
    points = [(one.seconds, one.mebibytes) for one in samples]
    title = f"Memory of a tournament: {found.verdict}"
    ax = plot_memory(points, line=(line[0], line[1]) if line else None, title=title)
    figure = ax.get_figure(root=True)
    assert figure is not None
    with replacing(folder.picture) as draft:
        figure.savefig(draft, format="png")


def _text(folder: StressFolder, standing: Standing, found: Steadiness) -> str:
    request = standing.request
    turns = [one.data for one in current(folder.records) if one.kind == "trial"]
    by_generation: dict[int, list[float]] = {}
    for turn in turns:
        loss = turn["metrics"]["validation_loss"]
        if isinstance(loss, int | float):
            by_generation.setdefault(turn["point"], []).append(loss)
    best = {place: min(losses) for place, losses in by_generation.items()}
    lines = [
        f"# Stress: {request.networks} networks on {request.dataset}",
        found.in_words(),
        "![Memory over time](memory.png)",
        f"{len(turns):,} turns of {request.steps} steps in {standing.generation} whole generations;"
        f" {standing.next_number:,} networks have lived.",
    ]
    if best:
        first, last = min(best), max(best)
        lines.append(
            f"The best validation loss went from {best[first]:.3g} (generation {first}) to"
            f" {best[last]:.3g} (generation {last})."
        )
    return "\n\n".join(lines) + "\n"
