"""Runs that live in a folder: asked for, carried out, resumed, checked and reported."""

from structure_net.runs.comparing import compare
from structure_net.runs.execution import begin, carry_on
from structure_net.runs.folder import RunFolder, free_folder, known_folder
from structure_net.runs.foreseeing import Foreseen, foresee
from structure_net.runs.preparing import Prepared, prepare
from structure_net.runs.recording import Recorder
from structure_net.runs.report import ReportFacts, render_report
from structure_net.runs.request import PipelineSource, RunRequest, fitted_architecture
from structure_net.runs.restoring import resumed
from structure_net.runs.state import RunState
from structure_net.runs.summary import EditNote, IterationSummary, Score, iteration_line
from structure_net.runs.validating import validate
from structure_net.runs.verifying import Finding, verify
from structure_net.runs.watching import Watcher
from structure_net.surgery.labels import describe_edit, describe_edits

__all__ = [
    "EditNote",
    "Finding",
    "Foreseen",
    "IterationSummary",
    "PipelineSource",
    "Prepared",
    "Recorder",
    "ReportFacts",
    "RunFolder",
    "RunRequest",
    "RunState",
    "Score",
    "Watcher",
    "begin",
    "carry_on",
    "compare",
    "describe_edit",
    "describe_edits",
    "fitted_architecture",
    "foresee",
    "free_folder",
    "iteration_line",
    "known_folder",
    "prepare",
    "render_report",
    "resumed",
    "validate",
    "verify",
]
