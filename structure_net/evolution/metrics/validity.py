"""The value of a metric where it has none: the reason why, never a silent 0."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NoReturn

from structure_net.errors import StructureNetError


@dataclass(frozen=True, slots=True)
class Unavailable:
    """A metric is not valid here, for a reason in words: too few samples, a disconnected graph.

    It is false, equals another with the same reason, and refuses to be used as a number.

    Args:
        reason: What was missing, with the value that was too small or the part that was absent.

    Raises:
        ValueError: The reason is empty.
    """

    reason: str

    def __post_init__(self) -> None:
        if not self.reason:
            raise ValueError(
                "Unavailable needs a reason; got an empty string. Say what is missing."
            )

    def __bool__(self) -> bool:
        return False

    def __str__(self) -> str:
        return f"not available: {self.reason}"

    def __float__(self) -> NoReturn:
        raise StructureNetError(
            f"This metric has no value here: {self.reason}. Ask"
            " `isinstance(value, Unavailable)` before using it as a number."
        )
