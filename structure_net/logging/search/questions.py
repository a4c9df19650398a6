"""From a question in words to conditions, each with its weight."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Final

import numpy as np

from structure_net.logging.search.amounts import Amounts
from structure_net.logging.search.conditions import (
    Condition,
    OfNumber,
    OfRank,
    OfTrait,
    OfWord,
    Sureness,
)
from structure_net.logging.search.embedding import trait_vector
from structure_net.logging.search.names import KNOWN
from structure_net.logging.search.places import Places, nouns
from structure_net.logging.search.plain_words import GENERIC
from structure_net.logging.search.quantities import Quantity
from structure_net.logging.search.superlatives import HIGH, LOW, OF, PLAIN, RUNS, Order
from structure_net.logging.search.tokens import Token, stem, tokens_of, widths_in
from structure_net.logging.search.wording import Said, mended, merged, understood, vocabulary

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from structure_net.logging.search.storing import Rows

_LONGEST: Final = 3
_FEW: Final = 0.02
"""A word tells something besides the trait that it names if no larger part of all have it."""

_PREFIX: Final = 6
"""From this length on the beginning of a joined name stands for it: ``GradMax``."""

_ALSO: Final = 0.8
"""How much a name counts that is only known to go with a word."""

_MAJORITY: Final = frozenset(("the", "with", "has", "have", "had", "having"))
"""Words behind which ``most`` asks for an order, and does not mean a majority."""


@dataclass(frozen=True, slots=True, eq=False)
class Question:
    """A question as it was understood.

    Args:
        conditions: What it asks for.
        weights: How much each condition counts, together 1; shape ``(conditions,)``.
        unknown: The words that say nothing about any experiment.
    """

    conditions: tuple[Condition, ...]
    weights: NDArray[np.float64]
    unknown: tuple[str, ...]

    @property
    def traits(self) -> Mapping[str, float]:
        """The traits that are looked for, with their weights; below 0 where they are denied."""
        return self._of(OfTrait)

    @property
    def words(self) -> Mapping[str, float]:
        """The words, likewise."""
        return self._of(OfWord)

    @property
    def told(self) -> str:
        """How the question was understood, in one line."""
        return "; ".join(condition.shown for condition in self.conditions)

    @property
    def vector(self) -> NDArray[np.float32]:
        """The traits that are looked for as a vector, shape ``(TRAITS,)``."""
        return trait_vector({name: max(weight, 0.0) for name, weight in self.traits.items()})

    def _of(self, kind: type[OfTrait | OfWord]) -> dict[str, float]:
        found: dict[str, float] = {}
        for condition, weight in zip(self.conditions, self.weights.tolist(), strict=True):
            for part in condition.parts:
                if isinstance(part, kind):
                    name = part.trait if isinstance(part, OfTrait) else part.word
                    signed = -weight if condition.denied else weight
                    found[name] = found.get(name, 0.0) + signed * part.strength
        return found


def question_of(text: str, rows: Rows) -> Question:
    """What a text asks of the experiments of an index.

    Args:
        text: In words, such as "sparse nets that plateaued early".
        rows: The experiments.
    """
    widths, rest = widths_in(text)
    tokens = mended(tokens_of(rest), rows.by_letter)
    found = [_word(name, name) for name in widths if name in rows.places_of]
    named, tokens = _named(tokens, rows)
    places = Places(tokens, _settings(rows) if _has_numbers(tokens) else {})
    found += [*named, *Amounts(places).conditions()]
    left = [None if k in places.taken else token for k, token in enumerate(tokens)]
    found += _superlatives(left, rows)
    said = understood([_few(token, left, k) for k, token in enumerate(left) if token is not None])
    unknown = [name for name in widths if name not in rows.places_of]
    for one in said:
        asked = _asked(one, rows)
        found += asked
        if not asked and one.text.isalpha():
            unknown.append(one.text)
    found += [_any(token) for token in left if token is not None and _bare(token, said)]
    conditions = tuple({(one.parts, one.denied): one for one in reversed(found)}.values())[::-1]
    weights = np.array([condition.weight(rows) for condition in conditions])
    whole = float(weights.sum()) if len(weights) else 1.0
    return Question(conditions, weights / whole, tuple(dict.fromkeys(unknown)))


_ANY: Final = (
    "width", "narrowest", "depth", "hidden", "edits", "edits.", "epochs", "batch_size", "seed",
    "start_width", "taken_back",
)  # fmt: skip
"""What a number may be of that nobody gives a name."""


def _bare(token: Token, said: Sequence[Said]) -> bool:
    """Whether a token is a whole number that nothing has used."""
    used = any(token.text in one.text.split() and one.concepts for one in said)
    return token.number is not None and token.number >= 2 and not used and not token.joined


def _any(token: Token) -> Condition:
    part = OfNumber(_ANY, "=", token.number or 0.0, "count")
    return Condition(token.text, (part,), sureness="loose", shown=f"something = {token.text}")


def _has_numbers(tokens: Sequence[Token]) -> bool:
    return any(token.number is not None for token in tokens)


def _few(token: Token, tokens: Sequence[Token | None], place: int) -> Token:
    """A small number of epochs as a word that phrases know: ``after 4 epochs``."""
    following = next((one for one in tokens[place + 1 : place + 2] if one is not None), None)
    if token.number is None or following is None or following.stem not in ("epoch", "pass"):
        return token
    before = tokens[place - 1] if place else None
    if before is not None and before.text == "first":
        return Token(token.text, "the", token.clause)  # "the first four epochs" are a time
    few = "one" if token.number == 1 else "few" if token.number <= 6 else token.text
    return Token(token.text, stem(few), token.clause)


def _settings(rows: Rows) -> dict[tuple[str, ...], Quantity]:
    """Settings and metrics that are numbers, by their names' words."""
    known = {field for quantity in nouns().values() for field in quantity.fields}
    names = (name for name in rows.numeric if "." not in name and name not in known)
    return {
        tuple(stem(word) for word in name.lower().split("_") if word): Quantity(
            (name,), (name,), "plain"
        )
        for name in names
    }


