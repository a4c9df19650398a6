"""The report of a run: Markdown, made from plain values."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from structure_net.runs.request import RunRequest
from structure_net.runs.summary import (
    IterationSummary,
    Score,
    Status,
    decimal,
    iteration_columns,
    percent,
    score_columns,
)


@dataclass(frozen=True, slots=True)
class ReportFacts:
    """Everything that the report says.

    Args:
        name: The run folder's name.
        request: What was asked for.
        command: The command line, word by word.
        architecture: Widths of the start network.
        start_connections: Live connections of the start network.
        dataset: The data set's descriptor.
        versions: Package names and versions.
        status: How the run ended.
        reason: Why it ended early; empty otherwise.
        iterations: What happened, in order.
        scores: The evolved network, then what it is compared with.
        costs: Where the time went, as Markdown; empty where that was not measured.
    """

    name: str
    request: RunRequest
    command: Sequence[str]
    architecture: tuple[int, ...]
    start_connections: int
    dataset: Mapping[str, object]
    versions: Mapping[str, str]
    status: Status
    reason: str
    iterations: tuple[IterationSummary, ...]
    scores: tuple[Score, ...]
    costs: str = ""


def render_report(facts: ReportFacts) -> str:
    """The report as Markdown: outcome, picture, iterations, edits, what was asked, how to go on."""
    sections = [
        f"# {facts.name}",
        _outcome(facts),
        _picture(facts.iterations),
        _iterations(facts),
        _edits(facts.iterations),
        _comparison(facts.scores),
        facts.costs,
        _asked(facts),
        _going_on(facts),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _outcome(facts: ReportFacts) -> str:
    done, asked = len(facts.iterations), facts.request.iterations
    head = {
        "finished": f"Finished: {asked} of {asked} iterations.",
        "running": f"Running: {done} of {asked} iterations so far.",
        "interrupted": f"Interrupted after {done} of {asked} iterations; it can be resumed.",
        "stopped": f"Stopped after {done} of {asked} iterations: {facts.reason}",
    }[facts.status]
    if not facts.iterations:
        return head
    last = facts.iterations[-1]
    grown = (
        f"The network went from {facts.start_connections:,} to {last.connections:,} connections "
        f"({_widths(facts.architecture)} to {_widths(last.architecture)})"
    )
    held = _result("validation", last.validation_accuracy, last.validation_loss)
    ended = facts.scores[0] if facts.scores else None
    test = _result("test", ended.test_accuracy, ended.test_loss) if ended else ""
    said = ", ".join(result for result in (held, test) if result)
    return f"{head} {grown}{f'; {said}' if said else ''}."


def _result(split: str, accuracy: float | None, loss: float | None) -> str:
    """The accuracy on a split, or the loss where there is none; empty where there is neither."""
    if accuracy is not None:
        return f"{split} accuracy {percent(accuracy)}"
    return "" if loss is None else f"{split} loss {decimal(loss)}"


def _picture(iterations: Sequence[IterationSummary]) -> str:
    if not iterations:
        return ""
    (head, _), _ = iteration_columns(iterations)
    measure = "Loss" if "loss" in head else "Accuracy"
    return f"![{measure} and size over time](evolution.png)"


def _iterations(facts: ReportFacts) -> str:
    if not facts.iterations:
        return ""
    (train, trained), (validation, validated) = iteration_columns(facts.iterations)
    rows = [
        (
            s.iteration,
            _widths(s.architecture),
            f"{s.connections:,}",
            f"{s.parameters:,}",
            f"{s.density:.2%}",
            *results,
            f"{s.seconds:.1f}",
            s.label or "no edits",
        )
        for s, *results in zip(facts.iterations, trained, validated, strict=True)
    ]
    sizes = ("iteration", "widths", "connections", "parameters", "density")
    table = _table((*sizes, train, validation, "seconds", "edits"), rows)
    return f"## Iterations\n\n{table}\n\n{_COUNTING}"


def _edits(iterations: Sequence[IterationSummary]) -> str:
    rows = [
        (s.iteration, n.component, n.text, n.reason, "yes" if n.accepted else "taken back")
        for s in iterations
        for n in s.edits
    ]
    if not rows:
        return ""
    return "## Edits and why\n\n" + _table(["iteration", "by", "edit", "why", "stands"], rows)


def _comparison(scores: Sequence[Score]) -> str:
    if not scores:
        return ""
    heads, cells = zip(*score_columns(scores), strict=True)
    return "## Final numbers\n\n" + _table(heads, list(zip(*cells, strict=True)))


_COUNTING = (
    "Iterations are counted from 1 here; `journal.json` counts what it holds from 0. `train "
    "(running)` is the mean over the last epoch, taken while the weights moved; the final numbers "
    "are measured on all of each split, with the weights at rest."
)


def _asked(facts: ReportFacts) -> str:
    request = facts.request
    pipeline = request.pipeline
    rows: list[tuple[object, ...]] = [
        ("data set", _data(facts.dataset)),
        ("start architecture", _widths(facts.architecture)),
        ("density at birth", f"{request.density:g}"),
        ("iterations", request.iterations),
        ("epochs in each", _or_own(request.epochs)),
        ("batch size", request.batch_size),
        ("learning rate", _or_own(request.learning_rate)),
        ("seed", request.seed),
        ("device", request.device),
        ("system", "standard" if pipeline is None else f"{pipeline.file}:{pipeline.name}"),
        ("versions", _said(facts.versions)),
    ]
    command = f"```\n{shlex.join(facts.command)}\n```"
    return f"## What was asked\n\n{command}\n\n{_table(['', 'value'], rows)}"


def _or_own(value: float | None) -> str:
    return "the pipeline's own" if value is None else f"{value:g}"


def _data(descriptor: Mapping[str, object]) -> str:
    sizes = descriptor.get("sizes")
    counts = sizes if isinstance(sizes, Mapping) else {}
    said = ", ".join(f"{count:,} {split}" for split, count in counts.items())
    return f"{descriptor.get('name')} ({said} samples; md5 {descriptor.get('checksum')})"


def _said(values: Mapping[str, object]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items() if value is not None)


def _going_on(facts: ReportFacts) -> str:
    lines = ["## Going on", "", "```"]
    run = shlex.quote(facts.name)
    if facts.status != "finished":
        lines.append(f"structure-net resume {run}    # carry on where it stopped")
    lines += [
        f"structure-net show {run}      # this report's numbers in the terminal",
        f"structure-net replay {run}    # rebuild the network from the journal and check it",
        "```",
        "",
        "`run.json` holds what was asked, `journal.json` every edit, `history.json` every epoch, "
        "`checkpoint.safetensors` the network, its optimizer and all that a resumed run needs.",
    ]
    return "\n".join(lines)


def _table(head: Iterable[str], rows: Iterable[Sequence[object]]) -> str:
    names = list(head)
    lines = [_row(names), _row(["---"] * len(names))]
    return "\n".join(lines + [_row([str(cell) for cell in row]) for row in rows])


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"


def _widths(architecture: Sequence[int]) -> str:
    return "-".join(str(width) for width in architecture)
