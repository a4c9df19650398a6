"""Runs that live in a folder: asked for, carried out, resumed, checked and reported."""

from structure_net.runs.folder import RunFolder, free_folder, known_folder
from structure_net.runs.report import ReportFacts, render_report
from structure_net.runs.request import PipelineSource, RunRequest, fitted_architecture
from structure_net.runs.summary import EditNote, IterationSummary, Score, iteration_line
from structure_net.runs.wording import describe_edit, describe_edits

__all__ = [
    "EditNote",
    "IterationSummary",
    "PipelineSource",
    "ReportFacts",
    "RunFolder",
    "RunRequest",
    "Score",
    "describe_edit",
    "describe_edits",
    "fitted_architecture",
    "free_folder",
    "iteration_line",
    "known_folder",
    "render_report",
]