def _word(word: str, text: str) -> Condition:
    return Condition(text, (OfWord(word),), sureness="named", shown=f"{text!r}")


def _named(tokens: Sequence[Token], rows: Rows) -> tuple[list[Condition], list[Token]]:
    """Names of data sets, and names of several words; the words that are left."""
    found, left, place = [], [], 0
    while place < len(tokens):
        for size in range(min(_LONGEST, len(tokens) - place), 0, -1):
            name = "".join(token.text for token in tokens[place : place + size])
            condition = _name(name, size, _denies(tokens, place), rows)
            if condition is not None:
                found.append(condition)
                place += size
                break
        else:
            left.append(tokens[place])
            place += 1
    return found, left


def _denies(tokens: Sequence[Token], place: int) -> bool:
    return any(token.stem == "not" for token in tokens[max(0, place - 2) : place])


def _name(name: str, size: int, denied: bool, rows: Rows) -> Condition | None:
    data = f"dataset={name}"
    if data in rows.places_of:
        parts = (OfWord(data), OfWord(name, 0.4))
        shown = f"{'not ' if denied else ''}data set {name}"
        return Condition(name, parts[: 1 + (name in rows.places_of)], denied, "named", shown)
    if size == 1 or name.isdigit() or stem(name) in vocabulary():
        return None
    if name in rows.places_of:
        return _word(name, name)
    begun = rows.by_letter.get(name[:1], ()) if len(name) >= _PREFIX else ()
    longer = tuple(OfWord(word) for word in sorted(begun) if word.startswith(name))
    return Condition(name, longer, denied, "named", f"{name!r}") if longer else None


@cache
def _aliases() -> Mapping[tuple[str, ...], tuple[str, ...]]:
    """Names by the words, in their one form, for which they can be found."""
    found: defaultdict[tuple[str, ...], list[str]] = defaultdict(list)
    for name, texts in KNOWN.items():
        for text in texts:
            words = [Token(word, stem(word), 0) for word in text.replace("-", " ").split()]
            found[tuple(token.stem for token in merged(words))].append(name)
    return {words: tuple(names) for words, names in found.items()}


def _also(text: str, rows: Rows) -> Iterator[OfWord]:
    """The names that are known to go with words."""
    stems = [stem(word) for word in text.split()]
    for size in range(len(stems), 0, -1):
        for start in range(len(stems) - size + 1):
            for name in _aliases().get(tuple(stems[start : start + size]), ()):
                for word in (f"dataset={name}", name, stem(name)):
                    if word in rows.places_of:
                        yield OfWord(word, _ALSO)
                        break


def _asked(said: Said, rows: Rows) -> list[Condition]:
    """What a phrase or a word asks for; nothing if nothing here can meet it."""
    denial = "not " if said.denied else ""
    also = tuple(_also(said.text, rows))
    if not said.concepts:
        if any(letter.isdigit() for letter in said.text):
            return []
        known = [word for word in (said.word, said.text) if word in rows.places_of]
        parts = (*(OfWord(word) for word in known[:1] if len(word) > 1), *also)
        loose = not also and said.word in vocabulary()
        sureness: Sureness = "loose" if loose else "said"
        shown = f"{denial}{said.text!r}"
        return [Condition(said.text, parts, said.denied, sureness, shown)] if parts else []
    names = " or ".join(one.replace("_", " ") for one in said.concepts)
    shown = f"{denial}{names}" + (f" ({said.text})" if said.text != names else "")
    traits = tuple(map(OfTrait, said.concepts))
    sureness = "loose" if said.loose else "said"
    found = [Condition(said.text, traits, said.denied, sureness, shown)]
    kinds: tuple[tuple[tuple[OfWord, ...], Sureness], ...] = (
        (also, "loose"),
        (tuple(_own(said.text, rows)), "hint"),
    )
    for words, sureness in kinds:
        if words:
            shown = denial + " or ".join(sorted({repr(one.word.split("=")[-1]) for one in words}))
            found.append(Condition(said.text, words, said.denied, sureness, shown))
    return found


def _own(text: str, rows: Rows) -> Iterator[OfWord]:
    """Words of a trait that only a few experiments have as such, in a note for example."""
    for word in map(stem, text.split()):
        if 0 < len(rows.places_of.get(word, ())) <= _FEW * len(rows) and word not in GENERIC:
            yield OfWord(word)


def _superlatives(tokens: list[Token | None], rows: Rows) -> list[Condition]:
    """What asks for the first of an order; its words are taken out of ``tokens``."""
    found = []
    for place, token in enumerate(tokens):
        if token is None:
            continue
        orders, size = _orders(tokens, place)
        orders = tuple(order for order in orders if order[0] in rows.known)
        if not orders:
            continue
        text = " ".join(one.text for one in tokens[place : place + size] if one is not None)
        parts = tuple(OfRank(field, largest) for field, largest in orders)
        ends = (f"{'most' if largest else 'least'} {field}" for field, largest in orders)
        found.append(Condition(text, parts, shown=" or ".join(ends).replace("_", " ")))
        tokens[place : place + size] = [None] * size
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
