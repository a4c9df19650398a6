"""From words to traits: idioms, typing errors, phrases.

A word of a phrase is met by itself in any form and by the words of its family (see `thesaurus`).
Itself comes first: words that stand for others do so only where nothing else takes them.
"""

from __future__ import annotations

import difflib
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import groupby, product
from operator import eq
from typing import Final

from structure_net.logging.search.names import KNOWN
from structure_net.logging.search.plain_words import GENERIC, LITTLE, NOT
from structure_net.logging.search.thesaurus import FAMILIES, IDIOMS
from structure_net.logging.search.tokens import Token, stem, words_of
from structure_net.logging.search.vocabulary import PHRASES, TIMES

_SLACK: Final = 2
"""How many other words may stand between two words of a phrase."""

_REACH: Final = 3
"""How many words after a denial are denied."""

_WHEN: Final = frozenset(map(stem, (
    "early", "soon", "start", "begin", "initial", "premature", "beginning", "outset", "opening",
    "late", "end", "last", "final", "tail", "closing", "finish", "first", "one", "single", "stop",
    "improve", "progress", "better", "gain", "learn", "train", "accuracy", "score", "good", "fall",
    "drop", "rise", "high", "quick", "fast", "slow", "very", "most", "times", "half", "same",
)))  # fmt: skip
"""Words that stand for others only within a phrase."""

_BARE: Final = frozenset(("start", "end", "begin", "first", "last", "epoch", "train", "find"))
"""Words that are left of many a phrase and say nothing alone."""

_SIZES: Final = frozenset(map(stem, (
    "small", "tiny", "little", "large", "big", "huge", "giant", "massive", "compact", "light",
    "heavy", "mini", "micro", "good", "bad", "poor", "great", "strong", "weak", "long", "short",
)))  # fmt: skip
_WHOLE: Final = frozenset(map(stem, (
    "network", "net", "model", "one", "mlp", "cnn", "transformer", "lstm", "resnet", "autoencoder",
    "perceptron", "convnet", "classifier", "thing", "run", "experiment", "rnn", "regressor",
)))  # fmt: skip
"""Nouns that a word of size before them makes a size of the whole network."""

_CURVES: Final = frozenset(map(stem, (
    "loss", "accuracy", "error", "score", "validation", "curve", "gap",
)))  # fmt: skip
_PARTS: Final = frozenset(map(stem, (
    "width", "layer", "neuron", "depth", "channel", "parameter", "connection", "size", "density",
)))  # fmt: skip
_OF_SIZES: Final = frozenset((
    "doubled", "grew", "grew_much", "shrank", "shrank_much", "wide", "deep", "sparse", "densified",
    "widened", "split",
))  # fmt: skip
"""Traits that are no curve's."""

_ALIKE: Final = 0.84
"""How alike a word must be to one that is known to be taken for it."""


@cache
def _kin(word: str) -> frozenset[str]:
    """What a word, in its one form, can be met by: itself and the numbers of its families."""
    families = (f"#{k}" for k, words in enumerate(_families()) if word in words)
    return frozenset((word, *families))


@cache
def _families() -> tuple[frozenset[str], ...]:
    return tuple(frozenset(map(stem, family.split())) for family in FAMILIES)


@cache
def _idioms() -> dict[tuple[str, ...], str]:
    known = {_plain(words): stem(one) for words, one in IDIOMS.items()}
    return {words: one for words, one in known.items() if len(words) > 1}


def _plain(words: str) -> tuple[str, ...]:
    return tuple(stem(word) for word in words.split() if word not in LITTLE)


def merged(tokens: Sequence[Token]) -> list[Token]:
    """The words that can say something; idioms are one."""
    left = [token for token in tokens if token.text not in LITTLE]
    place = 0
    while place < len(left):
        for size in range(max(map(len, _idioms())), 1, -1):
            some = left[place : place + size]
            one = _idioms().get(tuple(token.stem for token in some))
            if one is not None:
                text = " ".join(token.text for token in some)
                left[place : place + size] = [Token(text, one, some[0].clause, at=some[0].at)]
                break
        place += 1
    return left


@dataclass(frozen=True, slots=True)
class _Phrase:
    """What people say for a trait, or for any of several."""

    words: tuple[str, ...]
    concepts: tuple[str, ...]
    loose: bool = False


@cache
def _phrases() -> tuple[_Phrase, ...]:
    """All phrases as stems, those of most words first, those that only say when last."""
    return (*_read(PHRASES, loose=False), *_read(TIMES, loose=True))


def spoken_phrases() -> Iterator[tuple[tuple[str, ...], tuple[str, ...]]]:
    """All phrases in their one form, each with the traits that it may mean."""
    yield from ((phrase.words, phrase.concepts) for phrase in _phrases() if not phrase.loose)


