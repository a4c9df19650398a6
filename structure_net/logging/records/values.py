"""What records are made of: numbers that may be infinite, free JSON values, the models' base.

JSON has no number that is not finite. A record writes them as the strings ``"NaN"``, ``"Infinity"``
and ``"-Infinity"``, and reads these strings back as numbers wherever a number may stand, in free
values as well.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from hashlib import sha256
from itertools import chain
from math import isfinite, isnan
from numbers import Integral, Real
from typing import Annotated, Any, Final

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeInt,
    WithJsonSchema,
)
from pydantic_core import CoreSchema, PydanticSerializationError, core_schema

NOT_FINITE: Final = {
    "NaN": float("nan"),
    "Infinity": float("inf"),
    "-Infinity": float("-inf"),
}
_SCALARS: Final = frozenset({int, float, bool, type(None)})
_LISTS: Final = frozenset({list, tuple})
_DEEPEST: Final = 100
_REPLACED: Final = "\ufffd".encode()
_LARGEST: Final = 10**4000  # Python reads no more than 4300 digits


def _number(value: Any) -> Any:
    if type(value) is str:
        return NOT_FINITE.get(value, value)
    return _own(value)


def _own(value: Any) -> Any:
    """A number of numpy or torch as Python's own; anything else as it is."""
    if type(value) in _SCALARS:
        return value
    if getattr(value, "ndim", None) == 0 and hasattr(value, "item"):
        return value.item()
    if isinstance(value, Integral):
        return int(value)
    return float(value) if isinstance(value, Real) else value


def _free(value: Any) -> Any:
    """``value`` as JSON data with Python's own numbers.

    Raises:
        ValueError: Something in it is no JSON, or cannot be read back from it.
    """
    return _within(value, 0)


def _within(value: Any, depth: int) -> Any:
    """The same of a value that lies ``depth`` lists and objects deep.

    Raises:
        ValueError: Something in it is no JSON, or cannot be read back from it.
    """
    if type(value) is float:
        return value
    if depth > _DEEPEST:
        raise ValueError(f"lists and objects may lie {_DEEPEST} deep within each other, not more")
    if isinstance(value, dict):
        if not all(isinstance(key, str) for key in value):
            raise ValueError(f"the keys of an object should be text; got {list(value)!r:.60}")
        return {key: _within(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return _listed(value, depth)
    number = _number(value)
    if type(number) not in _SCALARS and not isinstance(number, str):
        raise ValueError("should be JSON data: an object, a list, text, a number, true, or null")
    if type(number) is int and abs(number) >= _LARGEST:
        raise ValueError("a whole number should have 4,000 digits at most")
    return number


def _listed(values: list[Any] | tuple[Any, ...], depth: int) -> list[Any]:
    # An edit may name a hundred thousand pairs, so that plain lists are told at the speed of C.
    kinds = set(map(type, values))
    if kinds <= _SCALARS and not _has_huge(values, kinds):
        return list(values)
    if kinds <= _LISTS:
        inner = set(map(type, chain.from_iterable(values)))
        if inner <= _SCALARS and not _has_huge(chain.from_iterable(values), inner):
            return list(map(list, values))
    return [_within(item, depth + 1) for item in values]


def _has_huge(values: Iterable[Any], kinds: set[type]) -> bool:
    if kinds != {int}:
        return int in kinds and any(type(one) is int and abs(one) >= _LARGEST for one in values)
    return max(map(int.bit_length, values), default=0) >= _LARGEST.bit_length()


def readable_name(name: str) -> str:
    """``name`` as Unicode.

    What is none (bytes of a file's name) becomes an escape with a backslash, with a hash of the
    whole behind it, so that names that differ stay different.
    """
    text = name.encode("utf-8", "backslashreplace")
    whole = name.encode("utf-8", "surrogatepass")
    return name if text == whole else f"{text.decode()}~{sha256(whole).hexdigest()[:8]}"


def _readable(value: Any) -> Any:
    """JSON data whose text is Unicode: what is none is written as an escape with a backslash."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode("utf-8")
    if isinstance(value, dict):
        return {readable_name(key): _readable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_readable(item) for item in value]
    if isinstance(value, float) and not isfinite(value):
        return "NaN" if isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value


class _NumberForm:
    """How pydantic checks a number: what is a float is one, without a call of Python."""

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> CoreSchema:
        own = core_schema.float_schema(strict=True, allow_inf_nan=True)
        other = core_schema.no_info_before_validator_function(_number, own)
        plain = core_schema.chain_schema([core_schema.is_instance_schema(float), own])
        return core_schema.json_or_python_schema(_first_of(own, other), _first_of(plain, other))


class _FreeForm:
    """How pydantic checks a free value; it is written as what it is, without a call of Python."""

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(_free)


def _first_of(*choices: CoreSchema) -> CoreSchema:
    return core_schema.union_schema(
        list(choices), mode="left_to_right", custom_error_type="float_type"
    )


Number = Annotated[
    float,
    _NumberForm,
    WithJsonSchema(
        {
            "anyOf": [{"type": "number"}, {"enum": [*NOT_FINITE]}],
            "description": "A number; the three strings stand for what JSON cannot write.",
        }
    ),
]
"""A number, finite or not."""

# pydantic's own `JsonValue` asks Python for the type of every number.
Free = Annotated[
    Any,
    _FreeForm,
    WithJsonSchema(
        {"description": "Any JSON value; the strings NaN, Infinity and -Infinity are numbers."}
    ),
]
"""Any JSON value. Numbers of numpy and torch become Python's own, tuples become lists."""

FreeObject = dict[str, Free]
"""A JSON object with values of any kind."""

Count = NonNegativeInt
"""A whole number from 0."""

Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
"""A SHA-256 in hexadecimal digits."""

Word = Annotated[str, Field(min_length=1)]
"""Text that is not empty."""


class Value(BaseModel):
    """A stored value: frozen, types are exact, unknown fields are refused."""

    model_config = ConfigDict(
        frozen=True, strict=True, extra="forbid", ser_json_inf_nan="strings", allow_inf_nan=True
    )


_OUTSIDE: Final = {"kind", "version"}


class RecordModel(Value):
    """What all records share: a ``kind``, and the ``version`` of its form, fixed by the class."""

    kind: str
    version: int

    def data_json(self) -> str:
        """All fields but ``kind`` and ``version`` as one line of JSON.

        Text that is no Unicode is written as an escape; see `readable_name` for names.
        """
        found = self.unicode_json()
        if found is not None:
            return found
        content = self.model_dump(exclude=_OUTSIDE)
        return json.dumps(_readable(content), ensure_ascii=False, separators=(",", ":"))

    def unicode_json(self) -> str | None:
        """The same, or None where text in it may be no Unicode."""
        try:
            found = self.__pydantic_serializer__.to_json(self, exclude=_OUTSIDE)
        except PydanticSerializationError:
            return None
        # pydantic puts replacement characters into names in silence.
        return None if _REPLACED in found else found.decode()


class NetworkFacts(Value):
    """The size of a network.

    Args:
        widths: From input to output; empty where that says nothing.
        parameters: Live parameters: connections, biases and everything else that is trained.
        connections: Live connections.
        density: Live connections over possible ones, in [0, 1].
    """

    widths: tuple[Count, ...] = ()
    parameters: Count
    connections: Count
    density: Annotated[float, Field(ge=0, le=1)]
