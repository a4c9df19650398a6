"""What asks for the first of an order, or for the second, or for any of the first few."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Final

from structure_net.logging.search.conditions import Condition, OfRank
from structure_net.logging.search.superlatives import HIGH, LOW, OF, PLAIN, RUNS, Order
from structure_net.logging.search.tokens import Token, stem

if TYPE_CHECKING:
    from structure_net.logging.search.rows import Rows

_MAJORITY: Final = frozenset(("the", "with", "has", "have", "had", "having"))
"""Words behind which ``most`` asks for an order, and does not mean a majority."""

_RANKS: Final = {"second": 1, "third": 2, "fourth": 3, "fifth": 4, "next": 1}
"""Words before a superlative, by how many stand before what they ask for."""


def orders(tokens: list[Token | None], rows: Rows) -> list[Condition]:
    """What asks for a place in an order; its words are taken out of ``tokens``."""
    found = []
    for place, token in enumerate(tokens):
        if token is None:
            continue
        some, size = _orders(tokens, place)
        some = tuple(order for order in some if order[0] in rows.known)
        if not some:
            continue
        before = tokens[place - 1] if place else None
        skipped = _RANKS.get(before.text, 0) if before is not None else 0
        start = place - (skipped > 0)
        text = " ".join(one.text for one in tokens[start : place + size] if one is not None)
        parts = tuple(OfRank(field, largest, skipped) for field, largest in some)
        which = f"{skipped + 1}. " if skipped else ""
        ends = (f"{which}{'most' if largest else 'least'} {field}" for field, largest in some)
        shown = " or ".join(ends).replace("_", " ")
        found.append(Condition(text, parts, shown=shown, at=token.at))
        tokens[start : place + size] = [None] * (size + place - start)
    return found


def _orders(tokens: Sequence[Token | None], place: int) -> tuple[tuple[Order, ...], int]:
    """What a word asks for the first of, and how many words say so."""
    token = tokens[place]
    assert token is not None
    word, before = token.text, tokens[place - 1] if place else None
    previous = before.text if before is not None else ""
    behind = tokens[place + 1] if place + 1 < len(tokens) else None
    numbered = behind is not None and behind.number is not None
    if (
        (word not in PLAIN and word not in HIGH | LOW)
        or previous in ("its", "at", "on")
        or numbered
    ):
        return (), 0
    field, size = _noun(tokens, place + 1)
    if field and not (word in ("most", "least") and previous not in _MAJORITY):
        largest = word in HIGH or (word in PLAIN and word not in LOW and PLAIN[word][0][1])
        if field in ("loss", "gap") and word in ("best", "worst"):
            largest = word == "worst"
        return ((field.removeprefix("-"), largest != field.startswith("-")),), 1 + size
    return PLAIN.get(word, ()), 1


def _noun(tokens: Sequence[Token | None], place: int) -> tuple[str, int]:
    """The field that is named from a place on, and by how many words."""
    for size in (2, 1):
        some = [token for token in tokens[place : place + size] if token is not None]
        words = tuple(token.stem for token in some)
        if len(words) == size and words in _of() and not (size == 1 and words[0] in RUNS):
            return _of()[words], size
    return "", 0


@cache
def _of() -> Mapping[tuple[str, ...], str]:
    return {tuple(map(stem, words)): field for words, field in OF.items()}
