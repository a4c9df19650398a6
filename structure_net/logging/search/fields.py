"""What an experiment can be filtered by: its facts, and what follows from them, as numbers."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any, Final

from structure_net.logging.search.curves import learning_curve, shape_of
from structure_net.logging.search.events import events_of
from structure_net.logging.search.facts import ExperimentFacts

_PLAIN: Final = (
    "name",
    "kind",
    "model",
    "dataset",
    "status",
    "created",
    "seed",
    "start_parameters",
    "parameters",
    "start_connections",
    "connections",
    "start_density",
    "density",
    "taken_back",
    "seconds",
)


def accuracy_of(facts: ExperimentFacts) -> float | None:
    """The best witness of how accurate the network is in the end, in [0, 1]; None without one."""
    for split in ("test", "validation", "val", "train"):
        name = f"{split}_accuracy"
        curve = [value for value in facts.curves.get(name, ()) if math.isfinite(value)]
        value = facts.metrics.get(name, curve[-1] if curve else None)
        if value is not None and math.isfinite(value):
            return value / 100 if 1 < value <= 100 else value
    return facts.metrics.get("accuracy")


def fields_of(facts: ExperimentFacts) -> dict[str, Any]:
    """What an experiment can be filtered by, by name; what is not known is not there.

    The plain facts; ``attempts`` (edits kept and taken back); ``planned_epochs``; ``depth`` (weight
    layers), ``hidden`` (layers), ``width`` and ``narrowest`` (of the widest and the narrowest
    hidden layer), all also with ``start_`` before them, as they were at birth; ``growth``,
    ``width_growth`` and ``depth_growth``, the factors by which parameters (else connections), width
    and layers changed; ``epochs``, ``edits`` (how many were kept), ``first_edit`` and ``last_edit``
    (fractions of the run), ``spacing`` (epochs from one time of edits to the next, in the middle),
    ``tags`` (any of which may match); ``accuracy`` (see `accuracy_of`), ``best_accuracy``,
    ``start_accuracy``, ``low_accuracy`` (the lowest after a quarter of the run), ``gap`` (accuracy
    of training less that of validation), ``loss``, ``best_loss`` and ``start_loss`` (held out, if
    it was), ``best_epoch``, ``settled_at`` (see `curves.CurveShape`) and ``finite`` of the learning
    curve; the settings, metrics and last values of curves under their own names; ``edits.KIND`` and
    ``strategies.NAME``; ``at.EVENT``, the times of events (see `events.events_of`), any of which
    may match.
    """
    found: dict[str, Any] = {name: getattr(facts, name) for name in _PLAIN}
    for prefix, widths in (("start_", facts.start_widths), ("", facts.widths)):
        if widths:
            found[f"{prefix}depth"] = len(widths) - 1
            found[f"{prefix}width"] = max(widths[1:-1], default=0)
            found[f"{prefix}hidden"] = len(widths) - 2
            found[f"{prefix}narrowest"] = min(widths[1:-1], default=None)
    found["epochs"] = facts.epochs
    found["planned_epochs"] = facts.settings.get("epochs")
    found["attempts"] = sum(facts.edits.values()) + facts.taken_back
    found["edits"] = sum(facts.edits.values())
    found["tags"] = facts.tags
    curve = learning_curve(facts.curves)
    if curve is not None:
        shape = shape_of(*curve)
        found |= {"settled_at": shape.settled_at, "finite": shape.finite}
    found |= dict(_factors(found))
    found |= dict(_results(facts))
    found |= dict(_times(facts))
    for group, values in (("edits", facts.edits), ("strategies", facts.strategies)):
        found |= {f"{group}.{name}": count for name, count in values.items()}
    lasts = {name: _last(values) for name, values in facts.curves.items()}
    # A plain fact is not hidden by a setting or a metric of the same name.
    named = {**lasts, **facts.settings, **facts.metrics, **found}
    return {name: value for name, value in named.items() if value is not None and value != ""}


def _times(facts: ExperimentFacts) -> Iterator[tuple[str, Any]]:
    times = sorted({time for places in facts.edited_at.values() for time in places})
    if times:
        yield from (("first_edit", times[0]), ("last_edit", times[-1]))
    gaps = [(b - a) * facts.epochs for a, b in pairwise(times)]
    if gaps:
        yield "spacing", statistics.median(gaps)
    events = events_of(facts)
    if "best" in events:
        yield "best_epoch", round(events["best"][0] * facts.epochs)
    yield from ((f"at.{name}", places) for name, places in events.items())


def _last(values: tuple[float, ...]) -> float | None:
    return next((value for value in reversed(values) if math.isfinite(value)), None)


def _factors(sizes: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """By which factors sizes changed since birth."""
    for name, field in (
        ("growth", "connections"),  # parameters, which come later, take its place
        ("growth", "parameters"),
        ("width_growth", "width"),
        ("depth_growth", "depth"),
    ):
        before, after = sizes.get(f"start_{field}"), sizes.get(field)
        if before and after:
            yield name, after / before


def _results(facts: ExperimentFacts) -> Iterator[tuple[str, float | None]]:
    yield "accuracy", accuracy_of(facts)
    for kind, best in (("accuracy", max), ("loss", min)):
        values = [value for value in _held_out(facts, kind) if math.isfinite(value)]
        if values:
            yield f"best_{kind}", best(values)
            yield f"start_{kind}", values[0]
            if kind == "accuracy":
                yield "low_accuracy", min(values[len(values) // 4 :])
            if kind == "loss":
                yield kind, values[-1]
    train, other = (facts.curves.get(f"{name}_accuracy") for name in ("train", "validation"))
    if train and other:
        yield "gap", train[-1] - other[-1]


def _held_out(facts: ExperimentFacts, kind: str) -> tuple[float, ...]:
    names = (f"{split}_{kind}" for split in ("validation", "val", "test", "train"))
    return next((facts.curves[name] for name in (*names, kind) if facts.curves.get(name)), ())
