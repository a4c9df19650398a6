"""Searching for good settings with Optuna, through the lab's own trials and store."""

from neural_architecture_lab.searching.reading import Searched, Try, searched
from neural_architecture_lab.searching.result import SearchResult
from neural_architecture_lab.searching.running import run_search
from neural_architecture_lab.searching.search import Rungs, Search

__all__ = [
    "Rungs",
    "Search",
    "SearchResult",
    "Searched",
    "Try",
    "run_search",
    "searched",
]
