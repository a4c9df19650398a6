"""Times that a question names: epochs, parts of the run, before and after.

A time is of what is spoken of beside it: "pruned at epochs 5 and 10", "collapsed halfway".
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from structure_net.logging.search.conditions import Condition, OfNumber, OfTime, OfTrait
from structure_net.logging.search.events import EDITS, OF_CURVES
from structure_net.logging.search.quantities import FRACTIONS
from structure_net.logging.search.tokens import Token
from structure_net.logging.search.wording import Said

_FIRST: Final = frozenset(("first", "opening", "initial", "starting"))
_LAST: Final = frozenset(("last", "final", "closing"))
_BEHIND: Final = frozenset(("after", "by", "past", "behind"))
_ORDINALS: Final = {
    "first": 1, "second": 2, "third": 3, "fourth": 4, "fifth": 5, "sixth": 6, "seventh": 7,
    "eighth": 8, "ninth": 9, "tenth": 10, "eleventh": 11, "twelfth": 12, "fifteenth": 15,
    "twentieth": 20, "thirtieth": 30, "fiftieth": 50,
}  # fmt: skip
_SKIPPED: Final = frozenset(("the", "very", "of", "its", "all", "about", "around", "roughly"))
_WHOLE: Final = frozenset(("run", "training", "way", "epochs", "time", "schedule", "the", "of"))
_FEW: Final = 6
"""Up to so many epochs are few as well: phrases may speak of them."""
_FAR: Final = 1e9
_SOON: Final = 2.0
_APART: Final = 8
"""How many words another clause is away."""

EVENTS_OF: Final[dict[str, tuple[str, ...]]] = {
    "added_neurons": ("AddNeurons", "SplitNeurons", "DoubleWidth"),
    "split": ("SplitNeurons", "ShareNeurons"),
    "merged": ("MergeNeurons",),
    "reset": ("ResetNeurons",),
    "doubled": ("DoubleWidth", "SplitNeurons"),
    "inserted_layer": ("InsertLayer",),
    "deepened": ("InsertLayer", "AddResidualBlock"),
    "removed_layer": ("RemoveLayer",),
    "flattened": ("RemoveLayer",),
    "residual": ("AddResidualBlock",),
    "skip": ("AddSkipConnection", "AddResidualBlock"),
    "heads": ("RemoveHeads", "MaskHeads", "AddHeads"),
    "removed_heads": ("RemoveHeads", "MaskHeads"),
    "added_connections": ("AddConnections",),
    "densified": ("AddConnections",),
    "removed_connections": ("RemoveConnections",),
    "sparsified": ("RemoveConnections",),
    "rewired": ("RemoveConnections", "AddConnections"),
    "removed_neurons": ("RemoveNeurons", "MergeNeurons"),
    "pruned": ("RemoveNeurons", "RemoveConnections", "RemoveHeads"),
    "shrank": ("RemoveNeurons", "RemoveConnections", "MergeNeurons", "RemoveLayer"),
    "narrowed": ("RemoveNeurons", "MergeNeurons"),
    "widened": ("AddNeurons", "SplitNeurons", "DoubleWidth"),
    "grew": ("AddNeurons", "SplitNeurons", "InsertLayer", "DoubleWidth", "AddResidualBlock"),
    "grew_much": ("AddNeurons", "SplitNeurons", "InsertLayer", "DoubleWidth", "AddResidualBlock"),
    "plateau": ("settled",),
    "early_plateau": ("settled",),
    "late_plateau": ("settled",),
    "fast_learner": ("learned", "settled"),
    "slow_learner": ("began", "learned"),
    "diverged": ("broke", "fell", "best"),
    "not_finite": ("broke",),
    "recovered": ("fell",),
    "collapsed": ("fell",),
    "overfit": ("best",),
    "sudden_gain": ("jumped", "began"),
    "grokked": ("jumped", "began", "learned"),
    "never_learned": ("began", "jumped", "fell"),
    "interrupted": ("ended",),
    "failed": ("ended", "broke"),
    "grew_then_pruned": ("AddNeurons", "RemoveNeurons", "RemoveConnections"),
    "cycles": ("AddNeurons", "RemoveNeurons", "AddConnections", "RemoveConnections"),
    "pruned_then_grew": ("RemoveNeurons", "AddNeurons"),
    "waves": ("fell",),
    "staircase": ("jumped",),
    "second_wind": ("jumped",),
    "cut_short": ("ended",),
    "unfinished": ("ended",),
    "finished": ("ended",),
    "timed_out": ("ended",),
    "early_stopped": ("ended",),
    "out_of_memory": ("ended",),
}
"""What happened where a trait is spoken of together with a time."""

_ANY: Final = (EDITS, *OF_CURVES)

Windows = tuple[tuple[float, float], ...]
Unit = Literal["run", "epoch", "left"]

LOOSE: Final[dict[str, tuple[float, float, float]]] = {
    "late_edits": (0.92, 1.0, 0.25),
    "early_edits": (0.0, 0.05, 0.2),
    "middle_edits": (0.48, 0.52, 0.12),
}
"""When something happened that is said without a number, by the trait of such edits: from when to
when, and how far beside it is about the same."""


@dataclass(frozen=True, slots=True)
class Moment:
    """A time that a question names.

    Args:
        start: The place of its first word among the tokens.
        end: The place behind its last word.
        windows: From when to when; of several each is meant.
        unit: See `conditions.OfTime`; ``spacing`` for the epochs from one time to the next.
        soft: Whether its words may say something else as well.
    """

    start: int
    end: int
    windows: Windows
    unit: Unit | Literal["spacing"]
    soft: bool = False


def moments_of(tokens: Sequence[Token]) -> list[Moment]:
    """The times that are named with numbers or fractions, in order; none overlaps another."""
    found: list[Moment] = []
    for place in range(len(tokens)):
        if found and place < found[-1].end:
            continue
        one = _counted(tokens, place) or _listed(tokens, place) or _part(tokens, place)
        if one is not None:
            found.append(one)
    return found


def _word(tokens: Sequence[Token], place: int) -> str:
    return tokens[place].text if 0 <= place < len(tokens) else ""


def _number(tokens: Sequence[Token], place: int) -> float | None:
    return tokens[place].number if 0 <= place < len(tokens) else None


def _is_epoch(tokens: Sequence[Token], place: int) -> bool:
    return 0 <= place < len(tokens) and tokens[place].stem == "epoch"


def _before(tokens: Sequence[Token], place: int) -> tuple[str, int]:
    """The last word before a place that says something, and where it stands."""
    at = place - 1
    while at > 0 and place - at < 4 and _word(tokens, at) in _SKIPPED:
        at -= 1
    return _word(tokens, at), at


def _counted(tokens: Sequence[Token], place: int) -> Moment | None:
    """``the first four epochs``, ``after 12 epochs``, ``every 5 epochs``, ``the tenth epoch``."""
    many = _number(tokens, place)
    if many is None or not _is_epoch(tokens, place + 1):
        return _ordinal(tokens, place) if many is None and _is_epoch(tokens, place + 1) else None
    word, start = _before(tokens, place)
    end, few = place + 2, many <= _FEW
    following = [_word(tokens, end), _word(tokens, end + 1)]
    found: Moment | None = None
    if word in _FIRST or (word in ("within", "in") and not few):
        found = Moment(start, end, ((0.0, many),), "epoch")
    elif word in _LAST or following == ["before", "the"]:
        found = Moment(start if word in _LAST else place, end, ((0.0, many),), "left")
    elif word in ("every", "each"):
        found = Moment(start, end, ((many, many),), "spacing")
    elif word in _BEHIND or following[0] in ("in", "into"):
        found = Moment(start if word == "after" else place, end, ((many, many),), "epoch", few)
    elif word in ("before", "until", "within"):
        found = Moment(start, end, ((0.0, many),), "epoch", few)
    return found


def _ordinal(tokens: Sequence[Token], place: int) -> Moment | None:
    """``in the tenth epoch``; the first and the last one are said in many ways besides."""
    if _word(tokens, place) in ("every", "each"):
        return Moment(place, place + 2, ((1.0, 1.0),), "spacing", soft=True)
    which = _ORDINALS.get(_word(tokens, place))
    if which is None or tokens[place + 1].text != "epoch":
        return None
    return Moment(place, place + 2, ((which, which),), "epoch", soft=which == 1)


def _listed(tokens: Sequence[Token], place: int) -> Moment | None:
    """``epoch 7``, ``epochs 5 and 10``, ``epochs 10 to 20``, ``from epoch 30 on``."""
    if not _is_epoch(tokens, place) or _number(tokens, place + 1) is None:
        return None
    if tokens[place].clause != tokens[place + 1].clause:
        return None
    numbers, end, between = [], place + 1, False
    while (number := _number(tokens, end)) is not None:
        numbers.append(number)
        step = 2 if _word(tokens, end + 1) in ("and", "to", "or", "until", "through") else 1
        between |= _word(tokens, end + 1) in ("to", "until", "through")
        between |= step == 1 and end + 1 < len(tokens) and tokens[end + 1].joined
        end += step if _number(tokens, end + step) is not None else 1
    word, start = _before(tokens, place)
    between |= word == "between"
    low, high = min(numbers), max(numbers)
    windows: Windows = tuple((one, one) for one in numbers)
    if between and len(numbers) == 2:
        windows = ((low, high),)
    elif word in ("before", "until", "till"):
        windows = ((0.0, high),)
    elif word in ("from", "since"):
        windows = ((low, _FAR),)
    elif word == "after":
        windows = ((low, 1.5 * low + 2),)
    return Moment(start if word in ("after", "from", "before") else place, end, windows, "epoch")


def _part(tokens: Sequence[Token], place: int) -> Moment | None:
    """``the second half``, ``the last third``, ``after a quarter of the run``, ``at 30 %``."""
    share, size = _share(tokens, place)
    if share is None:
        return None
    word, start = _before(tokens, place)
    end = place + size
    rest = end
    while _word(tokens, rest) in _WHOLE:
        rest += 1
    told = rest > end and _word(tokens, rest - 1) not in ("the", "of")
    alone = not told and _word(tokens, end) == "of"
    if word in _FIRST | _LAST and not alone:
        window = (0.0, share) if word in _FIRST else (1 - share, 1.0)
    elif word in ("second", "third", "fourth", "other", "middle") and not alone:
        which = {"third": 2, "fourth": 3, "other": 1, "second": 1}.get(word, (1 / share - 1) / 2)
        window = (which * share, min(1.0, (which + 1) * share))
    elif told and _word(tokens, rest - 1) in ("run", "training", "way", "schedule"):
        window = (share - 0.05, share + 0.05)
        start = place
    elif _word(tokens, end) in ("through", "into"):
        window, start = (share - 0.05, share + 0.05), place
    else:
        return None
    return Moment(start, rest if told else end, (window,), "run")


def _share(tokens: Sequence[Token], place: int) -> tuple[float | None, int]:
    """A part of a whole that begins at a place, and how many words it takes."""
    number, word = _number(tokens, place), _word(tokens, place)
    if number is not None and 0 < number < 100 and _word(tokens, place + 1) == "percent":
        return number / 100, 2
    if number is not None and number < 10 and _word(tokens, place + 1) in FRACTIONS:
        return min(number * FRACTIONS[_word(tokens, place + 1)], 1.0), 2
    following = _word(tokens, place + 1)
    if word in FRACTIONS and following not in FRACTIONS and following != "percent":
        return FRACTIONS[word], 1
    return None, 0


@dataclass(frozen=True, slots=True)
class Mention:
    """Something that happens, as a question speaks of it.

    Args:
        events: What may be meant, the likeliest first.
        at: The places of its words in the question.
        clause: The part of the question in which it stands.
        text: Its words.
    """

    events: tuple[str, ...]
    at: tuple[int, ...]
    clause: int
    text: str


def mentions_of(said: Sequence[Said], conditions: Sequence[Condition]) -> list[Mention]:
    """What happens of all that a question speaks of.

    Args:
        said: What its phrases say.
        conditions: What it asks for besides.
    """
    found = [
        Mention(_events(one.concepts), one.at, one.clause, one.text)
        for one in said
        if one.at and not one.denied
    ]
    for condition in conditions:
        part = condition.parts[0]
        events: tuple[str, ...] = ()
        if isinstance(part, OfTrait):
            events = _events((part.trait,))
        elif isinstance(part, OfNumber):
            names = (name.removeprefix("edits.") for name in part.fields if "edits." in name)
            events = tuple(name for name in names if name)
        if condition.at >= 0 and not condition.denied:
            found.append(Mention(events, (condition.at,), condition.clause, condition.text))
    return [one for one in found if one.events]


def _events(traits: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(event for name in traits for event in EVENTS_OF.get(name, ())))


def conditions_of(
    moments: Sequence[tuple[Moment, Token, str]], mentions: Sequence[Mention]
) -> Iterator[Condition]:
    """What times ask for, each of what is spoken of beside it.

    Args:
        moments: Times, each with its first word and all of its words.
        mentions: What happens of all that the question speaks of.
    """
    for moment, first, text in moments:
        at = first.at
        events, of = spoken_of(at, first.clause, mentions)
        if moment.unit == "spacing":
            if moment.soft and not any(event[0].isupper() for event in events):
                continue  # "better every epoch"
            part = OfNumber(("spacing",), "~", moment.windows[0][0], "size")
            yield Condition(text, (part,), shown=f"edits {text}", at=at)
            continue
        time = OfTime(events or _ANY, moment.windows, moment.unit)
        shown = f"{of or 'something'} {text}"
        yield Condition(text, (time,), sureness="said" if events else "loose", shown=shown, at=at)


def spoken_of(at: int, clause: int, mentions: Sequence[Mention]) -> tuple[tuple[str, ...], str]:
    """The events that are spoken of nearest to a place, and their words.

    What precedes is nearer than what follows, and what stands in the same clause than the rest.
    """
    found = [
        (
            min((at - k) if k <= at else 1.5 * (k - at) for k in one.at)
            + _APART * (clause != one.clause),
            place,
        )
        for place, one in enumerate(mentions)
    ]
    if not found:
        return (), ""
    one = mentions[min(found)[1]]
    return one.events, one.text


def loosely(one: Said, mentions: Sequence[Mention]) -> tuple[OfTime, ...]:
    """When something happened that is said without a number; none if it is of nothing.

    Early is also what happens in the first epochs of a run that was a short one.
    """
    window = next((LOOSE[name] for name in one.concepts if name in LOOSE), None)
    others = [other for other in mentions if other.at != one.at]
    events, _ = spoken_of(one.at[0], one.clause, others) if one.at else ((), "")
    if window is None or not events:
        return ()
    low, high, wide = window
    times = (OfTime(events, ((low, high),), wide=wide),)
    soon = OfTime(events, ((0.0, _SOON),), "epoch", 0.9)
    return (*times, soon) if low == 0 else times
