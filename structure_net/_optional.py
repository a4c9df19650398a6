"""Packages that only some parts need: what to say where one is missing."""

from __future__ import annotations


def missing(package: str, extra: str, error: ImportError) -> ImportError:
    """The error of a part whose package cannot be imported.

    Args:
        package: The package's name.
        extra: The extra of this package that brings it.
        error: What the import said.
    """
    return ImportError(
        f"{package} cannot be imported ({error}). It comes with an extra:"
        f" python -m pip install 'structure-net[{extra}]'",
        name=package,
    )
