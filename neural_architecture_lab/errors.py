"""The errors of the lab."""

from __future__ import annotations


class LabError(Exception):
    """Anything that the lab refuses or finds broken."""


class HypothesisError(LabError):
    """A hypothesis cannot be tested as it is stated."""


class DesignError(LabError):
    """The trials of a hypothesis cannot be laid out as asked."""
