"""Numbers in a question: of what they are, how they compare, and by which factor things changed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from structure_net.logging.search.conditions import (
    Condition,
    OfChange,
    OfNumber,
    OfTime,
    OfWord,
    Sureness,
)
from structure_net.logging.search.places import SKIPPED, Places, nouns, signs
from structure_net.logging.search.quantities import (
    FACTORS,
    FRACTIONS,
    GROWN,
    LESS,
    MORE,
    TIMES,
    UNITS,
    WHEN,
    Quantity,
)
from structure_net.logging.search.tokens import stem

_LOST: Final = frozenset(map(stem, (
    "removed", "pruned", "cut", "lost", "fewer", "less", "shrunk", "shrank", "reduced", "smaller",
    "dropped", "threw", "gone", "trimmed", "away", "deleted",
)))  # fmt: skip
_DONE: Final = frozenset(map(stem, (
    "pruned", "grew", "grown", "split", "added", "inserted", "removed", "merged", "reset",
    "doubled", "edited", "cut", "widened", "deepened", "rewired", "changed", "exactly", "only",
)))  # fmt: skip
_MOVED: Final = frozenset(map(stem, (
    "grew", "grown", "shrank", "shrunk", "went", "rose", "fell", "climbed", "dropped", "widened",
    "narrowed", "pruned", "increased", "decreased", "jumped", "improved", "growth",
)))  # fmt: skip
_SHARES: Final = ("density", "accuracy")
_SIZES: Final = ("parameters", "width", "depth", "hidden", "connections", "narrowest", "loss")
_ACCURACIES: Final = ("accuracy", "best_accuracy", "start_accuracy", "low_accuracy")
_SCORED: Final = frozenset(map(stem, (
    "accuracy", "chance", "stuck", "sat", "hovered", "learn", "learned", "correct", "validation",
    "test", "train", "score", "performance", "stayed", "reached", "hit", "level", "guessing",
)))  # fmt: skip
_LEFT: Final = frozenset(map(stem, ("left", "remained", "remain", "kept", "survived", "only")))
_LATER: Final = 0.9
_ON: Final = {
    "train": ("train", "accuracy"),
    "validation": ("validation", "accuracy"),
    "val": ("validation", "accuracy"),
    "test": ("accuracy",),
}


class Amounts:
    """Reads the numbers of a question.

    Args:
        places: The words of the question; those that are read are taken.
    """

    def __init__(self, places: Places) -> None:
        self._at = places

    def conditions(self) -> list[Condition]:
        """All that the numbers ask for."""
        found: list[Condition] = []
        for read in (self._changes, self._factors, self._numbers, self._counts, self._hours):
            found += read()
        return found

    def _changes(self) -> list[Condition]:
        """``from 2 to 30 percent density``, ``5k -> 160k``: a field at birth and in the end."""
        found = []
        for place in range(len(self._at.tokens) - 2):
            low, high, end = self._two(place)
            if low is None or high is None:
                continue
            start = place - (self._at.word(place - 1) == "from")
            shares = "percent" in (self._at.word(place + 1), self._at.word(end))
            quantity, _ = self._at.noun_behind(place + 1, 0)
            stop = end
            if self._at.number(place) is None:
                low, quantity = (100.0 if shares else low), nouns()[(stem("density"),)]
            if quantity is None:
                quantity, stop = self._at.noun_behind(end + (self._at.word(end) == "percent"), 2)
            if quantity is None:
                quantity, start = self._at.noun_before(start)
            if quantity is None:
                fields = _SHARES if shares else _SIZES
                quantity, start, stop = Quantity((), fields, "plain"), place, end
            found.append(self._change(quantity, (low, high), (start, max(stop, end)), shares))
        return found

    def _change(
        self, quantity: Quantity, values: tuple[float, float], text: tuple[int, int], shares: bool
    ) -> Condition:
        plain = (name.removeprefix("start_") for name in quantity.fields)
        names = tuple(dict.fromkeys(name for name in plain if "." not in name))
        low, high = (value / 100 if shares else value for value in values)
        if quantity.turned:
            low, high = 1 - low, 1 - high
        widths = OfWord(f"{values[0]:g}>{values[1]:g}")  # of any layer
        parts = (widths, OfChange(names, low, high, quantity.scale))
        shown = f"{names[0]} from {low:.10g} to {high:.10g}"
        words, token = self._at.text(*text), self._at.tokens[text[0]]
        self._at.take(*text)
        return Condition(words, parts, shown=shown, at=token.at, clause=token.clause)

    def _two(self, place: int) -> tuple[float | None, float | None, int]:
        """The number at a place, the one that it changed to, and where that ends."""
        before, middle = self._at.number(place), place + 1
        if self._at.word(place) in ("dense", "full") and self._at.word(place - 1) == "from":
            before = 1.0
        if before is None:
            return None, None, place
        _, middle = self._at.noun_behind(middle + (self._at.word(middle) == "percent"), 0)
        middle += self._at.word(middle) == "percent"
        while self._at.word(middle) in ("all", "the", "way", "up", "down", "over"):
            middle += 1
        told = self._at.word(place - 1) == "from"
        told |= any(self._at.tokens[k].stem in _MOVED for k in range(max(0, place - 4), place))
        if self._at.word(middle) not in (("to", "->", "→", "until") if told else ("->", "→")):
            return None, None, place
        middle += 1
        while self._at.word(middle) in ("about", "only", "just", "almost", "nearly", "over"):
            middle += 1
        return before, self._at.number(middle), middle + 1

    def _factors(self) -> list[Condition]:
        """``tripled``, ``four times wider``, ``to a third``, ``lost 60 % of its weights``."""
        found = []
        for place in range(len(self._at.tokens)):
            factor, start, end = self._factor(place)
            if factor is None:
                continue
            beside = [self._at.word(k) for k in range(end, min(end + 4, len(self._at.tokens)))]
            beside += [self._at.word(k) for k in range(max(0, start - 3), start)]
            field = next((GROWN[word] for word in beside if word in GROWN), "growth")
            fields = (field, "width_growth", "growth", "depth_growth")
            part = OfNumber(tuple(dict.fromkeys(fields)), "~", factor, "size")
            shown = f"{field.replace('_', ' ')} about {factor:.3g} times"
            found.append(Condition(self._at.text(start, end), (part,), shown=shown))
            # The words say more, such as "smaller": only the numbers are used up.
            self._at.taken.update(
                k for k in range(start, end) if self._at.tokens[k].number is not None
            )
        return found

    def _factor(self, place: int) -> tuple[float | None, int, int]:
        word, number = self._at.word(place), self._at.number(place)
        if word in FACTORS:
            return FACTORS[word], place, place + 1
        if word in FRACTIONS and self._at.word(place - 1) != "percent":
            return self._fraction(place)
        if number is None:
            return None, place, place
        following = self._at.word(place + 1)
        if following == "fold" or (following in ("x", "times") and self._compared(place + 2)):
            less = any(self._at.word(k) in LESS for k in range(place + 2, place + 5))
            return (1 / number if less and number else number), place, place + 2
        if following == "percent" and 0 < number < 100:
            return self._part(place, number / 100)
        return None, place, place

    def _compared(self, place: int) -> bool:
        return self._at.word(place) in LESS | MORE

    def _fraction(self, place: int) -> tuple[float | None, int, int]:
        """``a third of``, ``two thirds removed``."""
        many = self._at.number(place - 1)
        value = FRACTIONS[self._at.word(place)] * (many or 1)
        start = place - 1 if many else place
        around = self._around(start, place)
        if self._at.word(start - 1) in ("first", "second", "last", "other"):
            return None, place, place  # of a run, which is a time
        if "to" in (self._at.word(start - 1), self._at.word(start - 2)):
            return value, start, place + 1
        if around & _LEFT and self._at.word(place + 1) == "of":
            return value, start, place + 1
        if around & _LOST and value < 1:
            return 1 - value, start, place + 1
        return None, place, place

    def _part(self, place: int, share: float) -> tuple[float | None, int, int]:
        """``shrunk by 60 percent``, ``lost 60 percent of its weights``, ``to 40 percent of``."""
        around = self._around(place, place)
        compared = self._at.sign_before(place)[0] in "<>"
        if compared or not around & _LOST or "sparsity" in around:
            return None, place, place
        if self._at.word(place - 1) == "to":
            return share, place, place + 2
        return 1 - share, place, place + 2

    def _around(self, start: int, end: int) -> set[str]:
        """The words of the same clause that stand near some places."""
        clause = self._at.tokens[start].clause
        near = self._at.tokens[max(0, start - 4) : end + 6]
        return {token.stem for token in near if token.clause == clause}

    def _numbers(self) -> list[Condition]:
        """All other numbers that are of something."""
        found = []
        for place in range(len(self._at.tokens)):
            value = self._at.number(place)
            # "Ten of twelve" is of what the twelve are of.
            of = self._at.word(place + 1) == "of" and self._at.number(place + 2) is not None
            if value is not None and not of:
                one = self._measured(place, value)
                found += [one] if one else []
        return found

    def _measured(self, place: int, value: float) -> Condition | None:
        percent = self._at.word(place + 1) in ("percent", "point", "points")
        end = place + 1 + percent
        sign, start = self._at.sign_before(place)
        later, behind = self._at.sign_behind(end)
        sign, end = (later, behind) if later and sign == "=" else (sign, end)
        unit = UNITS.get(self._at.word(end)) if not percent else None
        top = None
        joined = self._at.number(end) is not None and self._at.tokens[end].joined
        if joined or (self._at.word(end) in ("to", "and") and self._range(start, place)):
            top = self._at.number(end if joined else end + 1)
            end = end if top is None else end + 1 if joined else end + 2
            unit = UNITS.get(self._at.word(end))
        if unit is not None:
            quantity, end = Quantity((), ("seconds",)), end + 1
            value *= unit
            top = top and top * unit
        else:
            found = self._what(place, start, end, value, percent=percent)
            if found is None:
                return None
            quantity, start, end = found
        adjective = any(self._is_other(k) for k in range(place + 1 + percent, end - 1))
        # "One huge hidden layer" says more than a number.
        self._at.take(start, place + 1 if adjective else end)
        return self._condition(quantity, sign, (value, top), percent=percent, text=(start, end))

    def _is_other(self, place: int) -> bool:
        """Whether a word between a number and its noun says something of its own."""
        word, stems = self._at.word(place), self._at.tokens[place].stem
        named = any(stems in words for words in self._at.nouns)
        behind = {word for words in signs("behind") for word in words}
        return not named and word not in SKIPPED | behind and self._at.tokens[place].number is None

    def _range(self, start: int, place: int) -> bool:
        return "between" in (self._at.word(start - 1), self._at.word(place - 1))

    def _what(
        self, place: int, start: int, end: int, value: float, *, percent: bool
    ) -> tuple[Quantity, int, int] | None:
        """Of what a number is, and the words that say so; None if nobody knows."""
        quantity, stop = self._at.noun_behind(end, 0)
        if quantity is not None and quantity.fields[0] == "epochs" and self._is_time(place, start):
            return None
        if quantity is None:
            # "Connections, in one shot": one is of what follows or of nothing.
            single = self._at.word(place) == "one"
            quantity, first = (None, place) if single else self._at.noun_before(start)
            timed = self._at.word(first) == "epoch" or self._at.word(first - 1) in WHEN
            if quantity is not None and quantity.fields[0] == "epochs" and timed:
                return None  # "at epoch 5" is a time
            start, stop = first, end
        if quantity is None:
            quantity, stop = self._at.noun_behind(end, 2)
        if quantity is None and percent:
            quantity = self._on(end)
        if quantity is None and percent:
            # Without a word, a half or more is an accuracy, and less a density or an accuracy.
            learned = not _SCORED.isdisjoint(self._around(place, end))
            fields = _ACCURACIES if value >= 50 or learned else ("density", *_ACCURACIES)
            quantity, stop = Quantity((), fields, "share"), end
        if quantity is None:
            return None
        if percent and quantity.fields[0] in ("connections", "parameters"):
            around = {token.stem for token in self._at.tokens[max(0, place - 4) : stop + 4]}
            quantity = nouns()[("sparsity",) if around & _LOST else ("density",)]
        return quantity, start, stop

    def _on(self, place: int) -> Quantity | None:
        """``97 % on train``: the accuracy on the data that is named behind a share."""
        for token in self._at.tokens[place : place + 3]:
            if token.stem in _ON:
                return nouns()[_ON[token.stem]]
            if token.text not in SKIPPED | {"on"}:
                break
        return None

    def _is_time(self, place: int, start: int) -> bool:
        before = self._at.word(min(place, start) - 1)
        return (before in WHEN and before not in ("within", "in")) or self._at.word(
            place - 2
        ) in WHEN

    def _condition(
        self,
        quantity: Quantity,
        sign: str,
        values: tuple[float, float | None],
        *,
        percent: bool,
        text: tuple[int, int],
    ) -> Condition:
        def of(value: float) -> float:
            share = percent or (quantity.scale == "share" and value > 1)
            value = value / 100 if share else value
            return 1 - value if quantity.turned else value

        low, top = values
        turn = {"<": ">", ">": "<"}
        sign = turn.get(sign, sign) if quantity.turned else sign
        words, token = self._at.text(*text), self._at.tokens[text[0]]
        name = quantity.fields[0].replace("_", " ")
        if top is not None:
            middle = (of(low) * of(top)) ** 0.5
            part = OfNumber(quantity.fields, "~", middle, quantity.scale)
            shown = f"{name} from {of(low):.10g} to {of(top):.10g}"
            return Condition(words, (part,), shown=shown, at=token.at, clause=token.clause)
        part = OfNumber(quantity.fields, sign, of(low), quantity.scale)
        certain = sign in "<>"
        told = {"~": "about", "=": "=", "<": "<", ">": ">"}[sign]
        shown = f"{name} {told} {of(low):.10g}"
        parts = (part, *self._near(quantity, sign, low))
        sureness: Sureness = "certain" if certain else "said"
        return Condition(words, parts, False, sureness, shown, token.at, token.clause)

    def _near(self, quantity: Quantity, sign: str, value: float) -> Iterator[OfWord | OfTime]:
        """What a number may be of besides: any layer's width, or the epochs until all was done."""
        if sign not in "=~":
            return
        if "width" in quantity.fields:
            yield OfWord(f"units={value:g}")
        if quantity.fields[0] == "epochs":
            yield OfTime(("settled", "learned", "best"), ((value, value),), "epoch", _LATER)

    def _counts(self) -> list[Condition]:
        """``pruned twice``, ``split three times``."""
        found = []
        for place in range(len(self._at.tokens)):
            count, end = float(TIMES.get(self._at.word(place), 0)), place + 1
            if not count and self._at.word(place + 1) == "times" and not self._compared(place + 2):
                count, end = self._at.number(place) or 0.0, place + 2
            if not count or place in self._at.taken or self._at.word(end) == "as":
                continue
            if self._at.word(place) == "once" and not self._edited(place):
                continue
            part = OfNumber(("edits.", "edits", "taken_back"), "=", count, "count")
            text = self._at.text(place, end)
            shown, token = f"{count:g} edits of a kind", self._at.tokens[place]
            one = Condition(text, (part,), shown=shown, at=token.at, clause=token.clause)
            found.append(one)
            self._at.take(place, end)
        return found

    def _edited(self, place: int) -> bool:
        """Whether the word before a place is what is done to a network."""
        return place > 0 and self._at.tokens[place - 1].stem in _DONE

    def _hours(self) -> list[Condition]:
        """``more than a day``, ``over an hour``, ``half an hour``."""
        found = []
        for place in range(1, len(self._at.tokens)):
            unit = UNITS.get(self._at.word(place))
            if (
                unit is None
                or place in self._at.taken
                or self._at.word(place - 1) not in ("a", "an")
            ):
                continue
            half = self._at.word(place - 2) in FRACTIONS
            share = FRACTIONS[self._at.word(place - 2)] if half else 1.0
            sign, start = self._at.sign_before(place - 1 - half)
            sign = "~" if sign == "=" else sign
            part = OfNumber(("seconds",), sign, unit * share, "size")
            shown = f"seconds {'about' if sign == '~' else sign} {unit * share:g}"
            found.append(Condition(self._at.text(start, place + 1), (part,), shown=shown))
            self._at.take(start, place + 1)
        return found
