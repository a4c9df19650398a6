"""What a morphogenesis did, as values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from typing import Any, Final, Literal

from structure_net.surgery import Journal
from structure_net.surgery.edits import Edit
from structure_net.surgery.entries import EditEntry
from structure_net.surgery.labels import describe_edit

NEURON_DIVISION: Final = "neuron_division"
CONNECTION_GROWTH: Final = "connection_growth"

EventType = Literal["neuron_division", "connection_growth"]


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


@dataclass(frozen=True, slots=True)
class MorphogenesisEvent:
    """One change of the architecture.

    Args:
        epoch: When it was made, as the loop counts.
        event_type: What kind of change.
        location: The layer; ``source -> target`` of a skip connection.
        trigger_reason: Why there and now.
        edit: The edit, which the journal holds, too.
        parameters_added: How many.
        performance_before: The last accuracy recorded before it; None if there was none.
        performance_after: The first one recorded behind it; None until then.
        rolled_back: Whether it was taken back since.
        timestamp: ISO 8601, UTC. Not compared.
    """

    epoch: int
    event_type: EventType
    location: str
    trigger_reason: str
    edit: Edit
    parameters_added: int
    performance_before: float | None = None
    performance_after: float | None = None
    rolled_back: bool = False
    timestamp: str = field(default_factory=_now, compare=False)

    def as_dict(self) -> dict[str, Any]:
        """Plain data, ready for JSON; the edit in a few words."""
        return {
            "epoch": self.epoch,
            "event_type": self.event_type,
            "location": self.location,
            "trigger_reason": self.trigger_reason,
            "edit": describe_edit(self.edit),
            "parameters_added": self.parameters_added,
            "performance_before": self.performance_before,
            "performance_after": self.performance_after,
            "rolled_back": self.rolled_back,
            "timestamp": self.timestamp,
        }


def location_of(edit: Edit) -> str:
    """Where an edit takes place, in a word."""
    layer = getattr(edit, "layer", None)
    if layer is not None:
        return str(layer)
    return f"{getattr(edit, 'source', '')} -> {getattr(edit, 'target', '')}"


def events_to_data(events: Sequence[MorphogenesisEvent]) -> dict[str, Any]:
    """Events as plain data, their edits as a journal keeps them."""
    plain = [
        {one.name: getattr(event, one.name) for one in fields(event) if one.name != "edit"}
        for event in events
    ]
    return {"events": plain, "edits": Journal(EditEntry(e.edit) for e in events).to_json()}


def events_from_data(data: Mapping[str, Any]) -> list[MorphogenesisEvent]:
    """The events that `events_to_data` wrote.

    Raises:
        JournalError: Their edits cannot be read.
    """
    edits = [entry.edit for entry in Journal.from_json(data["edits"]).edits]
    pairs = zip(data["events"], edits, strict=True)
    return [MorphogenesisEvent(**plain, edit=edit) for plain, edit in pairs]
