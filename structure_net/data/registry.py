"""Data sets by name, so that another one is another word and no other code."""

from __future__ import annotations

import difflib
import inspect
import math
from collections.abc import Iterable, Mapping
from contextlib import suppress

from structure_net.data.requests import Awaited, Loader, Option, Registration
from structure_net.data.sources import california, cifar10, digits, generated, idx, mnist1d
from structure_net.errors import DatasetError

_BUILT_IN = (
    Registration("california_housing", california.load, {}),
    Registration("cifar10", cifar10.load, {}),
    Registration("digits", digits.load, {}),
    Registration("fashion_mnist", idx.load_fashion_mnist, {}),
    Registration("mnist", idx.load_mnist, {}),
    Registration("mnist1d", mnist1d.load, {}),
    Registration("parity", generated.load_parity, {"bits": 10, "samples": 4096}),
    Registration(
        "spirals",
        generated.load_spirals,
        {"classes": 2, "points": 1000, "turns": 1.0, "noise": 0.02},
    ),
)
_REGISTRY: dict[str, Registration | Awaited] = {known.name: known for known in _BUILT_IN}


def register_dataset(
    name: str,
    loader: Loader,
    *,
    options: Mapping[str, Option] | None = None,
    version: str = "1",
) -> None:
    """Makes a data set available under ``name``.

    Args:
        name: Lower-case letters, digits and underscores.
        loader: Takes a `DatasetRequest`, returns a `RawDataset`; a function of its argument alone.
        options: What ``name:option=value`` may set, with the defaults.
        version: Of what the loader gives. Raise it when that changes, as when files change that
            it reads: runs record it, and what is mapped from the cache belongs to one version and
            to one text of the loader.

    The same again, from a file that is read a second time, changes nothing.

    Raises:
        ValueError: The name is taken, or not a name.
    """
    if not name.isidentifier() or name != name.lower():
        raise ValueError(
            f"A data set's name is lower-case letters, digits and underscores; got {name!r}."
        )
    made = Registration(name, loader, dict(options or {}), version)
    if name in _REGISTRY and not _is_same(made, _known(name)):
        raise ValueError(f"A data set named {name!r} is registered already; choose another name.")
    _REGISTRY[name] = made


def _is_same(new: Registration, known: Registration) -> bool:
    """Whether a user's file that is read again registers what it registered before."""
    if known in _BUILT_IN or len(made_by(known)) < 2:
        return False
    facts = ((made_by(one), one.options, one.version) for one in (new, known))
    return next(facts) == next(facts)


def registered() -> tuple[Registration, ...]:
    """What was registered beside the sets of the library, for another process to take over."""
    return tuple(known for known in map(_known, list(_REGISTRY)) if known not in _BUILT_IN)


def _known(name: str) -> Registration:
    known = _REGISTRY[name]
    if isinstance(known, Awaited):
        known = _REGISTRY[name] = known.bring()
    return known


def take_over(registrations: Iterable[Registration | Awaited]) -> None:
    """Makes available what another process has registered; what is known here stays as it is."""
    for one in registrations:
        _REGISTRY.setdefault(one.name, one)


def available_datasets() -> tuple[str, ...]:
    """The names that `load_dataset` knows, in alphabetical order."""
    return tuple(sorted(_REGISTRY))


def find(name: str) -> Registration:
    """The data set registered under ``name``.

    Raises:
        DatasetError: There is none; the message names the nearest.
    """
    if name in _REGISTRY:
        return _known(name)
    near = difflib.get_close_matches(name.lower(), _REGISTRY, n=1)
    meant = f" Did you mean {near[0]!r}?" if near else ""
    raise DatasetError(
        f"There is no data set {name!r}.{meant} Known are {', '.join(available_datasets())}, "
        "and the path of an .npz file."
    )


def made_by(registration: Registration) -> tuple[str, ...]:
    """What names the loader: where it stands, and of a user's the text of its function."""
    loader = registration.loader
    place = f"{loader.__module__}.{getattr(loader, '__qualname__', registration.name)}"
    if registration in _BUILT_IN:
        return (place,)
    with suppress(OSError, TypeError):  # typed in at a prompt, or no function
        return (place, inspect.getsource(loader))
    return (place,)


def parse_options(registration: Registration, text: str) -> dict[str, Option]:
    """The registration's options with those of ``text``, as ``"bits=6,samples=100"``, set.

    Raises:
        DatasetError: An option is unknown, or its value is no number of the option's type.
    """
    options = dict(registration.options)
    for item in filter(None, text.split(",")):
        key, _, value = item.partition("=")
        if key not in options:
            known = ", ".join(f"{name}={default}" for name, default in options.items()) or "none"
            raise DatasetError(
                f"The data set '{registration.name}' has no option {key!r}; its options: {known}."
            )
        options[key] = _number(key, value, registration)
    return options


def _number(key: str, text: str, registration: Registration) -> Option:
    kind = type(registration.options[key])
    try:
        number = kind(text)
    except ValueError:
        number = math.nan
    if math.isfinite(number):
        return number
    wanted = "a whole number" if kind is int else "a finite number"
    raise DatasetError(
        f"The option {key!r} of the data set '{registration.name}' must be {wanted}; got {text!r}."
    )
