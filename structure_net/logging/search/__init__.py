"""Find experiments by meaning, by structure and by filter."""

from structure_net.logging.search.describing import traits_of
from structure_net.logging.search.facts import ExperimentFacts
from structure_net.logging.search.fields import accuracy_of, fields_of
from structure_net.logging.search.filters import parse_where
from structure_net.logging.search.index import ExperimentIndex, Found
from structure_net.logging.search.questions import Question
from structure_net.logging.search.reading import facts_of, run_folders

__all__ = [
    "ExperimentFacts",
    "ExperimentIndex",
    "Found",
    "Question",
    "accuracy_of",
    "facts_of",
    "fields_of",
    "parse_where",
    "run_folders",
    "traits_of",
]
