"""The schemas of a run's records are those of the code; ``--regenerate`` writes them anew."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pydantic import BaseModel

from structure_net.runs.records import AnalysisRecord, HistoryRecord, RunRecord, schema_of

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(
    ("name", "kind"),
    [("run.v1", RunRecord), ("history.v1", HistoryRecord), ("analysis.v1", AnalysisRecord)],
)
def test_the_schema_in_the_tree_is_the_codes(
    name: str, kind: type[BaseModel], regenerate: bool
) -> None:
    path = ROOT / "schemas" / f"{name}.schema.json"
    text = json.dumps(schema_of(kind), indent=2, sort_keys=True) + "\n"
    if regenerate:
        path.write_text(text, encoding="utf-8")
    assert path.read_text(encoding="utf-8") == text
