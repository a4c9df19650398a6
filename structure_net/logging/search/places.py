"""The words of a question with what stands beside a number: its noun and its comparison."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Final

from structure_net.logging.search.plain_words import LITTLE, NOT
from structure_net.logging.search.quantities import BEFORE, BEHIND, QUANTITIES, Quantity
from structure_net.logging.search.tokens import Token, stem

SKIPPED: Final = frozenset(
    ("of", "the", "its", "is", "was", "=", "in", "total", "to", "only", "just")
)
_LONGEST: Final = 3
Nouns = Mapping[tuple[str, ...], Quantity]


@cache
def nouns() -> dict[tuple[str, ...], Quantity]:
    """Quantities by the words for them, in their one form."""
    return {
        tuple(map(stem, noun.split())): quantity
        for quantity in QUANTITIES
        for noun in quantity.nouns
    }


@cache
def signs(side: str) -> dict[tuple[str, ...], str]:
    """The comparisons ``before`` or ``behind`` a number by the words for them."""
    table = BEFORE if side == "before" else BEHIND
    return {tuple(words.split()): sign for sign, texts in table.items() for words in texts}


class Places:
    """Looks around in the words of a question.

    Args:
        tokens: The question.
        named: Further quantities by the words for them: settings and metrics.
    """

    def __init__(self, tokens: Sequence[Token], named: Nouns) -> None:
        self.tokens = tokens
        self.taken: set[int] = set()
        self.nouns = {**named, **nouns()}

    def text(self, start: int, end: int) -> str:
        """The words from one place to another."""
        return " ".join(token.text for token in self.tokens[start:end])

    def word(self, place: int) -> str:
        """The word at a place; empty beside the question."""
        return self.tokens[place].text if 0 <= place < len(self.tokens) else ""

    def take(self, start: int, end: int) -> None:
        """Uses up the words from one place to another."""
        self.taken.update(range(start, end))

    def number(self, place: int) -> float | None:
        """The number at a place that is free and no part of a name; None if there is none."""
        if not 0 <= place < len(self.tokens) or place in self.taken:
            return None
        token = self.tokens[place]
        return None if token.joined and self.tokens[place - 1].number is None else token.number

    def noun(self, place: int) -> tuple[Quantity | None, int]:
        """The quantity whose name begins here, and how many words it takes."""
        for size in range(_LONGEST, 0, -1):
            words = tuple(token.stem for token in self.tokens[place : place + size])
            if len(words) == size and words in self.nouns:
                return self.nouns[words], size
        return None, 0

    def noun_behind(self, place: int, gap: int) -> tuple[Quantity | None, int]:
        """The quantity named behind a place, and its end.

        Up to ``gap`` little words may stand between, one of which may be any: ``20 thin layers``.
        """
        strange = 0
        for skipped in range(gap + 1):
            found, size = self.noun(place + skipped)
            if self.parted(place, place + skipped):
                break
            if found is not None:
                return found, place + skipped + size
            word = self.word(place + skipped)
            strange += word not in SKIPPED
            if strange > gap // 2 or word in LITTLE - SKIPPED or not word.isalpha():
                break
        return None, place

    def parted(self, end: int, place: int) -> bool:
        """Whether a clause ends between the word before ``end`` and that at ``place``."""
        clauses = [token.clause for token in self.tokens]
        return end < 1 or place >= len(clauses) or clauses[end - 1] != clauses[place]

    def noun_before(self, place: int) -> tuple[Quantity | None, int]:
        """The quantity named before a place, and its beginning."""
        end = place
        if (
            self.parted(place, place)
            and self.word(place + 1)
            and not self.parted(place + 1, place + 1)
        ):
            return None, place  # a comma, and more behind the number
        while end > 0 and place - end < 3 and self.word(end - 1) in SKIPPED | {"at", "a", "by"}:
            end -= 1
        for size in range(_LONGEST, 0, -1):
            words = tuple(token.stem for token in self.tokens[max(0, end - size) : end])
            free = self.taken.isdisjoint(range(end - size, end))
            if len(words) == size and free and words in self.nouns:
                return self.nouns[words], end - size
        return None, place

    def sign_before(self, place: int) -> tuple[str, int]:
        """The comparison before a number and where it begins."""
        for skipped in (0, 1):
            end = place - skipped
            for size in range(_LONGEST, 0, -1):
                words = tuple(token.text for token in self.tokens[max(0, end - size) : end])
                if len(words) == size and words in signs("before"):
                    sign, start = signs("before")[words], end - size
                    if start > 0 and self.tokens[start - 1].stem == NOT and sign in "<>":
                        return ("<" if sign == ">" else ">"), start - 1
                    return sign, start
            if self.word(place - 1) not in ("a", "the", "of"):
                break
        return "=", place

    def sign_behind(self, place: int) -> tuple[str, int]:
        """The comparison behind a number and where it ends."""
        for size in (2, 1):
            words = tuple(token.text for token in self.tokens[place : place + size])
            if len(words) == size and words in signs("behind"):
                return signs("behind")[words], place + size
        return "", place
