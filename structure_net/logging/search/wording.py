"""From text to words: splitting, bringing to one form, recognising phrases.

A word of a phrase is met by itself in any form and by the words of its family (see `thesaurus`).
Itself comes first: words that stand for others do so only where nothing else takes them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import groupby, product
from operator import eq
from typing import Final

from structure_net.logging.search.thesaurus import FAMILIES, IDIOMS
from structure_net.logging.search.vocabulary import (
    CONCEPTS,
    GENERIC,
    IRREGULAR,
    NOT,
    PHRASES,
)

_CAMEL: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z][a-z])|(?<=[A-Z])(?=[A-Z][a-z])")
_WORD: Final = re.compile(r"[^\W\d_]+|\d+(?:\.\d+)?(?:e-?\d+)?")
_JOINED: Final = re.compile(r"[^\W_]+(?:[-_.][^\W_]+)*")
_WIDTHS: Final = re.compile(r"\b\d+(?:\s*[-x×,]\s*\d+){1,}\b")
_SLACK: Final = 2
"""How many other words may stand between two words of a phrase."""

_REACH: Final = 3
"""How many words after a denial are denied."""


@cache
def stem(word: str) -> str:
    """The form under which a word is looked for: plateaued, plateaus, plateauing are plateau."""
    word = IRREGULAR.get(word, word)
    if len(word) <= 3 or word in IRREGULAR.values() or not word.isascii():
        return word
    for ending, put in (("ies", "y"), ("ied", "y"), ("ing", ""), ("ed", ""), ("ly", ""), ("s", "")):
        if word.endswith(ending) and len(word) - len(ending) + len(put) >= 3:
            if ending == "s" and re.search(r"(ss|is|[^a]us)$", word):
                break
            word = word[: -len(ending)] + put
            if ending in ("ing", "ed") and word[-1] == word[-2] and word[-1] not in "sl":
                word = word[:-1]
            break
    return word.removesuffix("e") if len(word) > 3 else word


def words_of(text: str) -> list[str]:
    """The words and numbers of a text in lower case; ``CamelCase`` and ``snake_case`` are split."""
    return [word.lower() for word in _WORD.findall(_CAMEL.sub(" ", text))]


def free_words(text: str) -> set[str]:
    """What a text can be found by: its words in one form, and names such as ``cifar-10`` joined."""
    words = (word for word in words_of(text) if word not in GENERIC and word.isalpha())
    found = set(map(stem, words))
    joined = ("".join(re.split(r"[-_.]", name)).lower() for name in _JOINED.findall(text))
    return found | {name for name in joined if name not in GENERIC and not name.isdigit()}


def widths_word(widths: Sequence[int]) -> str:
    """The word for a network's widths, such as ``784-256-10``."""
    return "-".join(map(str, widths))


def widths_in(text: str) -> list[str]:
    """The words for the widths that a text names."""
    return [widths_word([int(n) for n in re.findall(r"\d+", hit)]) for hit in _WIDTHS.findall(text)]


@cache
def _kin(word: str) -> frozenset[str]:
    """What a word, in its one form, can be met by: itself and the numbers of its families."""
    families = (str(k) for k, words in enumerate(_families()) if word in words)
    return frozenset((word, *families))


@cache
def _families() -> tuple[frozenset[str], ...]:
    return tuple(frozenset(map(stem, family.split())) for family in FAMILIES)


@cache
def _idioms() -> dict[tuple[str, ...], str]:
    return {tuple(map(stem, words.split())): stem(one) for words, one in IDIOMS.items()}