def _read(phrases: Mapping[str, Sequence[str]], *, loose: bool) -> list[_Phrase]:
    found: defaultdict[tuple[str, ...], list[str]] = defaultdict(list)
    for concept, texts in phrases.items():
        for text in texts:
            words = [Token(word, stem(word), 0) for word in words_of(text.replace("'", ""))]
            key = tuple(token.stem for token in merged(words))
            if _tells(key) and concept not in found[key]:
                found[key].append(concept)
    items = (_Phrase(words, tuple(concepts), loose) for words, concepts in found.items())
    return sorted(items, key=lambda item: -len(item.words))


def _tells(words: tuple[str, ...]) -> bool:
    """Whether words say anything without those that were left out of a phrase."""
    return words not in {(), (NOT,)} and not (len(words) == 1 and words[0] in GENERIC | _BARE)


@cache
def _by_first() -> dict[str, tuple[int, ...]]:
    """The places of the phrases, by all that their first word can be met by."""
    found: defaultdict[str, list[int]] = defaultdict(list)
    for place, phrase in enumerate(_phrases()):
        for word in _kin(phrase.words[0]):
            found[word].append(place)
    return {word: tuple(places) for word, places in found.items()}


@cache
def vocabulary() -> frozenset[str]:
    """All words, in their one form, that mean something to the search."""
    words = {word for phrase in _phrases() for word in phrase.words}
    words |= {word for family in _families() for word in family}
    words |= {word for idiom in _idioms() for word in idiom}
    words |= {stem(word) for texts in KNOWN.values() for text in texts for word in text.split()}
    return frozenset(words | set(map(stem, GENERIC)) | set(map(stem, LITTLE)))


def mended(tokens: Sequence[Token], names: Names) -> list[Token]:
    """The tokens with typing errors mended, by the vocabulary or the names in an index.

    Args:
        tokens: A question.
        names: The words of the index, by their first letters.
    """
    return [_mended(token, names) for token in tokens]


Names = Mapping[str, frozenset[str]]


@cache
def _by_letter() -> Names:
    found: defaultdict[str, set[str]] = defaultdict(set)
    for word in vocabulary():
        found[word[:1]].add(word)
    return {letter: frozenset(words) for letter, words in found.items()}


def _mended(token: Token, names: Names) -> Token:
    word = token.stem
    if token.number is not None or not 5 <= len(token.text) <= 30 or not token.text.isalpha():
        return token
    known = names.get(word[:1], frozenset()) | _by_letter().get(word[:1], frozenset())
    if word in known or token.text in known:
        return token
    near = sorted(other for other in known if abs(len(other) - len(word)) < 3 and other.isalpha())
    close = difflib.get_close_matches(word, near, n=1, cutoff=_ALIKE)
    return replace(token, stem=close[0]) if close else token


@dataclass(frozen=True, slots=True)
class Said:
    """Something that a question says.

    Args:
        concepts: The traits that it may mean; none for a word.
        word: The word as it is looked for; empty for a trait.
        denied: Whether it should not be so.
        text: The words of the question.
        loose: Whether it may well be meant otherwise.
        at: The places of its words in the question.
        clause: The part of the question in which it stands.
    """

    concepts: tuple[str, ...]
    word: str
    denied: bool
    text: str
    loose: bool = False
    at: tuple[int, ...] = ()
    clause: int = 0


def understood(tokens: Sequence[Token]) -> tuple[Said, ...]:
    """What words say: traits first, then the words that no trait takes."""
    said = merged(tokens)
    stems = [token.stem for token in said]
    taken: set[int] = set()
    found: list[Said] = []
    for _, alike in groupby(_likely(stems), key=lambda one: (one.loose, len(one.words))):
        # The longest first; of one length those in the same words, and those word by word.
        for (way, (meets, find)), phrase in product(enumerate(_WAYS), tuple(alike)):
            if meets is _meets and (NOT in phrase.words or _WHEN.issuperset(phrase.words)):
                continue  # what is denied, or all a matter of when, is said in so many words
            for places in find(phrase.words, said, taken, meets):
                if _of_curves(phrase, said, places):
                    continue
                taken.update(places)
                text = " ".join(said[k].text for k in sorted(places))
                alone = len(places) == 1
                loose = phrase.loose or (alone and (meets is _meets or _elsewhere(said, places[0])))
                loose = loose or _scattered(way, places) or phrase.words == ("stop",)
                denied = _denied(said, min(places), taken)
                at = tuple(said[k].at for k in sorted(places))
                clause = said[max(places)].clause
                found.append(Said(phrase.concepts, "", denied, text, loose, at, clause))
    return (
        *found,
        *(
            Said((), token.stem, _denied(said, place, taken, reach=1), token.text, at=(token.at,))
            for place, token in enumerate(said)
            if place not in taken and token.stem != NOT and token.text not in GENERIC
        ),
    )


