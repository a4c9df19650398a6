"""Libraries that some machines cannot have, imported where they are used."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from structure_net.errors import StructureNetError


def gudhi_part(name: str) -> Any:
    """A module of gudhi, of which only those under the MIT and BSD licences are used.

    Args:
        name: Its full name, such as "gudhi.hera".

    Raises:
        StructureNetError: gudhi cannot be imported; PyPI has no build of it for Linux on ARM.
    """
    try:
        return import_module(name)
    except ImportError as error:
        raise StructureNetError(
            f"Persistence diagrams and flag complexes need gudhi, which cannot be imported here"
            f" ({error}). Install it: python -m pip install gudhi, or, where PyPI has no build for"
            " the machine, conda install -c conda-forge gudhi"
        ) from error
