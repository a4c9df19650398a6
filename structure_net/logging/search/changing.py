"""Traits of how a network changed: how much, by which edits, in which order and when."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Final

from structure_net.logging.search.facts import ExperimentFacts
from structure_net.logging.search.grading import Graded, ramp, scale

_BY_EDIT: Final = {
    "added_neurons": ("AddNeurons",),
    "pruned": ("RemoveNeurons", "RemoveConnections", "RemoveHeads", "MaskHeads"),
    "removed_neurons": ("RemoveNeurons",),
    "split": ("SplitNeurons", "ShareNeurons"),
    "merged": ("MergeNeurons",),
    "reset": ("ResetNeurons",),
    "doubled": ("DoubleWidth",),
    "inserted_layer": ("InsertLayer",),
    "removed_layer": ("RemoveLayer",),
    "residual": ("AddResidualBlock",),
    "skip": ("AddSkipConnection",),
    "heads": ("AddHeads", "RemoveHeads", "MaskHeads", "ReviveHeads"),
    "removed_heads": ("RemoveHeads", "MaskHeads"),
    "added_connections": ("AddConnections",),
    "removed_connections": ("RemoveConnections",),
}
_ADDS: Final = (
    "AddNeurons", "SplitNeurons", "DoubleWidth", "InsertLayer", "AddResidualBlock",
    "AddConnections", "AddSkipConnection", "AddHeads",
)  # fmt: skip
_REMOVES: Final = (
    "RemoveNeurons", "MergeNeurons", "RemoveLayer", "RemoveConnections", "RemoveHeads", "MaskHeads",
    "RemoveSkipConnection",
)  # fmt: skip


def growth_traits(facts: ExperimentFacts) -> Graded:
    """How a network's sizes changed from birth to the end."""
    for before, after in (
        (facts.start_parameters, facts.parameters),
        (facts.start_connections, facts.connections),
    ):
        if before and after:
            factor = after / before
            yield "grew", scale(factor, 1.0, 2.0)
            yield "grew_much", scale(factor, 2.0, 10.0)
            yield "shrank", scale(factor, 1.0, 0.5)
            yield "shrank_much", scale(factor, 0.5, 0.1)
            yield "kept_size", ramp(abs(math.log(factor)), 0.1, 0.02)
            break
    if facts.start_density and facts.density:
        yield "densified", scale(facts.density / facts.start_density, 1.05, 4.0)
        yield "sparsified", scale(facts.density / facts.start_density, 0.95, 0.25)
    yield "doubled", ramp(_doublings(facts.start_widths, facts.widths), 0, 2)
    if facts.start_widths and facts.widths:
        more = len(facts.widths) - len(facts.start_widths)
        yield "deepened", ramp(more, 0, 2)
        yield "flattened", ramp(-more, 0, 1)
        ratios = _ratios(facts.start_widths[1:-1], facts.widths[1:-1])
        yield "widened", scale(max(ratios, default=1.0), 1.0, 2.5)
        yield "narrowed", scale(min(ratios, default=1.0), 1.0, 0.5)


def _ratios(before: tuple[int, ...], after: tuple[int, ...]) -> list[float]:
    """By which factors hidden layers changed; the widest only where their number changed."""
    if len(before) != len(after):
        before, after = before and (max(before),), after and (max(after),)
    return [b / a for a, b in zip(before, after, strict=False) if a and b]


def _doublings(before: tuple[int, ...], after: tuple[int, ...]) -> int:
    """How often a hidden layer doubled since birth, if it did exactly, to one part in twenty."""
    pairs = zip(before[1:-1], after[1:-1], strict=False) if len(before) == len(after) else ()
    logs = [math.log2(b / a) for a, b in pairs if 0 < a < b]
    return max((round(log) for log in logs if abs(log - round(log)) < 0.07), default=0)


