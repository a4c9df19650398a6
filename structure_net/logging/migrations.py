"""From every earlier form of a record to the newest, one version at a time.

A step is a pure function of the data. Once a version has been written by a released program its
step stays here for good, and its JSON Schema stays in ``schemas/``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from structure_net.errors import RecordError

Data = Mapping[str, Any]
Step = Callable[[Data], dict[str, Any]]


def _epoch_2(data: Data) -> dict[str, Any]:
    """Version 2 tells the samples, which earlier programs did not count."""
    return {**data, "samples": None}


STEPS: Final[Mapping[tuple[str, int], Step]] = {("epoch", 1): _epoch_2}
"""By kind and version: from that version to the next."""


def migrate(kind: str, version: int, data: Data) -> tuple[int, Data]:
    """Data of an earlier version in its newest form.

    Args:
        kind: The record's kind.
        version: The version that ``data`` has.
        data: The record's fields. Not changed.

    Returns:
        The newest version that there is a way to, and the data in it.
    """
    while step := STEPS.get((kind, version)):
        version, data = version + 1, step(data)
    return version, data


def check_version(kind: str, version: object, newest: int) -> None:
    """Refuses what a newer program wrote.

    Raises:
        RecordError: ``version`` is no whole number from 1 to ``newest``.
    """
    if type(version) is not int or version < 1:
        raise RecordError(
            f"'version' must be a whole number from 1 to {newest}; got {version!r:.40}."
        )
    if version > newest:
        raise RecordError(
            f"A record of kind {kind!r} has version {version}; this program reads up to {newest}. "
            "Update structure-net."
        )
