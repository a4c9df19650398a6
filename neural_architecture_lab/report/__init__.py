"""Reports of a lab, from what it stored."""

from neural_architecture_lab.report.keeping import keep_report
from neural_architecture_lab.report.report import Report, report_of

__all__ = ["Report", "keep_report", "report_of"]
