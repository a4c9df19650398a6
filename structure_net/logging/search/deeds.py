"""What was done to what: verbs with their objects, and how often.

A phrase of the vocabulary says both at once ("inserted layers"). Where they stand apart, or one
verb has two objects ("neurons were added and later removed"), each pair is looked up here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache
from typing import Final

from structure_net.logging.search.conditions import Condition, OfNumber, OfTrait, OfWord, Part
from structure_net.logging.search.moments import Mention, spoken_of
from structure_net.logging.search.plain_words import NOT
from structure_net.logging.search.tokens import Token, stem
from structure_net.logging.search.wording import Said

_OBJECTS: Final = {
    "neuron": "neuron neurons unit units channel channels filter filters node cell hidden",
    "layer": "layer layers depth",
    "connection": "connection link edge synapse weight connectivity sparsity",
    "head": "head heads attention",
    "block": "block resblock residual",
    "skip": "skip shortcut bypass",
}
_VERBS: Final = {
    "add": "add insert introduce append attach put new extra additional gain stack grow bolt stick "
    "inject plug receive obtain build",
    "remove": "remove prune cut delete discard eliminate trim erase drop lose strip chop ditch axe "
    "mask shed kill thin shave amputate",
    "split": "split divide duplicate clone copy",
    "merge": "merge fuse join combine unite",
    "reset": "reset recycle reinitialise revive renew resurrect reawaken reinit dead dormant",
    "double": "double twice",
    "move": "move swap rewire reconnect exchange",
}
_TRAITS: Final = {
    ("add", "neuron"): "added_neurons", ("remove", "neuron"): "removed_neurons",
    ("split", "neuron"): "split", ("merge", "neuron"): "merged", ("reset", "neuron"): "reset",
    ("add", "layer"): "inserted_layer", ("remove", "layer"): "removed_layer",
    ("add", "connection"): "added_connections", ("remove", "connection"): "removed_connections",
    ("move", "connection"): "rewired", ("remove", "head"): "removed_heads",
    ("add", "head"): "heads", ("add", "block"): "residual", ("add", "skip"): "skip",
}  # fmt: skip
_WITH: Final = {
    "neuron": "added_neurons removed_neurons split merged reset",
    "layer": "inserted_layer removed_layer",
    "connection": "added_connections removed_connections rewired skip",
    "head": "removed_heads heads", "block": "residual", "skip": "skip",
}  # fmt: skip
_ALONE: Final = {
    "add": "grew", "remove": "pruned", "split": "split", "merge": "merged", "reset": "reset",
    "double": "doubled", "move": "rewired",
}  # fmt: skip
"""What a verb says without an object."""

_TIMING: Final = frozenset((
    "late_edits", "early_edits", "middle_edits", "edits_throughout", "regular_edits",
))  # fmt: skip
_NEAR: Final = 6
"""How many words may stand between a verb and its object."""

_ANY: Final = (
    "width", "narrowest", "depth", "hidden", "edits", "edits.", "epochs", "batch_size", "seed",
    "start_width", "taken_back", "attempts",
)  # fmt: skip
"""What a number may be of that nobody gives a name."""

_SHARES: Final = ("accuracy", "best_accuracy", "density", "dropout", "learning_rate", "loss")
"""The same for one below 1."""


@cache
def _read(table: str) -> dict[str, str]:
    words = _OBJECTS if table == "objects" else _VERBS
    return {stem(word): name for name, texts in words.items() for word in texts.split()}


def deeds(tokens: Sequence[Token], said: Sequence[Said]) -> Iterator[Condition]:
    """What verbs and objects say together that no phrase has said.

    Args:
        tokens: The words of the question.
        said: What phrases say.
    """
    known = {name for one in said for name in one.concepts}
    timing = {
        at for one in said if one.concepts and _TIMING.issuperset(one.concepts) for at in one.at
    }
    objects = _mentions(tokens, "objects")
    for verb, at in _mentions(tokens, "verbs"):
        near = [(abs(k - at), k, name) for name, k in objects if _beside(tokens, k, at)]
        denied = any(token.stem == NOT for token in tokens[max(0, at - 3) : at])
        if not near and tokens[at].at in timing and not denied:
            yield from _alone(verb, tokens[at], known)
        if not near or denied:
            continue
        for name in _sharing(tokens, objects, min(near)[1]):
            trait = _TRAITS.get((verb, name))
            if trait is not None and trait not in known:
                known.add(trait)
                text = f"{tokens[at].text} {name}"
                shown = f"{trait.replace('_', ' ')} ({text})"
                yield Condition(
                    text, (OfTrait(trait),), shown=shown, at=tokens[at].at, clause=tokens[at].clause
                )


def _alone(verb: str, token: Token, known: set[str]) -> Iterator[Condition]:
    """What a verb says of which a phrase said only when."""
    trait = _ALONE[verb]
    if trait not in known:
        known.add(trait)
        shown = f"{trait.replace('_', ' ')} ({token.text})"
        yield Condition(
            token.text, (OfTrait(trait),), shown=shown, at=token.at, clause=token.clause
        )


def _mentions(tokens: Sequence[Token], table: str) -> list[tuple[str, int]]:
    """The objects or the verbs, by their kinds, with their places."""
    known = _read(table)
    found = [
        (known[token.stem], place) for place, token in enumerate(tokens) if token.stem in known
    ]
    if table == "verbs":
        return found
    # "Skip connections" are skips, and "residual blocks" are blocks.
    parts = {("skip", "connection"), ("block", "layer"), ("head", "layer"), ("block", "connection")}
    left: list[tuple[str, int]] = []
    for one, following in zip(found, [*found[1:], ("", -1)], strict=False):
        if left and left[-1][1] == one[1] - 1 and (left[-1][0], one[0]) in parts:
            continue
        if following[1] == one[1] + 1 and one[0] == "neuron":
            continue  # "hidden layers"
        left.append(one)
    return left


def _beside(tokens: Sequence[Token], one: int, two: int) -> bool:
    return abs(one - two) <= _NEAR and tokens[one].clause == tokens[two].clause


def _sharing(
    tokens: Sequence[Token], objects: Sequence[tuple[str, int]], place: int
) -> Iterator[str]:
    """The kind of the object at a place, and of those that ``and`` joins to it."""
    for name, at in objects:
        between = {token.text for token in tokens[min(at, place) + 1 : max(at, place)]}
        if at == place or (between & {"and", "or"} and between <= _JOINING):
            yield name


_JOINING: Final = frozenset((
    "and", "or", "residual", "skip", "connections", "hidden", "whole", "some", "more", "blocks",
))  # fmt: skip


def counted(token: Token, mentions: Sequence[Mention]) -> Condition:
    """What a number asks for that has no name: of the edits that are spoken of, or of anything."""
    number = token.number or 0.0
    if number < 1:
        share = OfNumber(_SHARES, "=", number, "share")
        shown = f"something = {token.text}"
        return Condition(token.text, (share,), sureness="loose", shown=shown, at=token.at)
    kinds = _kinds(token.at, token.clause, mentions)
    parts: list[Part] = [OfNumber(_ANY, "=", number, "count", 0.75 if kinds else 1.0)]
    parts += [OfWord(f"units={number:g}")]
    if kinds:
        parts.insert(0, OfNumber(tuple(f"edits.{kind}" for kind in kinds), "=", number, "count"))
    shown = f"something = {token.text}"
    return Condition(token.text, tuple(parts), sureness="loose", shown=shown, at=token.at)


def bound(condition: Condition, mentions: Sequence[Mention]) -> Condition:
    """A number of edits of any kind as one of those that are spoken of beside it."""
    part = condition.parts[0]
    if not isinstance(part, OfNumber) or part.fields[0] != "edits.":
        return condition
    kinds = _kinds(condition.at, condition.clause, mentions)
    fields = tuple(f"edits.{kind}" for kind in kinds)
    return replace(condition, parts=(replace(part, fields=(*fields, *part.fields)[:6]),))


def _kinds(at: int, clause: int, mentions: Sequence[Mention]) -> tuple[str, ...]:
    """The kinds of edits that are spoken of nearest to a place."""
    events, _ = spoken_of(at, clause, mentions)
    return tuple(event for event in events if event[0].isupper())[:3]