def _scattered(way: int, places: Sequence[int]) -> bool:
    """Whether a phrase is met by words that stand apart and are others."""
    return way >= 3 and max(places) - min(places) >= len(places)


def _of_curves(phrase: _Phrase, said: Sequence[Token], places: Sequence[int]) -> bool:
    """Whether a word about sizes is said of a curve: ``the loss doubles``."""
    if len(places) > 2 or not _OF_SIZES.issuperset(phrase.concepts):
        return False
    place = min(places)
    near = [one.stem for one in said[max(0, place - 5) : place] if one.clause == said[place].clause]
    about = [word for word in near if word in _CURVES | _WHOLE | _PARTS]
    return bool(about) and about[-1] in _CURVES


def _likely(stems: Sequence[str]) -> list[_Phrase]:
    """The phrases all of whose words are there."""
    there = frozenset().union(*map(_kin, stems))
    places = sorted({place for word in there for place in _by_first().get(word, ())})
    likely = (_phrases()[place] for place in places)
    return [one for one in likely if all(not there.isdisjoint(_kin(w)) for w in one.words)]


Meets = Callable[[str, str], bool]


def _meets(asked: str, word: str) -> bool:
    """Whether a word of a phrase is met by a word of a question."""
    return not _kin(asked).isdisjoint(_kin(word))


def _apart(phrase: tuple[str, ...], said: Sequence[Token], places: Sequence[int]) -> bool:
    """Whether two words stand in different clauses, which longer phrases may."""
    return len(phrase) == 2 and len({said[place].clause for place in places}) > 1


def _in_a_row(
    phrase: tuple[str, ...], said: Sequence[Token], taken: set[int], meets: Meets
) -> Iterator[tuple[int, ...]]:
    """Where a phrase stands word by word, in words that nothing has taken."""
    size = len(phrase)
    for start in range(len(said) - size + 1):
        places = tuple(range(start, start + size))
        words = (said[place].stem for place in places)
        fits = taken.isdisjoint(places) and (meets is eq or not _apart(phrase, said, places))
        if fits and not _vague(phrase, said, places, meets) and all(map(meets, phrase, words)):
            yield places


def _nearby(
    phrase: tuple[str, ...], said: Sequence[Token], taken: set[int], meets: Meets
) -> Iterator[tuple[int, ...]]:
    """Where the words of a phrase stand near each other, in words that nothing has taken."""
    slack = _SLACK if meets is eq or len(phrase) > 2 else 1
    reach = len(phrase) + slack * (len(phrase) - 1)
    for start in range(len(said)):
        window = range(start, min(len(said), start + reach))
        places = _placed(phrase, said, [k for k in window if k not in taken], meets)
        if places and not _apart(phrase, said, places) and len(phrase) > 1:
            yield places


def _in_clause(
    phrase: tuple[str, ...], said: Sequence[Token], taken: set[int], meets: Meets
) -> Iterator[tuple[int, ...]]:
    """Where the words of a phrase of two or more stand anywhere in one clause."""
    clauses = sorted({token.clause for token in said}) if len(phrase) > 1 else ()
    for clause in clauses:
        window = [k for k, one in enumerate(said) if one.clause == clause and k not in taken]
        places = _placed(phrase, said, window, meets)
        if places:
            yield places


def _placed(
    phrase: tuple[str, ...], said: Sequence[Token], window: Sequence[int], meets: Meets
) -> tuple[int, ...]:
    """The places in a window at which the words of a phrase stand; none if one is missing."""
    places: list[int] = []
    for word in phrase:
        free = (k for k in window if k not in places)
        place = next((k for k in free if meets(word, said[k].stem)), None)
        if place is None:
            return ()
        places.append(place)
    return tuple(places)


_WAYS: Final = (
    (eq, _in_a_row),
    (eq, _nearby),
    (_meets, _in_a_row),
    (_meets, _nearby),
    (eq, _in_clause),
)
"""How phrases are looked for: by which words, and where these may stand."""


def _vague(
    phrase: tuple[str, ...], said: Sequence[Token], places: Sequence[int], meets: Meets
) -> bool:
    """Whether a single word stands for another that everybody uses, or says when."""
    if len(phrase) > 1 or meets is eq:
        return False
    token = said[places[0]]
    return token.text in GENERIC or token.stem in _WHEN or phrase[0] in _WHEN


def _elsewhere(said: Sequence[Token], place: int) -> bool:
    """Whether a word of size is said of something else than the whole network."""
    following = said[place + 1] if place + 1 < len(said) else None
    beside = following is not None and following.clause == said[place].clause
    return (
        said[place].stem in _SIZES
        and beside
        and following is not None
        and following.stem not in _WHOLE
    )


def _denied(said: Sequence[Token], place: int, taken: set[int], *, reach: int = _REACH) -> bool:
    return any(
        said[k].stem == NOT and k not in taken and said[k].clause == said[place].clause
        for k in range(max(0, place - reach), place)
    )
