"""Filters: which experiments a question is about, decided exactly by their fields."""

from __future__ import annotations

import difflib
import operator
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from structure_net.errors import SearchError

if TYPE_CHECKING:
    from numpy.typing import NDArray

Where = Mapping[str, Any]
"""A value, or comparisons such as ``{">=": 0.9, "<": 1}``, for each field; all must hold."""

_ORDER: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_ARRAYS: Final[dict[str, Any]] = {
    "=": np.equal,
    "!=": np.not_equal,
    "<": np.less,
    "<=": np.less_equal,
    ">": np.greater,
    ">=": np.greater_equal,
}
OPERATORS: Final = (*_ORDER, "=", "!=", "in")
_WHOLE: Final = 2**53
_TEXT: Final = re.compile(r"\s*([\w.\-]+)\s*(<=|>=|!=|==|<|>|=|\bin\b)\s*(.*\S)\s*")


def parse_where(texts: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Filters as they are typed: ``density<0.05``, ``dataset=mnist``, ``seed in 1,2,3``.

    Values are numbers or ``true`` and ``false`` where they look like it, else text.

    Raises:
        SearchError: One cannot be understood.
    """
    found: dict[str, dict[str, Any]] = {}
    for text in texts:
        matched = _TEXT.fullmatch(text)
        if matched is None:
            raise SearchError(
                f"A filter is written FIELD OPERATOR VALUE, such as density<0.05 or dataset=mnist; "
                f"got {text!r}."
            )
        name, sign, value = matched.groups()
        sign = "=" if sign == "==" else sign
        parsed = [_value(v) for v in value.split(",")] if sign == "in" else _value(value)
        if sign in found.setdefault(name, {}):
            raise SearchError(f"The filter {text!r} stands beside another of the same operator.")
        found[name][sign] = parsed
    return found


def _value(text: str) -> Any:
    text = text.strip()
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def checked(where: Where, known: Iterable[str]) -> dict[str, dict[str, Any]]:
    """``where`` with every condition spelled out.

    Args:
        where: See `Where`.
        known: The fields that any experiment has.

    Raises:
        SearchError: A field or an operator is unknown, or a value cannot be compared.
    """
    found, names = {}, set(known)
    for name, condition in where.items():
        if name not in names:
            near = difflib.get_close_matches(name, names, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise SearchError(
                f"No experiment has a field {name!r}; known: {', '.join(sorted(names))}.{hint}"
            )
        found[name] = dict(condition) if isinstance(condition, Mapping) else {"=": condition}
        for sign, value in found[name].items():
            _check(name, sign, value)
    return found


def _check(name: str, sign: str, value: Any) -> None:
    if sign not in OPERATORS:
        raise SearchError(f"Operators are {', '.join(OPERATORS)}; got {sign!r} for {name!r}.")
    if sign in _ORDER and (isinstance(value, bool) or not isinstance(value, int | float | str)):
        raise SearchError(f"{name!r} {sign} needs a number or text; got {value!r}.")
    if sign == "in" and (isinstance(value, str) or not isinstance(value, Sequence)):
        raise SearchError(f"{name!r} in needs a list of values; got {value!r}.")


class Column:
    """One field of all experiments; None where one does not have it.

    Args:
        values: One for each experiment.
    """

    def __init__(self, values: Sequence[Any]) -> None:
        self._values = values
        self._numbers: NDArray[np.float64] | None = None
        if all(value is None or _is_exact(value) for value in values):
            self._numbers = np.array([np.nan if v is None else v for v in values], np.float64)

    @property
    def numbers(self) -> NDArray[np.float64] | None:
        """The values as numbers, NaN where there is none; None if some are text."""
        return self._numbers

    def check(self, name: str, condition: Mapping[str, Any]) -> None:
        """Refuses to compare numbers with text, which could only find nothing.

        Args:
            name: The field's name.
            condition: Values by operator.

        Raises:
            SearchError: All experiments have numbers here, and a comparison names text.
        """
        if self._numbers is None or np.isnan(self._numbers).all():
            return
        for value in condition.values():
            texts = value if isinstance(value, list | tuple) else [value]
            if any(isinstance(text, str) for text in texts):
                raise SearchError(f"{name!r} is a number; it cannot be compared with {value!r}.")

    def passing(self, condition: Mapping[str, Any]) -> NDArray[np.bool_]:
        """Which experiments meet all comparisons of a condition.

        A field that is not there meets none but ``!=``. Of tags, one has to match, and with ``!=``
        none. Text and numbers are never equal and never in an order.
        """
        passing = np.ones(len(self._values), dtype=np.bool_)
        for sign, want in condition.items():
            passing &= self._compared(sign, want)
        return passing

    def _compared(self, sign: str, want: Any) -> NDArray[np.bool_]:
        if self._numbers is None or sign == "in" or not _is_exact(want):
            answers = {value: _meets(sign, value, want) for value in set(self._values)}
            return np.array([answers[value] for value in self._values], dtype=np.bool_)
        found: NDArray[np.bool_] = _ARRAYS[sign](self._numbers, want)
        return found


def _is_exact(value: Any) -> bool:
    """Whether a value is a number that float64 holds exactly."""
    return isinstance(value, float) or (isinstance(value, int) and abs(value) <= _WHOLE)


def _meets(sign: str, have: Any, want: Any) -> bool:
    if sign == "!=":
        return not _meets("=", have, want)
    if isinstance(have, tuple):
        return any(_meets(sign, one, want) for one in have)
    if sign == "in":
        return any(_meets("=", have, one) for one in want)
    if have is None or isinstance(have, str) != isinstance(want, str):
        return False
    return bool(have == want) if sign == "=" else _ORDER[sign](have, want)
