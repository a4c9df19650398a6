"""Edits in a few words, for progress lines, reports and pictures."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import fields
from itertools import chain

from structure_net.surgery import edits as e
from structure_net.surgery.entries import LEAST_PACKED

# How one edit reads, and how several are added up in a label (None: named in turn).
_WORDS: dict[type[object], tuple[str, str | None]] = {
    e.AddNeurons: ("+{n:,} neuron{s} in {layer}", "+{n:,} neurons"),
    e.RemoveNeurons: ("-{n:,} neuron{s} of {layer}", "-{n:,} neurons"),
    e.SplitNeurons: ("{n:,} neuron{s} of {layer} split", "{n:,} splits"),
    e.ShareNeurons: ("{n:,} pair{s} of neurons of {layer} shared", "{n:,} shared"),
    e.MergeNeurons: ("{n:,} pair{s} of neurons of {layer} merged", "{n:,} merges"),
    e.ResetNeurons: ("{n:,} neuron{s} of {layer} reset", "{n:,} resets"),
    e.DoubleWidth: ("{layer} doubled", None),
    e.InsertLayer: ("+layer behind {layer}{wide}", None),
    e.RemoveLayer: ("-layer {layer}", None),
    e.AddResidualBlock: ("+residual block behind {layer}{wide}", None),
    e.AddSkipConnection: ("+skip from {source} to {target}", None),
    e.RemoveSkipConnection: ("-skip from {source} to {target}", None),
    e.AddHeads: ("+{n:,} head{s} in {layer}", "+{n:,} heads"),
    e.RemoveHeads: ("-{n:,} head{s} of {layer}", "-{n:,} heads"),
    e.MaskHeads: ("{n:,} head{s} of {layer} masked", "{n:,} masked"),
    e.ReviveHeads: ("{n:,} head{s} of {layer} revived", "{n:,} revived"),
    e.AddConnections: ("+{n:,} connection{s} in {layer}", "+{n:,} connections"),
    e.RemoveConnections: ("-{n:,} connection{s} in {layer}", "-{n:,} connections"),
    e.MoveConnections: ("-{gone:,} +{n:,} connections in {layer}", None),
}


def describe_edit(edit: e.Edit) -> str:
    """An edit in a few words: what and where, without the numbers of the units.

    >>> describe_edit(e.AddConnections("fc1", ((0, 1), (0, 2))))
    '+2 connections in fc1'
    """
    words, _ = _WORDS[type(edit)]
    count, width = _count(edit), getattr(edit, "width", None)
    return words.format(
        n=count,
        gone=len(getattr(edit, "removed", ())),
        s="" if count == 1 else "s",
        layer=getattr(edit, "layer", ""),
        source=getattr(edit, "source", ""),
        target=getattr(edit, "target", ""),
        wide="" if width is None else f" ({width} wide)",
    )


def noted_edit(edit: e.Edit) -> str:
    """An edit as it would be written; one that names many connections in a few words."""
    if isinstance(edit, e.ConnectionEdit):
        lists = (getattr(edit, item.name) for item in fields(edit))
        if any(len(one) >= LEAST_PACKED for one in lists if not isinstance(one, str | float)):
            return describe_edit(edit)
    return str(edit)


def describe_edits(edits: Sequence[e.Edit]) -> str:
    """Several edits as one label: what can be counted is added up, the rest is named in turn.

    >>> describe_edits([e.AddConnections("a", ((0, 1),)), e.AddConnections("b", ((0, 1), (1, 1)))])
    '+3 connections'
    >>> describe_edits([e.MoveConnections("a", ((0, 1), (1, 0)), ((0, 2), (2, 1)))])
    '-2 connections, +2 connections'
    """
    totals: dict[str, int] = defaultdict(int)
    others: list[str] = []
    for edit in chain.from_iterable(map(_parts, edits)):
        label = _WORDS[type(edit)][1]
        if label is None:
            others.append(describe_edit(edit))
        else:
            totals[label] += _count(edit)
    return ", ".join([label.format(n=n) for label, n in totals.items()] + others)


def _parts(edit: e.Edit) -> tuple[e.Edit, ...]:
    """A move of connections as the two edits that it stands for; others as they are."""
    if not isinstance(edit, e.MoveConnections):
        return (edit,)
    gone = e.RemoveConnections(edit.layer, edit.removed)
    return gone, e.AddConnections(edit.layer, edit.added, edit.scale)


def _count(edit: e.Edit) -> int:
    """How many units, pairs or heads an edit is about."""
    count = getattr(edit, "count", None)
    if isinstance(count, int):
        return count
    for field in ("indices", "pairs", "heads", "added"):
        if hasattr(edit, field):
            return len(getattr(edit, field))
    return 1
