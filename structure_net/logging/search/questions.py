"""From a question in words to a vector that weighs what it asks for."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
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
_NUMBER_NAME: Final = re.compile(r"(\d+)[\s-]+(?:[a-z]+[\s-]+)?((?:hidden|layer|epoch)[a-z]*)")
_PERCENT: Final = re.compile(r"(\d+(?:\.\d+)?)\s*(?:%|per\s?cent)")
_SHARES: Final = {
    "sparsity": ("spars", "zero", "pruned", "removed"),
    "density": ("dens", "connect", "weight", "link"),
    "accuracy": ("accura", "correct", "right"),
}
"""What a share in percent may be of, by the beginnings of the words that say so."""

_APART: Final = frozenset(("and", "at", "but", "for", "in", "on", "or", "to", "while", "with"))
"""Words behind which another thing is spoken of."""

_CHANGED: Final = re.compile(r"\b(\d+) ?(?:to|->|→) ?(\d+)\b")
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


def _share(percent: float, before: Sequence[str], after: Sequence[str]) -> str:
    """The word for a share in percent: of what, the words beside it say, those behind it first."""
    beside = [
        word
        for words in (after[:3], before[:-4:-1])
        for word in takewhile(lambda one: one not in _APART, words)
    ]
    kinds = (kind for word in beside for kind, begins in _SHARES.items() if word.startswith(begins))
    # Without a word, a half or more is an accuracy, and less a density.
    kind = next(kinds, "accuracy" if percent >= 50 else "density")
    if kind == "sparsity":
        kind, percent = "density", round(100 - percent, 6)
    return f"{kind}%={math.floor(percent):g}"


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
    for found in _PERCENT.finditer(plain):
        yield _share(float(found[1]), plain[: found.start()].split(), plain[found.end() :].split())
    for before, after in _CHANGED.findall(plain):
        yield f"{before}>{after}"
    for number, name in _NUMBER_NAME.findall(plain):
        yield f"{stem(name)}={float(number):g}"
        if name.startswith("layer"):  # some people count the last one, others do not
            yield f"hidden={float(number):g}"
