"""A report among the records of its lab, from where trackers take it as an artifact."""

from __future__ import annotations

from typing import Final

from neural_architecture_lab.report.report import report_of
from neural_architecture_lab.store import Store

TEXT: Final = "report.md"
PAGE: Final = "report.html"


def keep_report(store: Store) -> bool:
    """Keeps the report of a whole folder, as Markdown and as a page, unless it says nothing new.

    Args:
        store: The folder's.

    Returns:
        Whether there was anything new in the text.

    Raises:
        StoreError: It cannot be written.
    """
    report = report_of(store)
    if not store.keep(TEXT, str(report).encode(), media="text/markdown", type="report"):
        return False
    return store.keep(PAGE, report.html().encode(), media="text/html", type="report")
