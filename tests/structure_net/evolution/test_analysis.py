from __future__ import annotations

import pytest

from structure_net.errors import MissingAnalysisError, StructureNetError
from structure_net.evolution import Analysis, Lazy


def test_a_lazy_value_is_computed_when_it_is_first_read_and_once() -> None:
    calls: list[int] = []

    def compute() -> int:
        calls.append(1)
        return 7

    analysis = Analysis.merged({"A": {"slow": Lazy(compute)}})
    assert "slow" in analysis
    assert list(analysis) == ["slow"]
    assert not calls
    assert (analysis["slow"], analysis.get("slow"), analysis.read_by("B")["slow"]) == (7, 7, 7)
    assert len(calls) == 1


def test_a_key_of_two_analyzers_is_an_error_that_names_both() -> None:
    with pytest.raises(StructureNetError, match="B provides 'x', which A already provides"):
        Analysis.merged({"A": {"x": 1}, "B": {"x": 2}})


def test_a_missing_metric_names_who_needs_it_and_what_there_is() -> None:
    analysis = Analysis.merged({"A": {"x": 1}}).read_by("MyStrategy")
    with pytest.raises(MissingAnalysisError, match=r"MyStrategy needs 'y'.*there is: x"):
        analysis["y"]
    with pytest.raises(MissingAnalysisError, match="MyStrategy needs 'y'"):
        analysis.require(frozenset({"x", "y"}))


def test_get_has_a_default_like_a_dict() -> None:
    analysis = Analysis.merged({"A": {"x": 1}})
    assert analysis.get("y", 0) == 0
    assert analysis.get("y") is None
    assert dict(analysis) == {"x": 1}
