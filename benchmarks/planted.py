"""Experiments that are hidden among ten thousand others, and questions that mean one of them each.

They lie in ``planted_experiments``, a line of JSON for each experiment: ``facts``, and ``asked``,
the question of each set that asks for it. ``simple.jsonl`` are thirty for those of `ordinary`, easy
to describe; ``laboratory_1.jsonl`` to ``laboratory_6.jsonl`` are twenty each for those of
`laboratory`. One question (in the third set) repeats an experiment's note; no other does.

The writers of the laboratory's questions had the facts of each experiment as a page shows them, a
few lines on what the others are like and the user's page about the search, and neither the index
nor its vocabulary. The index was improved after each set had been measured once; `BLIND` keeps what
was found then.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from structure_net.logging.search import ExperimentFacts

_FOLDER: Final = Path(__file__).parent / "planted_experiments"

SIMPLE: Final = ("first", "second", "third", "fourth")
"""The sets of questions about ``simple``: by the one who hid them, twice in other words, and in
those of somebody else."""

LABORATORY: Final[Mapping[str, str]] = {
    "first": "laboratory_1",
    "second": "laboratory_2",
    "third": "laboratory_3",
    "fourth": "laboratory_2",
    "fifth": "laboratory_4",
    "sixth": "laboratory_5",
    "seventh": "laboratory_6",
    "eighth": "laboratory_6",
}
"""What the sets of twenty questions to a laboratory are about."""

BLIND: Final[Mapping[str, tuple[int, int]]] = {
    "first": (14, 15),
    "second": (18, 19),
    "third": (14, 14),
    "fourth": (12, 14),
    "fifth": (13, 15),
    "sixth": (15, 20),
    "seventh": (18, 19),
    "eighth": (17, 19),
}
"""How many a set found first, and among the first five, when the index had never seen it."""


@dataclass(frozen=True, slots=True)
class Case:
    """A question, and the experiment that it must find first."""

    question: str
    facts: ExperimentFacts


def cases(name: str, asked: str) -> tuple[Case, ...]:
    """The questions of one set about the experiments of one file.

    Args:
        name: The file's, such as ``laboratory_1``.
        asked: The set's, such as ``first``.
    """
    lines = (_FOLDER / f"{name}.jsonl").read_text("utf-8").splitlines()
    read = [json.loads(line) for line in lines]
    return tuple(
        Case(one["asked"][asked], ExperimentFacts(**one["facts"]))
        for one in read
        if asked in one["asked"]
    )
