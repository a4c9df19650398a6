"""From a question in words to conditions, each with its weight."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from structure_net.logging.search.amounts import Amounts
from structure_net.logging.search.conditions import Condition, OfTime, OfTrait, OfWord, Sureness
from structure_net.logging.search.deeds import bound, counted, deeds
from structure_net.logging.search.embedding import trait_vector
from structure_net.logging.search.moments import (
    LOOSE,
    Mention,
    conditions_of,
    loosely,
    mentions_of,
    moments_of,
)
from structure_net.logging.search.naming import also_named, named_in, named_word
from structure_net.logging.search.nearness import hinted
from structure_net.logging.search.ordering import orders
from structure_net.logging.search.places import Places, nouns
from structure_net.logging.search.plain_words import GENERIC
from structure_net.logging.search.quantities import Quantity
from structure_net.logging.search.tokens import Token, stem, tokens_of, widths_in
from structure_net.logging.search.wording import Said, mended, understood, vocabulary

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from structure_net.logging.search.rows import Rows

_LOOSELY: Final = 0.7
"""How much the times of all edits count where one kind is spoken of."""

_VAGUE: Final = frozenset(map(stem, (
    "optimizer", "optimiser", "schedule", "activation", "strategy", "step", "learning", "rate",
    "decay", "function", "value", "number", "comparison", "growth", "study", "user",
)))  # fmt: skip
"""Words that notes are full of and that people use for other reasons."""

_FEW: Final = 0.02
"""A word tells something besides the trait that it names if no larger part of all have it."""


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
    found = [named_word(name, name) for name in widths if name in rows.places_of]
    named, tokens = named_in(tokens, rows)
    places = Places(tokens, _settings(rows) if _has_numbers(tokens) else {})
    moments = moments_of(tokens)
    for one in moments:
        if not one.soft:
            places.take(one.start, one.end)
    amounts = Amounts(places).conditions()
    left = [None if k in places.taken else token for k, token in enumerate(tokens)]
    ranks = orders(left, rows)
    words = [_few(token, left, k) for k, token in enumerate(left) if token is not None]
    said = understood(words)
    done = list(deeds(tokens, said))
    mentions = mentions_of(said, [*amounts, *done])
    found += [*named, *(bound(one, mentions) for one in amounts), *ranks]
    timed = [(one, tokens[one.start], places.text(one.start, one.end)) for one in moments]
    found += conditions_of(timed, mentions)
    unknown = [name for name in widths if name not in rows.places_of]
    for told in said:
        asked = _asked(told, mentions, rows)
        found += asked
        if not asked and told.text.isalpha():
            unknown.append(told.text)
            found += _hint(told)
    found += done
    used = {k for one in moments for k in range(one.start, one.end)}
    bare = (
        token
        for k, token in enumerate(left)
        if token is not None and k not in used and places.word(k + 1) != "x"
    )
    found += [counted(token, mentions) for token in bare if _bare(token, said)]
    return _weighed(found, unknown, rows)


def _weighed(found: Sequence[Condition], unknown: Sequence[str], rows: Rows) -> Question:
    conditions = tuple({(one.parts, one.denied): one for one in reversed(found)}.values())[::-1]
    weights = np.array([condition.weight(rows) for condition in conditions])
    whole = float(weights.sum()) if len(weights) else 1.0
    return Question(conditions, weights / whole, tuple(dict.fromkeys(unknown)))


def _bare(token: Token, said: Sequence[Said]) -> bool:
    """Whether a token is a whole number that nothing has used."""
    used = any(token.text in one.text.split() and one.concepts for one in said)
    return token.number is not None and _tells(token.number) and not used and not token.joined


def _hint(said: Said) -> list[Condition]:
    """What a word hints at that says nothing by itself."""
    trait = "" if said.denied else hinted(said.word)
    shown = f"perhaps {trait.replace('_', ' ')} ({said.text})"
    return [Condition(said.text, (OfTrait(trait),), sureness="hint", shown=shown)] if trait else []


def _tells(number: float) -> bool:
    return number >= 2 or 0 < number < 1


def _has_numbers(tokens: Sequence[Token]) -> bool:
    return any(token.number is not None for token in tokens)


def _few(token: Token, tokens: Sequence[Token | None], place: int) -> Token:
    """A small number of epochs as a word that phrases know: ``after 4 epochs``."""
    following = next((one for one in tokens[place + 1 : place + 2] if one is not None), None)
    if token.number is None or following is None or following.stem not in ("epoch", "pass"):
        return token
    before = tokens[place - 1] if place else None
    if before is not None and before.text == "first":
        return replace(token, stem="the", number=None)  # "the first four epochs" are a time
    few = "one" if token.number == 1 else "few" if token.number <= 6 else token.text
    return replace(token, stem=stem(few), number=None)


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


def _asked(said: Said, mentions: Sequence[Mention], rows: Rows) -> list[Condition]:
    """What a phrase or a word asks for; nothing if nothing here can meet it."""
    denial = "not " if said.denied else ""
    also = tuple(also_named(said.text, rows))
    if not said.concepts:
        if any(letter.isdigit() for letter in said.text):
            return []
        return _by_word(said, also, rows)
    names = " or ".join(one.replace("_", " ") for one in said.concepts)
    shown = f"{denial}{names}" + (f" ({said.text})" if said.text != names else "")
    traits: tuple[OfTrait | OfTime, ...] = tuple(map(OfTrait, said.concepts))
    sureness: Sureness = "loose" if said.loose else "said"
    when = loosely(said, mentions) if said.loose else ()
    if said.loose and not when and not LOOSE.keys().isdisjoint(said.concepts):
        sureness = "hint"  # a time of nothing that is known to have one
    if when:
        traits = (*when, *(OfTrait(name, _LOOSELY) for name in said.concepts))
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


def _by_word(said: Said, also: tuple[OfWord, ...], rows: Rows) -> list[Condition]:
    """A word that no phrase knows, as it stands in names and notes."""
    known = [word for word in (said.word, said.text) if word in rows.places_of]
    parts = (*(OfWord(word) for word in known[:1] if len(word) > 1), *also)
    if not parts:
        return []
    # A rare word is named because it is there, even where something is said to be missing.
    rare = sum(part.total(rows) for part in parts) < _FEW * len(rows)
    denied = said.denied and not rare
    loose = not also and said.word in vocabulary()
    sureness: Sureness = "hint" if said.word in _VAGUE else "loose" if loose else "said"
    shown = f"{'not ' if denied else ''}{said.text!r}"
    return [Condition(said.text, parts, denied, sureness, shown)]


def _own(text: str, rows: Rows) -> Iterator[OfWord]:
    """Words of a trait that only a few experiments have as such, in a note for example."""
    for word in map(stem, text.split()):
        if 0 < len(rows.places_of.get(word, ())) <= _FEW * len(rows) and word not in GENERIC:
            yield OfWord(word)
