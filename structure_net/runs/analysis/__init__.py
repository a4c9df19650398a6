"""The analysis of a network that lies on the disk: what to look at, the look, the report."""

from structure_net.runs.analysis.numbers import as_numbers
from structure_net.runs.analysis.page import PageFacts, render_page
from structure_net.runs.analysis.pictures import PICTURES, Picture, drawn, pictures_of
from structure_net.runs.analysis.subjects import DataChoice, Subject, subject_of
from structure_net.runs.analysis.topics import TOPICS, look, topics_of
from structure_net.runs.analysis.writing import Report, free_place, write_report

__all__ = [
    "PICTURES",
    "TOPICS",
    "DataChoice",
    "PageFacts",
    "Picture",
    "Report",
    "Subject",
    "as_numbers",
    "drawn",
    "free_place",
    "look",
    "pictures_of",
    "render_page",
    "subject_of",
    "topics_of",
    "write_report",
]
