"""Parts of a pipeline as plain data: triggers, acceptance policies, components, initialisers.

A part is its class and the arguments that it was made with, which it keeps under their names. So
anything whose constructor keeps its arguments can be stored; a part that holds a function cannot.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from typing import Any

from structure_net.core.arguments import shown
from structure_net.evolution.acceptance import Acceptance
from structure_net.evolution.interfaces import Component
from structure_net.evolution.triggers import Trigger
from structure_net.surgery import Initialiser

Part = Trigger | Acceptance | Component | Initialiser


def part_to_dict(part: Part) -> dict[str, Any]:
    """A part as plain data, ready for JSON: its class under ``kind``, then its arguments.

    Raises:
        TypeError: It is no part, or an argument cannot be stored or is not kept under its name.
    """
    if not isinstance(part, Part):
        raise TypeError(
            "A trigger, an acceptance policy, a component or an initialiser can be stored;"
            f" got {shown(part)}."
        )
    values: dict[str, Any] = {"kind": type(part).__name__}
    for name in _arguments(type(part)):
        if not hasattr(part, name):
            raise TypeError(
                f"{type(part).__name__} does not keep its argument {name!r}, so that it cannot be"
                f" stored. Set self.{name} in its constructor."
            )
        values[name] = _stored(getattr(part, name), f"{type(part).__name__}.{name}")
    return values


def part_from_dict(data: Mapping[str, Any], *, known: Iterable[type[Part]] = ()) -> Any:
    """The part that `part_to_dict` wrote.

    Args:
        data: Plain data.
        known: Classes of one's own; those of this package are known. No other code is run.

    Raises:
        ValueError: The kind or an argument is unknown, missing or out of range.
    """
    return _Reader({**_own_kinds(), **{kind.__name__: kind for kind in known}}).part(data)


class _Reader:
    def __init__(self, kinds: Mapping[str, type[Any]]) -> None:
        self._kinds = kinds

    def part(self, data: Mapping[str, Any]) -> Any:
        given = dict(data)
        name = given.pop("kind", None)
        kind = self._kinds.get(name) if isinstance(name, str) else None
        if kind is None:
            raise ValueError(f"kind must be one of {', '.join(sorted(self._kinds))}; got {name!r}.")
        arguments = _arguments(kind)
        if set(given) != set(arguments):
            raise ValueError(
                f"{name} must have the fields {', '.join(sorted(arguments)) or 'none'};"
                f" got {', '.join(sorted(given)) or 'none'}."
            )
        several: list[Any] = []
        for argument, kind_of in arguments.items():
            value = self._value(given.pop(argument))
            if kind_of is inspect.Parameter.VAR_POSITIONAL:
                several = list(value) if isinstance(value, tuple) else [value]
            else:
                given[argument] = value
        try:
            return kind(*several, **given)
        except TypeError as error:
            raise ValueError(f"{name} cannot be made of {dict(data)!r:.120}: {error}") from error

    def _value(self, value: Any) -> Any:
        if isinstance(value, Mapping):
            if "kind" in value:
                return self.part(value)
            return {key: self._value(item) for key, item in value.items()}
        return tuple(self._value(item) for item in value) if isinstance(value, list) else value


def _arguments(kind: type[Any]) -> dict[str, Any]:
    """The names of a constructor's arguments, with their kinds."""
    # Reading the class and not the instance: `inspect` follows `__init__`, dataclasses' too.
    parameters = inspect.signature(kind).parameters.values()
    return {
        parameter.name: parameter.kind
        for parameter in parameters
        if parameter.kind is not inspect.Parameter.VAR_KEYWORD
    }


def _stored(value: Any, place: str) -> Any:
    if isinstance(value, Part):
        return part_to_dict(value)
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {key: _stored(item, f"{place}[{key!r}]") for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_stored(item, place) for item in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(
        f"{place} is {value!r:.80}, which cannot be stored: arguments must be numbers, strings,"
        " parts, or lists or mappings of these."
    )


def _own_kinds() -> dict[str, type[Any]]:
    """The parts of this package, by name."""
    from structure_net import surgery
    from structure_net.evolution import acceptance, components, triggers

    found: dict[str, type[Any]] = {}
    for module in (triggers, acceptance, components, surgery):
        for name in getattr(module, "__all__", dir(module)):
            value = getattr(module, name)
            is_part = isinstance(value, type) and issubclass(value, Part)
            if is_part and not inspect.isabstract(value):
                found[name] = value
    return found
