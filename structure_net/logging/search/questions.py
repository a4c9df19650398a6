"""From a question in words to a vector that weighs what it asks for."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from structure_net.logging.search.embedding import trait_vector
from structure_net.logging.search.wording import Said, stem, understood, words_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Counts = Mapping[str, tuple[float, float]]
"""For each word, and each trait as ``#trait``, the sum and the largest of its weights."""

_NUMBERS: Final = {
    "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8,
    "nine": 9, "ten": 10, "twenty": 20, "fifty": 50, "hundred": 100,
}  # fmt: skip
_NAME_NUMBER: Final = re.compile(
    r"([a-z][a-z_ ]*?)\s*(?:of|=|:|is|was)?\s*(\d+(?:\.\d+)?(?:e-?\d+)?)"
)
_NUMBER_NAME: Final = re.compile(r"(\d+)[\s-]+((?:hidden|layer|epoch)[a-z]*)")
_PERCENT: Final = re.compile(r"(\d+(?:\.\d+)?)\s*(?:%|per\s?cent)")
_ALIKE: Final = 0.8
"""How alike a word must be to one that is known to be taken for it."""

_CLEAREST: Final = 0.25
"""A trait is scaled so that the clearest case in the index counts 1, unless it is below this."""


@dataclass(frozen=True, slots=True, eq=False)
class Question:
    """A question as a vector.

    Args:
        vector: Shape ``(TRAITS,)``. Its inner product with an experiment's traits, and the weights
            of the ``words`` that the experiment has, are together the part of the question that it
            answers, at most about 1; below 0 where the question denies what it has.
        traits: The traits that are looked for, with their weights.
        words: The words, likewise.
        unknown: The words that no experiment has.
    """

    vector: NDArray[np.float32]
    traits: Mapping[str, float]
    words: Mapping[str, float]
    unknown: tuple[str, ...]


def question_of(text: str, counts: Counts, experiments: int) -> Question:
    """What a text asks of an index with these words.

    Args:
        text: In words, such as "sparse nets that plateaued early".
        counts: The index's words.
        experiments: How many it holds.
    """
    traits: dict[str, float] = {}
    words: dict[str, float] = {}
    unknown: list[str] = []
    for said in understood(text):
        sign = -1.0 if said.denied else 1.0
        if said.concept:
            traits[said.concept] = sign * _worth_of_trait(said.concept, counts, experiments)
        elif (word := _known(said, counts)) is not None:
            words[word] = sign * _worth(counts[word][0], experiments)
        elif said.word.isalpha() and said.word not in _NUMBERS:
            unknown.append(said.text)
    for word in _compounds(text):
        if word in counts:
            words[word] = _worth(counts[word][0], experiments)
    whole = sum(map(abs, traits.values())) + sum(map(abs, words.values()))
    traits, words = (
        {name: weight / whole for name, weight in part.items()} for part in (traits, words)
    )
    return Question(trait_vector(traits), traits, words, tuple(unknown))


def _worth(total: float, experiments: int) -> float:
    """How much a word tells: the rarer, the more."""
    return math.log(1 + experiments / (0.5 + total))


def _worth_of_trait(trait: str, counts: Counts, experiments: int) -> float:
    total, largest = counts.get(f"#{trait}", (0.0, 0.0))
    clearest = max(largest, _CLEAREST)
    return _worth(total / clearest, experiments) / clearest


def _known(said: Said, counts: Counts) -> str | None:
    """The word itself, or the only known one that is much like it."""
    if said.word in counts:
        return said.word
    if len(said.word) < 5 or not said.word.isalpha():
        return None
    first, size = said.word[0], len(said.word)
    names = [word for word in counts if word[0] == first and abs(len(word) - size) < 3]
    names = [word for word in names if word.isalpha()]
    return next(iter(difflib.get_close_matches(said.word, names, n=1, cutoff=_ALIKE)), None)


def _compounds(text: str) -> Iterator[str]:
    """Words of experiments that are several in a question: names, and names with numbers."""
    raw = words_of(text)
    for size in (1, 2, 3):
        for start in range(len(raw) - size + 1):
            name = "".join(raw[start : start + size])
            yield f"dataset={name}"
            if size > 1:
                yield name
    plain = " ".join(str(_NUMBERS.get(word, word)) for word in re.split(r"[\s,]+", text.lower()))
    for name, number in _NAME_NUMBER.findall(plain):
        parts = name.split()
        for count in (1, 2):
            yield f"{stem('_'.join(parts[-count:]))}={float(number):g}"
    for number in _PERCENT.findall(plain):
        # A share of one half or more is an accuracy, a smaller one a density.
        name = "accuracy" if float(number) >= 50 else "density"
        yield f"{name}%={math.floor(float(number)):g}"
    for number, name in _NUMBER_NAME.findall(plain):
        yield f"{stem(name)}={float(number):g}"
