"""From text to words and numbers, with the clause that each stands in."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Final

from structure_net.logging.search.plain_words import GENERIC, IRREGULAR, WHOLE
from structure_net.logging.search.quantities import FRACTIONS, MAGNITUDES, NUMBERS

_CAMEL: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z][a-z])|(?<=[A-Z])(?=[A-Z][a-z])")
_WORD: Final = re.compile(r"[^\W\d_]+|\d+(?:\.\d+)?(?:e-?\d+)?")
_JOINED: Final = re.compile(r"[^\W_]+(?:[-_.][^\W_]+)*")
_WIDTHS: Final = re.compile(r"\b\d+(?:(?:\s*[-x×/]\s*|,?\s+)\d+){2,}\b|\b\d+-\d+\b")
_TOKEN: Final = re.compile(
    r"(?P<number>\d+(?:[,_]\d{3})+(?:\.\d+)?|(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?)"
    r"|(?P<word>[^\W\d_]+(?:['’][a-z]+)?)"  # an apostrophe as phones write it
    r"|(?P<sign><=|>=|=<|=>|->|[<>=≤≥≈~→%+])"
    r"|(?P<stop>[,;:!?()\n]|\.(?=\s|$))"
)
ACRONYMS: Final = {
    "SET": "sparse evolutionary training", "IMP": "iterative magnitude pruning",
    "LTH": "lottery ticket", "DST": "dynamic sparse training", "AE": "autoencoder",
    "GMP": "gradual magnitude pruning", "ES": "early stopping", "BS": "batch size",
    "WD": "weight decay", "LS": "label smoothing",
}  # fmt: skip
"""What letters stand for that are another word, or none, in small ones."""

_NAN: Final = re.compile(r"\bNaNs?\b")
_ACRONYMS: Final = re.compile(r"\b(?:" + "|".join(ACRONYMS) + r")\b")
LONGEST: Final = 2000
"""Of a longer text the beginning is read."""

_PARTS: Final = frozenset(("but", "although", "though", "whereas", "despite", "while"))
"""Words that begin another clause."""


@dataclass(frozen=True, slots=True)
class Token:
    """A word, a number or a sign of a question.

    Args:
        text: As it was typed, in lower case.
        stem: Its one form.
        clause: Which part of the question it stands in.
        number: What it is worth as a number; None for a word.
        joined: Whether nothing but a hyphen parts it from what stands before it.
        at: Its place in the question.
    """

    text: str
    stem: str
    clause: int
    number: float | None = None
    joined: bool = False
    at: int = -1


@cache
def stem(word: str) -> str:
    """The form under which a word is looked for: plateaued, plateaus, plateauing are plateau."""
    word = IRREGULAR.get(word, word)
    if len(word) <= 3 or word in WHOLE or not word.isascii():
        return word
    if word.endswith("s") and not re.search(r"(ss|is|[^a]us|ies)$", word):
        word = IRREGULAR.get(word[:-1], word[:-1])
    for ending, put in (("ies", "y"), ("ied", "y"), ("ing", ""), ("ed", ""), ("ly", "")):
        if word.endswith(ending) and len(word) - len(ending) + len(put) >= 3:
            word = word[: -len(ending)] + put
            if ending in ("ing", "ed") and word[-1] == word[-2] and word[-1] not in "sl":
                word = word[:-1]
            break
    word = IRREGULAR.get(word, word)
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


def widths_in(text: str) -> tuple[list[str], str]:
    """The words for the widths that a text names, and the text without those of three and more."""
    words = [
        widths_word([int(n) for n in re.findall(r"\d+", hit)]) for hit in _WIDTHS.findall(text)
    ]
    rest = _WIDTHS.sub(lambda hit: hit[0] if len(re.findall(r"\d+", hit[0])) < 3 else " ", text)
    return words, rest


def tokens_of(text: str) -> list[Token]:
    """A question's words, numbers and signs; numbers in words and with magnitudes are read."""
    plain = unicodedata.normalize("NFKC", text[:LONGEST])
    plain = _NAN.sub("nan", plain)
    plain = _ACRONYMS.sub(lambda hit: ACRONYMS[hit[0]], plain)
    plain = _CAMEL.sub(" ", plain).replace("n't", " not").replace("n’t", " not")
    return [replace(one, at=k) for k, one in enumerate(_numbered(list(_raw(plain))))]


def _raw(text: str) -> Iterator[Token]:
    clause, end = 0, -2
    for hit in _TOKEN.finditer(text):
        told = hit[0].lower()
        joined = hit.start() == end or (hit.start() == end + 1 and text[end] == "-")
        if hit["stop"] or told in _PARTS:
            clause += 1
        if not hit["stop"]:
            number = float(told.replace(",", "").replace("_", "")) if hit["number"] else None
            told = "percent" if told == "%" else told.split("'")[0].split("’")[0]
            yield Token(told, stem(told), clause, number, joined)
        end = hit.end()


def _numbered(raw: Sequence[Token]) -> Iterator[Token]:
    """The tokens with numbers in words as numbers, and magnitudes multiplied in."""
    place = 0
    while place < len(raw):
        token, place = raw[place], place + 1
        value = token.number if token.number is not None else NUMBERS.get(token.text)
        if value is None or (token.text == "dozen" and place < 2):
            yield token
            continue
        written, words = token.number is not None, token.text
        while place < len(raw) and (more := _more(value, raw[place], written=written)) is not None:
            value, words, place = more, f"{words} {raw[place].text}", place + 1
        yield Token(words, words, token.clause, float(value), token.joined)


def _more(value: float, following: Token, *, written: bool) -> float | None:
    """What a number is worth together with the word behind it; None if they are two things."""
    told = following.text
    if following.number is not None or told in FRACTIONS:
        return None
    if told in MAGNITUDES and (len(told) > 2 or following.joined):
        return value * MAGNITUDES[told]
    if not written and 20 <= value < 100 and value % 10 == 0 and 0 < NUMBERS.get(told, 0) < 10:
        return value + NUMBERS[told]
    return None
