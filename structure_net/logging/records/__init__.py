"""The records: one frozen model for each kind, checked when they are made and when they are read.

Importing this package imports pydantic; `structure_net.logging` does not.
"""

from structure_net.logging.records.parsing import (
    KINDS,
    Record,
    newest_version,
    problem_line,
    problems_of,
    record_of,
)
from structure_net.logging.records.research import (
    Evidence,
    Hypothesis,
    Predicted,
    Search,
    Setting,
    Trial,
)
from structure_net.logging.records.runs import (
    Artifact,
    Missed,
    Profile,
    Resumed,
    RunEnded,
    RunStarted,
    Section,
)
from structure_net.logging.records.training import (
    Analysis,
    Edit,
    Epoch,
    Growth,
    Iteration,
    Width,
)
from structure_net.logging.records.values import NetworkFacts, RecordModel

__all__ = [
    "KINDS",
    "Analysis",
    "Artifact",
    "Edit",
    "Epoch",
    "Evidence",
    "Growth",
    "Hypothesis",
    "Iteration",
    "Missed",
    "NetworkFacts",
    "Predicted",
    "Profile",
    "Record",
    "RecordModel",
    "Resumed",
    "RunEnded",
    "RunStarted",
    "Search",
    "Section",
    "Setting",
    "Trial",
    "Width",
    "newest_version",
    "problem_line",
    "problems_of",
    "record_of",
]
