"""The errors of the framework: one small family that says the value, the rule and the way out."""

from __future__ import annotations


class StructureNetError(Exception):
    """Anything that the framework refuses or finds broken."""


class TraceError(StructureNetError):
    """A model cannot be traced, so that its axes are unknown."""


class SurgeryError(StructureNetError):
    """An edit cannot be planned or carried out; model and optimizer are untouched."""


class PreservationError(SurgeryError):
    """An edit that promises to keep the function did not; it was undone."""


class JournalError(StructureNetError):
    """A journal cannot be read, replayed or compared."""


class CheckpointError(StructureNetError):
    """A checkpoint cannot be written, is damaged, or does not fit the model."""


class DatasetError(StructureNetError):
    """A data set is unknown, missing or damaged."""


class MissingAnalysisError(StructureNetError):
    """A strategy or a trigger needs a metric that nothing provides."""


class TrainingDivergedError(StructureNetError):
    """The loss is not finite; training stopped and the last good state is kept."""


class RunError(StructureNetError):
    """A run cannot start, or its folder exists already, is missing or is damaged."""


class InitialisationError(StructureNetError):
    """A layer's weights cannot be scaled as asked: its output is constant or not finite."""


class RecordError(StructureNetError):
    """A record is of an unknown kind or of a newer version, or a field of it is wrong."""


class SpoolError(StructureNetError):
    """A spool cannot be written, is in use, or is damaged; what was written can be read."""


class SeriesError(StructureNetError):
    """A file of time series cannot be written or read, or holds no such table or column."""


class SearchError(StructureNetError):
    """An index of experiments cannot be used as asked, or an experiment cannot be read."""


class TrackingError(StructureNetError):
    """A tracker (W&B) cannot be reached, refuses what is sent, or lacks a key.

    Args:
        message: What is wrong, and the way out.
        wait: The seconds for which the tracker asks to be left alone.
    """

    def __init__(self, message: str, *, wait: float = 0.0) -> None:
        super().__init__(message)
        self.wait = wait
