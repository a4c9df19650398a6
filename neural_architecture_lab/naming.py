"""Names of what a lab keeps, the ids that are made of them, and what workers find by name."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable
from difflib import get_close_matches
from typing import Any

from neural_architecture_lab.errors import HypothesisError


def check_name(what: str, name: object) -> None:
    """Refuses a name without a letter or a digit.

    Args:
        what: What is named, as the beginning of a sentence.
        name: The name.

    Raises:
        HypothesisError: It holds none, or is no text.
    """
    if not isinstance(name, str) or not re.search(r"[A-Za-z0-9]", name):
        raise HypothesisError(f"{what} must be a text with a letter or a digit; got {name!r}.")


def id_of(what: str, name: str) -> str:
    """A name in lower case, with underscores: how the lab knows what it names.

    Args:
        what: What is named, as the beginning of a sentence.
        name: The name.

    Raises:
        HypothesisError: It holds no letter and no digit, or is no text.
    """
    check_name(what, name)
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")


def meant(word: object, known: Iterable[str]) -> str:
    """`` Did you mean 'width'?`` where a word looks like a known one; nothing where none does."""
    near = get_close_matches(str(word), list(known), n=1)
    return f" Did you mean {near[0]!r}?" if near else ""


def check_experiment(experiment: Callable[..., Any] | None) -> None:
    """Refuses what workers could not find by its name, or could not call.

    Raises:
        HypothesisError: It is no function of a trial and a device, or one that is made inside a
            function.
    """
    if experiment is None:
        return
    if not callable(experiment):
        raise HypothesisError(
            f"experiment must be a function (trial, *, device) -> metrics; got {experiment!r}."
        )
    name = getattr(experiment, "__qualname__", type(experiment).__qualname__)
    if "<locals>" in name or "<lambda>" in name:
        raise HypothesisError(
            f"The experiment {name!r} is made inside a function, where workers cannot find it; put"
            " it at the top of a module."
        )
    try:
        inspect.signature(experiment).bind(object(), device="cpu")
    except TypeError as error:
        raise HypothesisError(
            f"The experiment {name!r} cannot be called with a trial and a device: {error}. It must"
            " be a function (trial, *, device) -> metrics."
        ) from error
    except ValueError:  # one that Python cannot look into
        return