def edit_traits(facts: ExperimentFacts) -> Graded:
    """Which edits were made, how many and with what success."""
    total = sum(facts.edits.values())
    same = facts.start_widths in (facts.widths, ())
    known = facts.edits or facts.start_widths or facts.start_parameters is not None
    if total == 0 and same and known:
        yield "unchanged", float(facts.start_parameters in (facts.parameters, None))
    yield "baseline", float(total == 0 and not facts.strategies and bool(known))
    yield "many_edits", ramp(total, 3, 30)
    yield "few_edits", ramp(total, 6, 1) if total else 0.0
    yield "one_edit", float(total == 1)
    share = facts.taken_back / max(total + facts.taken_back, 1)
    yield "taken_back", (ramp(facts.taken_back, 0, 3) + share) / 2
    yield "mostly_taken_back", ramp(share, 0.4, 0.8) * ramp(facts.taken_back, 0, 4)
    yield "all_taken_back", float(total == 0) * ramp(facts.taken_back, 0, 3)
    yield "one_taken_back", float(total == 0 and facts.taken_back == 1)
    yield "none_taken_back", float(facts.taken_back == 0) * ramp(total, 0, 3)
    for trait, kinds in _BY_EDIT.items():
        count = sum(facts.edits.get(kind, 0) for kind in kinds)
        if count:
            yield trait, 0.8 + 0.2 * count / total
    if facts.edits.get("SplitNeurons") or facts.edits.get("DoubleWidth"):
        yield "added_neurons", 0.6
    if facts.edits.get("AddResidualBlock"):  # its shortcut is one of its parts
        yield "skip", 0.5
    moved = [facts.edits.get(kind, 0) for kind in ("AddConnections", "RemoveConnections")]
    yield "rewired", float(min(moved) > 0)
    yield "idle_strategies", float(total == 0 and bool(facts.strategies))
    away, back = (facts.edited_at.get(kind) for kind in ("RemoveConnections", "AddConnections"))
    if away and back:
        yield "regrown", ramp(sum(back) / len(back) - sum(away) / len(away), 0.05, 0.3)


def timing_traits(facts: ExperimentFacts) -> Graded:
    """When edits were made and in which order."""
    times = sorted(time for kind in facts.edited_at.values() for time in kind)
    if not times:
        return
    mean = sum(times) / len(times)
    yield "late_edits", ramp(mean, 0.5, 0.9)
    yield "early_edits", ramp(mean, 0.4, 0.05)
    spread = times[-1] - times[0]
    yield "middle_edits", ramp(abs(mean - 0.5), 0.25, 0.1) * ramp(spread, 0.5, 0.2)
    yield "edits_throughout", ramp(spread, 0.5, 0.75) * ramp(len(times), 2, 5)
    yield "regular_edits", _regular(times)
    adds, removes = (
        [time for kind in kinds for time in facts.edited_at.get(kind, ())]
        for kinds in (_ADDS, _REMOVES)
    )
    if adds and removes:
        apart = sum(removes) / len(removes) - sum(adds) / len(adds)
        yield "grew_then_pruned", ramp(apart, 0.05, 0.3)
        yield "pruned_then_grew", ramp(-apart, 0.05, 0.3)
        yield "cycles", _cycles(adds, removes)


def _regular(times: list[float]) -> float:
    """How even the distances between the times of edits are; at least three are needed."""
    places = [times[0]]
    places += [b for a, b in pairwise(times) if b - a > 0.015]
    gaps = [b - a for a, b in pairwise(places)]
    if len(gaps) < 2:
        return 0.0
    mean = sum(gaps) / len(gaps)
    apart = max(abs(gap - mean) for gap in gaps) / mean
    return ramp(apart, 0.5, 0.1)


def _cycles(adds: list[float], removes: list[float]) -> float:
    """How often adding and removing took turns."""
    order = sorted([(time, 1) for time in adds] + [(time, -1) for time in removes])
    return ramp(sum(a[1] != b[1] for a, b in pairwise(order)), 1, 5)
