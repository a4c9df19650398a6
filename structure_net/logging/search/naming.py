"""Names in a question: of data sets, strategies, settings, and what is known to go with them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Final

from structure_net.logging.search.conditions import Condition, OfWord
from structure_net.logging.search.names import DATA_SETS, KNOWN
from structure_net.logging.search.plain_words import GENERIC
from structure_net.logging.search.tokens import Token, stem
from structure_net.logging.search.wording import merged, vocabulary

if TYPE_CHECKING:
    from structure_net.logging.search.rows import Rows

_LONGEST: Final = 3
_PREFIX: Final = 6
"""From this length on the beginning of a joined name stands for it: ``GradMax``."""

_RARE: Final = 0.02
_ALSO: Final = 0.8
"""How much a name counts that is only known to go with a word."""


def named_word(word: str, text: str) -> Condition:
    """A name that some experiments have."""
    return Condition(text, (OfWord(word),), sureness="named", shown=f"{text!r}")


def named_in(tokens: Sequence[Token], rows: Rows) -> tuple[list[Condition], list[Token]]:
    """Names of data sets, and names of several words; the words that are left."""
    found, left, place = [], [], 0
    while place < len(tokens):
        for size in range(min(_LONGEST, len(tokens) - place), 0, -1):
            some = tokens[place : place + size]
            conditions = _names(some, _denies(tokens, place), rows)
            found += conditions
            if any(one.sureness == "named" for one in conditions):
                place += size
                break
        else:
            left.append(tokens[place])
            place += 1
    return found, left


def _names(tokens: Sequence[Token], denied: bool, rows: Rows) -> list[Condition]:
    """What words are a name of, or are known to go with."""
    name = "".join(token.text for token in tokens)
    condition = _name(name, len(tokens), denied, rows)
    if condition is not None:
        return [condition]
    return _known(tokens, denied, rows) if len(tokens) > 1 else []


def _denies(tokens: Sequence[Token], place: int) -> bool:
    return any(token.stem == "not" for token in tokens[max(0, place - 2) : place])


def _name(name: str, size: int, denied: bool, rows: Rows) -> Condition | None:
    data = f"dataset={name}"
    if data in rows.places_of:
        parts: tuple[OfWord, ...] = (OfWord(data), OfWord(name, 0.4))
        shown = f"{'not ' if denied else ''}data set {name}"
        parts = parts[: 1 + (name in rows.places_of)]
        return Condition(name, parts, denied, "named", shown)
    if name.isdigit() or stem(name) in vocabulary():
        return None
    if len(rows.places_of.get(name, ())) > len(rows) / 2:
        return None  # what nearly all have is not asked for
    if name in rows.places_of or stem(name) in rows.places_of:
        return named_word(name, name) if size > 1 and name in rows.places_of else None
    begun = rows.by_letter.get(name[:1], ()) if len(name) >= _PREFIX else ()
    longer = tuple(OfWord(word) for word in sorted(begun) if word.startswith(name))
    return Condition(name, longer, denied, "named", f"{name!r}") if longer else None


def _known(tokens: Sequence[Token], denied: bool, rows: Rows) -> list[Condition]:
    """What several words are known to go with: ``house numbers``, ``warm up``."""
    stems = tuple(token.stem for token in tokens)
    names = _aliases().get(stems, ())
    text = " ".join(token.text for token in tokens)
    data = tuple(word for name in names if name in DATA_SETS for word in _word_of(name, rows))
    others = tuple(word for name in names if name not in DATA_SETS for word in _word_of(name, rows))
    if others:
        return [Condition(text, others, denied, "said", f"{'not ' * denied}{text!r}")]
    if not data:
        return []
    itself = tuple(OfWord(f"dataset={one.text}") for one in tokens)
    itself = tuple(part for part in itself if part.word in rows.places_of)
    found = [Condition(text, (*itself, *data), denied, "named", f"{'not ' * denied}{text!r}")]
    notes = tuple(OfWord(one.stem) for one in tokens if _is_rare(one.stem, rows))
    return found + [Condition(text, (note,), False, "said", f"{note.word!r}") for note in notes]


def _is_rare(word: str, rows: Rows) -> bool:
    return 0 < len(rows.places_of.get(word, ())) <= _RARE * len(rows) and word not in GENERIC


def _word_of(name: str, rows: Rows) -> Iterator[OfWord]:
    for word in (f"dataset={name}", name, stem(name)):
        if word in rows.places_of:
            yield OfWord(word, _ALSO)
            break


@cache
def _aliases() -> Mapping[tuple[str, ...], tuple[str, ...]]:
    """Names by the words, in their one form, for which they can be found."""
    found: defaultdict[tuple[str, ...], list[str]] = defaultdict(list)
    for name, texts in KNOWN.items():
        for text in texts:
            words = [Token(word, stem(word), 0) for word in text.replace("-", " ").split()]
            found[tuple(token.stem for token in merged(words))].append(name)
    return {words: tuple(names) for words, names in found.items()}


def also_named(text: str, rows: Rows) -> Iterator[OfWord]:
    """The names that are known to go with words."""
    stems = [stem(word) for word in text.split()]
    for size in range(len(stems), 0, -1):
        for start in range(len(stems) - size + 1):
            for name in _aliases().get(tuple(stems[start : start + size]), ()):
                yield from _word_of(name, rows)