def _told(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Words, idioms as one, and the forms under which they are looked for; little ones left out."""
    raw = [word for word in words if word not in _LITTLE]
    stems = [stem(word) for word in raw]
    place = 0
    while place < len(stems):
        for size in range(max(map(len, _idioms())), 1, -1):
            one = _idioms().get(tuple(stems[place : place + size]))
            if one is not None:
                raw[place : place + size] = [" ".join(raw[place : place + size])]
                stems[place : place + size] = [one]
                break
        place += 1
    return raw, stems


@cache
def _phrases() -> tuple[tuple[tuple[str, ...], str], ...]:
    """All phrases as stems with their concept, those of most words first."""
    found = {
        tuple(_told(words_of(phrase))[1]): concept
        for concept in CONCEPTS
        for phrase in PHRASES[concept]
    }
    return tuple(sorted(found.items(), key=lambda item: -len(item[0])))


_LITTLE: Final = frozenset((
    "a", "an", "and", "are", "as", "at", "be", "been", "but", "by", "did", "do", "does", "even",
    "for", "from", "had", "has", "have", "i", "in", "into", "is", "it", "its", "just", "of", "on",
    "or", "quite", "rather", "really", "right", "so", "some", "than", "that", "the", "their",
    "them", "then", "these", "they", "this", "those", "until", "was", "we", "were", "with",
    "within",
))  # fmt: skip


@dataclass(frozen=True, slots=True)
class Said:
    """Something that a question says.

    Args:
        concept: A trait of the vocabulary; empty for a word.
        word: The word as it is looked for; empty for a trait.
        denied: Whether it should not be so.
        text: The words of the question.
    """

    concept: str
    word: str
    denied: bool
    text: str


def understood(question: str) -> tuple[Said, ...]:
    """What a question says: traits first, then the words that no trait takes."""
    raw, stems = _told(words_of(_WIDTHS.sub(" ", question)))
    taken: set[int] = set()
    found: list[Said] = []
    there = frozenset().union(*map(_kin, stems))
    likely = [
        (phrase, concept)
        for phrase, concept in _phrases()
        if all(not there.isdisjoint(_kin(word)) for word in phrase)
    ]
    # The longest first; of one length those in the same words, and those word by word.
    for _, alike in groupby(likely, key=lambda item: len(item[0])):
        ways = product((eq, _meets), (_in_a_row, _nearby), tuple(alike))
        for meets, find, (phrase, concept) in ways:
            for places in find(phrase, stems, taken, meets):
                taken.update(places)
                denied = _denied(stems, min(places), taken)
                found.append(Said(concept, "", denied, " ".join(raw[k] for k in sorted(places))))
    found += [
        Said("", word, _denied(stems, place, taken), raw[place])
        for place, word in enumerate(stems)
        if place not in taken and word != NOT and raw[place] not in GENERIC
    ]
    return (*found, *(Said("", widths, False, widths) for widths in widths_in(question)))


Meets = Callable[[str, str], bool]


def _meets(asked: str, word: str) -> bool:
    """Whether a word of a phrase is met by a word of a question."""
    return not _kin(asked).isdisjoint(_kin(word))


def _in_a_row(
    phrase: tuple[str, ...], stems: Sequence[str], taken: set[int], meets: Meets
) -> Iterator[tuple[int, ...]]:
    """Where a phrase stands word by word, in words that nothing has taken."""
    size = len(phrase)
    for start in range(len(stems) - size + 1):
        places = tuple(range(start, start + size))
        if taken.isdisjoint(places) and all(map(meets, phrase, stems[start : start + size])):
            yield places


def _nearby(
    phrase: tuple[str, ...], stems: Sequence[str], taken: set[int], meets: Meets
) -> Iterator[tuple[int, ...]]:
    """Where the words of a phrase stand near each other, in words that nothing has taken."""
    reach = len(phrase) + _SLACK * (len(phrase) - 1)
    for start in range(len(stems)):
        window = range(start, min(len(stems), start + reach))
        places: list[int] = []
        for word in phrase:
            free = (k for k in window if k not in taken and k not in places)
            place = next((k for k in free if meets(word, stems[k])), None)
            if place is None:
                break
            places.append(place)
        else:
            yield tuple(places)


def _denied(stems: Sequence[str], place: int, taken: set[int]) -> bool:
    before = range(max(0, place - _REACH), place)
    return any(stems[k] == NOT and k not in taken for k in before)
