"""Where a queue may lead: what a tracker must offer to be sent to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, runtime_checkable

from structure_net.logging.lines import Stored


@dataclass(frozen=True, slots=True)
class Batch:
    """Records that are sent together.

    Args:
        folder: The spool's.
        records: In order; at least one.
    """

    folder: Path
    records: tuple[Stored, ...]

    @property
    def numbers(self) -> tuple[int, ...]:
        """The numbers of the records."""
        return tuple(stored.seq for stored in self.records)


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of a batch, as the tracker itself said afterwards.

    Args:
        missing: The numbers of the records that it has not, each with the reason in words.
        blamed: Those among them that were refused, or that something is wrong with; the others were
            not sent in time.
        hopeless: Those among them that no repetition will bring there.
    """

    missing: Mapping[int, str] = field(default_factory=dict)
    blamed: frozenset[int] = frozenset()
    hopeless: frozenset[int] = frozenset()


@runtime_checkable
class Destination(Protocol):
    """A tracker to which batches are sent, any of them any number of times."""

    @property
    def name(self) -> str:
        """By which the queue knows it; records that went to one name are not sent there again."""

    def reach(self, seconds: float) -> None:
        """Finds out whether it can be reached, within ``seconds``.

        Raises:
            TrackingError: It cannot.
        """

    def send(self, batch: Batch, seconds: float) -> Receipt:
        """Sends a batch, then asks what has arrived, within ``seconds`` altogether.

        Raises:
            TrackingError: It cannot be said what has arrived: the tracker does not answer.
        """
