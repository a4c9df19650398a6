"""What an experiment is made of, as plain data: so that a record says how to make it again.

    recipe_of(FreshSeeds(train, 100_000))
    {"make": "neural_architecture_lab.trials:FreshSeeds",
     "of": {"experiment": {"name": "my_module:train"}, "first_seed": 100000}}

Functions and whatever stands at the top of a module go by name; dataclasses by their kind and their
fields; a ``partial`` by what it holds. Nothing is pickled, and to make something again nothing is
called but dataclasses and ``partial``.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, TypeAlias

from neural_architecture_lab.errors import HypothesisError

Recipe: TypeAlias = Any
"""Plain data: numbers, texts, lists; mappings with ``name``, ``make``, ``partial`` or ``map``."""


def recipe_of(value: Any) -> Recipe | None:
    """How to make a value again in another process; None where there is no way to say it."""
    try:
        return _told(value)
    except _UntellableError:
        return None


def made_of(recipe: Recipe) -> Any:
    """What a recipe makes.

    Raises:
        HypothesisError: A module cannot be imported, or no longer holds what it is asked for.
    """
    if isinstance(recipe, list):
        return [made_of(one) for one in recipe]
    if not isinstance(recipe, Mapping):
        return recipe
    if "name" in recipe:
        return _named(recipe["name"])
    if "map" in recipe:
        return {key: made_of(one) for key, one in recipe["map"].items()}
    held = {key: made_of(one) for key, one in recipe["of"].items()}
    if "partial" in recipe:
        return partial(made_of(recipe["partial"]), *made_of(recipe["first"]), **held)
    kind = _named(recipe["make"])
    if not (isinstance(kind, type) and is_dataclass(kind)):
        raise HypothesisError(f"{recipe['make']} is no dataclass any more, and cannot be made.")
    return kind(**held)


def folders_of(recipe: Recipe) -> tuple[str, ...]:
    """The folders that Python must look into to import what a recipe names."""
    found: dict[str, None] = {}
    for name in _names_in(recipe):
        module = name.partition(":")[0]
        file = getattr(sys.modules.get(module), "__file__", None)
        if file is None:
            continue
        place = Path(file).resolve()
        up = module.count(".") + (place.name == "__init__.py")
        if not any(place.is_relative_to(one) for one in (sys.prefix, sys.base_prefix)):
            found[str(place.parents[up])] = None
    return tuple(found)


class _UntellableError(Exception):
    """Something that no name and no fields describe."""


def _told(value: Any) -> Recipe:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Mapping):
        return {"map": {_key(key): _told(one) for key, one in value.items()}}
    if isinstance(value, Sequence):
        return [_told(one) for one in value]
    if isinstance(value, partial):
        held = {name: _told(one) for name, one in value.keywords.items()}
        return {"partial": _told(value.func), "first": _told(value.args), "of": held}
    if (name := _name_of(value)) is not None:
        return {"name": name}
    kind = type(value)
    if not is_dataclass(kind) or _name_of(kind) is None:
        raise _UntellableError
    held = {one.name: _told(getattr(value, one.name)) for one in fields(kind) if one.init}
    return {"make": _name_of(kind), "of": held}


def _key(key: Any) -> str:
    if not isinstance(key, str):
        raise _UntellableError
    return key


def _name_of(value: Any) -> str | None:
    """Where a value stands at the top of a module that can be imported."""
    module = getattr(value, "__module__", None) or type(value).__module__
    held = vars(sys.modules.get(module, object))
    if module == "__main__":
        return None
    name = getattr(value, "__qualname__", None)
    if name is not None:
        return f"{module}:{name}" if held.get(name) is value else None
    return next((f"{module}:{key}" for key, one in held.items() if one is value), None)


def _named(name: str) -> Any:
    module, _, key = name.partition(":")
    try:
        return getattr(import_module(module), key)
    except (ImportError, AttributeError) as error:
        raise HypothesisError(
            f"{name} cannot be found: {error}. Run what is left where it can be imported."
        ) from error


def _names_in(recipe: Recipe) -> Iterator[str]:
    if isinstance(recipe, list):
        for one in recipe:
            yield from _names_in(one)
    elif isinstance(recipe, Mapping):
        for key, one in recipe.items():
            if key in ("name", "make") and isinstance(one, str):
                yield one
            else:
                yield from _names_in(one)
