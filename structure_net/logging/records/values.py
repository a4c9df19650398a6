"""What records are made of: numbers that may be infinite, free JSON values, the models' base.

JSON has no number that is not finite. A record writes them as the strings ``"NaN"``, ``"Infinity"``
and ``"-Infinity"``, and reads these strings back as numbers wherever a number may stand, in free
values as well.
"""

from __future__ import annotations

from itertools import chain
from numbers import Integral, Real
from typing import Annotated, Any, ClassVar, Final

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    NonNegativeInt,
    PlainValidator,
    WithJsonSchema,
)

NOT_FINITE: Final = {
    "NaN": float("nan"),
    "Infinity": float("inf"),
    "-Infinity": float("-inf"),
}
_SCALARS: Final = frozenset({int, float, bool, type(None)})
_LISTS: Final = frozenset({list, tuple})


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
        ValueError: Something in it is no JSON.
    """
    if isinstance(value, dict):
        if not all(isinstance(key, str) for key in value):
            raise ValueError(f"the keys of an object should be text; got {list(value)!r:.60}")
        return {key: _free(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return _listed(value)
    number = _number(value)
    if type(number) not in _SCALARS and not isinstance(number, str):
        raise ValueError("should be JSON data: an object, a list, text, a number, true, or null")
    return number


def _listed(values: list[Any] | tuple[Any, ...]) -> list[Any]:
    # An edit may name a hundred thousand pairs, so that plain lists are told at the speed of C.
    kinds = set(map(type, values))
    if kinds <= _SCALARS:
        return list(values)
    if kinds <= _LISTS and set(map(type, chain.from_iterable(values))) <= _SCALARS:
        return list(map(list, values))
    return [_free(item) for item in values]


Number = Annotated[
    float,
    BeforeValidator(_number),
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
    PlainValidator(_free),
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


class RecordModel(Value):
    """What all records share: a ``kind``, and the ``version`` of its form, fixed by the class."""

    kind: str
    version: int
    _outside: ClassVar[frozenset[str]] = frozenset({"kind", "version"})

    def data_json(self) -> str:
        """All fields but ``kind`` and ``version`` as one line of JSON."""
        return self.model_dump_json(exclude=set(self._outside))


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
