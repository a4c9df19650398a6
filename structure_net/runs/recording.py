"""From the events of an evolution to records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from structure_net.errors import SpoolError
from structure_net.evolution import Event, EventKind
from structure_net.evolution.analysis import Analysis
from structure_net.logging import RecordStream
from structure_net.runs.brevity import brief
from structure_net.surgery.labels import describe_edit

if TYPE_CHECKING:
    from structure_net.logging.records import RecordModel


class Recorder:
    """Writes the events of a system as records.

    An analysis is written when the next thing happens, with the values that were read until then:
    recording computes nothing. Edits are written together with the growth that they are, when
    something else happens or the stream is closed.

    Args:
        stream: Takes the records.
    """

    def __init__(self, stream: RecordStream) -> None:
        self._stream = stream
        self._analysis: tuple[Event, Analysis] | None = None
        self._growth: list[Event] = []
        self._waiting: list[RecordModel] = []
        stream.before_close(self.settle)

    @property
    def hears_steps(self) -> bool:
        """Whether something waits to be written when the next step is over."""
        return bool(self._analysis or self._growth or self._waiting)

    def __call__(self, event: Event) -> None:
        """Writes what an event says.

        Raises:
            SpoolError: The spool cannot be written.
        """
        if event.kind is EventKind.EDITED:
            self._edited(event)
            return
        if event.kind in _RECORDS:
            self._gather()
            self._waiting.append(_RECORDS[event.kind](event))
            self._write()
        elif self.hears_steps:
            self.settle()
        if event.kind is EventKind.ANALYZED:
            self._analysis = (event, event.detail["analysis"])

    def settle(self) -> None:
        """Writes what waits: the last analysis, the last edits, and the growth that they are."""
        self._gather()
        self._write()

    def _edited(self, event: Event) -> None:
        if self._analysis is not None or (self._growth and _who(self._growth[0]) != _who(event)):
            self._gather()
        self._growth.append(event)

    def _gather(self) -> None:
        """Makes records of the last analysis and of the last growth with its edits.

        Each change of what waits is one assignment, which no Ctrl-C parts.
        """
        if self._analysis is not None:
            made = _analysis(*self._analysis)
            self._waiting, self._analysis = [*self._waiting, made], None
        if self._growth:
            edits = [*map(_edit, self._growth), _accepted(self._growth)]
            self._waiting, self._growth = [*self._waiting, *edits], []

    def _write(self) -> None:
        """Writes the records that wait, at once.

        They wait on where the disk refuses them, which may have room by the time of the next call,
        and where a Ctrl-C came before they were written.
        """
        if not self._waiting:
            return
        last = self._stream.spool.last
        try:
            self._stream.emit_all(self._waiting)
            self._waiting = []
        except KeyboardInterrupt:
            with suppress(SpoolError):
                self._stream.spool.flush()  # finds out whether they are there
                if self._stream.spool.last > last:
                    self._waiting = []
            raise


def _who(event: Event) -> tuple[str, str]:
    return event.component, event.detail["trigger"]


def _analysis(event: Event, analysis: Analysis) -> RecordModel:
    from structure_net.logging.records import Analysis as AnalysisRecord

    known = {key: brief(analysis[key]) for key in analysis.computed}
    values = {key: value for key, value in known.items() if value is not None}
    return AnalysisRecord(
        iteration=event.iteration,
        epoch=event.detail["epoch"],
        step=event.detail["step"],
        values=values,
        left_out=tuple(key for key in analysis if key not in values),
    )


def _edit(event: Event) -> RecordModel:
    from structure_net.logging.records import Edit, Width
    from structure_net.surgery.records import edit_to_data

    detail = event.detail
    return Edit(
        iteration=event.iteration,
        component=event.component,
        edit=edit_to_data(detail["edit"]),
        text=describe_edit(detail["edit"]),
        reason=detail["reason"],
        trigger=detail["trigger"],
        seed=detail["seed"],
        changes=tuple(
            Width(layer=change.layer, before=change.before, after=change.after)
            for change in detail["changes"]
        ),
    )


def _accepted(events: Sequence[Event]) -> RecordModel:
    from structure_net.logging.records import Growth

    first = events[0]
    return Growth(
        outcome="accepted",
        iteration=first.iteration,
        component=first.component,
        trigger=first.detail["trigger"],
        edits=tuple(describe_edit(event.detail["edit"]) for event in events),
        reasons=tuple(event.detail["reason"] for event in events),
        measured=_brief_mapping(first.detail["measured"]),
    )


def _refused(event: Event) -> RecordModel:
    from structure_net.logging.records import Growth

    named = ("edits", "reasons", "trigger")
    return Growth(
        outcome="refused",
        iteration=event.iteration,
        component=event.component,
        trigger=event.detail["trigger"],
        edits=tuple(describe_edit(edit) for edit in event.detail["edits"]),
        reasons=tuple(event.detail["reasons"]),
        measured=_brief_mapping({k: v for k, v in event.detail.items() if k not in named}),
    )


def _by_hand(event: Event) -> RecordModel:
    from structure_net.logging.records import Growth

    return Growth(
        outcome="opaque",
        iteration=event.iteration,
        component=event.component,
        trigger=event.detail["trigger"],
        measured=_brief_mapping(event.detail["measured"]),
        before=event.detail["before"],
        after=event.detail["after"],
    )


def _epoch(event: Event) -> RecordModel:
    from structure_net.logging.records import Epoch

    return Epoch(**event.detail["record"].to_dict())


def _brief_mapping(values: Mapping[str, Any]) -> dict[str, Any]:
    found = {key: brief(value) for key, value in values.items()}
    return {key: value for key, value in found.items() if value is not None}


_RECORDS: Final = {
    EventKind.REJECTED: _refused,
    EventKind.GREW_BY_HAND: _by_hand,
    EventKind.EPOCH_FINISHED: _epoch,
}
