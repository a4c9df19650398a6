"""Words that no phrase knows, by the words that are spelled like them and the traits of those.

A word is a vector of its letter triples, and a trait one of the words of its phrases. An unknown
word is taken for the one of the vocabulary whose letters are the nearest to its own, and hints at
the trait whose phrases have that word most of all. So what nobody foresaw still ranks a little.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping
from functools import cache, lru_cache
from typing import Final

from structure_net.logging.search.plain_words import GENERIC, LITTLE, NOT
from structure_net.logging.search.tokens import stem
from structure_net.logging.search.wording import spoken_phrases

_ALIKE: Final = 0.55
"""How near, by the cosine of their letter triples, an unknown word must be to a known one."""

_CLEAR: Final = 0.45
"""Which part of a word's phrases must be of one trait."""

_SHORTEST: Final = 4
_EVERYWHERE: Final = frozenset((
    "every", "each", "super", "extreme", "extremely", "validation", "curve", "level", "nearly",
    "needed", "space", "another", "higher", "lower", "mask", "start", "starts", "end", "ends",
    "through", "right", "half", "exactly", "please", "once", "task", "about", "whole", "curves",
    "phase", "phases", "keep", "kept", "keeps", "went", "goes", "middle", "rest",
))  # fmt: skip
"""Words of many a phrase that hint at nothing alone."""


@cache
def _plain() -> frozenset[str]:
    """What hints at nothing, neither itself nor what is spelled like it."""
    return frozenset({stem(word) for word in GENERIC | LITTLE | _EVERYWHERE} | {NOT})


@cache
def _traits_of() -> Mapping[str, tuple[str, float]]:
    """For each word of the vocabulary the trait that most of its phrases mean, and their part."""
    votes: defaultdict[str, defaultdict[str, float]] = defaultdict(lambda: defaultdict(float))
    for words, concepts in spoken_phrases():
        for word in words:
            for concept in concepts:
                votes[word][concept] += 1 / (len(words) * len(concepts))
    found = {}
    for word, counts in votes.items():
        concept, most = max(counts.items(), key=lambda item: (item[1], item[0]))
        if word not in _plain() and len(word) >= _SHORTEST - 1:
            found[word] = concept, most / sum(counts.values())
    return found


def _triples(word: str) -> Counter[str]:
    padded = f"^{word}$"
    return Counter(padded[k : k + 3] for k in range(len(padded) - 2))


@cache
def _by_triple() -> Mapping[str, tuple[tuple[str, float], ...]]:
    """The words of the vocabulary that have a triple, each with its share of the word's length."""
    found: defaultdict[str, list[tuple[str, float]]] = defaultdict(list)
    for word in _traits_of():
        triples = _triples(word)
        length = math.sqrt(sum(count**2 for count in triples.values()))
        for triple, count in triples.items():
            found[triple].append((word, count / length))
    return {triple: tuple(words) for triple, words in found.items()}


@lru_cache(maxsize=4096)
def hinted(word: str) -> str:
    """The trait that a word hints at; empty if it hints at none.

    Args:
        word: In its one form.
    """
    if len(word) < _SHORTEST or not word.isalpha() or word in _plain():
        return ""
    known = word if word in _traits_of() else _nearest(word)
    trait, share = _traits_of().get(known, ("", 0.0))
    return trait if share >= _CLEAR else ""


def _nearest(word: str) -> str:
    triples = _triples(word)
    length = math.sqrt(sum(count**2 for count in triples.values()))
    alike: defaultdict[str, float] = defaultdict(float)
    for triple, count in triples.items():
        for known, share in _by_triple().get(triple, ()):
            alike[known] += count * share / length
    found = max(alike.items(), key=lambda item: (item[1], item[0]), default=("", 0.0))
    return found[0] if found[1] >= _ALIKE else ""
