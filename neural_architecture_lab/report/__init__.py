"""Reports of a lab, from what it stored."""

from neural_architecture_lab.report.report import Report, report_of

__all__ = ["Report", "report_of"]
