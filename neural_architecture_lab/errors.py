"""The errors of the lab."""

from __future__ import annotations


class LabError(Exception):
    """Anything that the lab refuses or finds broken."""


class HypothesisError(LabError):
    """A hypothesis cannot be tested as it is stated."""


class DesignError(LabError):
    """The trials of a hypothesis cannot be laid out as asked."""


class SearchError(LabError):
    """A search cannot be done as it is stated."""


class OutcomeError(LabError):
    """An experiment returned what is no outcome."""


class StoreError(LabError):
    """The folder of a lab's results cannot be used, or holds what does not fit together."""


class RunnerError(LabError):
    """Trials cannot be run as asked: a package, a device or a worker is missing."""


class PlanError(LabError):
    """A training run cannot be meant as it is described."""


class OutOfTimeError(RunnerError):
    """A trial ran longer than it may."""
