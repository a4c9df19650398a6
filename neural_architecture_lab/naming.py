"""Names of what a lab keeps, and the ids that are made of them."""

from __future__ import annotations

import re

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
