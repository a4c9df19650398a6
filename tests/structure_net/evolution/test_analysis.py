from __future__ import annotations

import pytest

from structure_net.core import create_standard_network
from structure_net.errors import MissingAnalysisError, StructureNetError
from structure_net.evolution import Analysis, ComposableEvolutionSystem, Lazy, NetworkContext
from structure_net.evolution.components import RigL
from structure_net.evolution.interfaces import Analyzer, providers


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


def test_a_missing_metric_names_the_analyzer_that_provides_it() -> None:
    context = NetworkContext(create_standard_network([4, 6, 2], density=0.5, seed=0), [])
    way = r"RigL needs 'connection_gradient'.*add_component\(ConnectionAnalyzer\(\)\) adds one"
    with pytest.raises(MissingAnalysisError, match=way):
        ComposableEvolutionSystem([RigL()]).evolve_network(context, 1)
    assert providers("extrema_dead") == ("StandardExtremaAnalyzer",)
    assert providers("nothing of the kind") == ()


def test_an_analyzer_that_was_defined_again_is_named_once() -> None:
    def defined() -> type[Analyzer]:
        class Mine(Analyzer):
            provides = frozenset({"of_a_notebook"})

            def analyze(self, context: NetworkContext) -> dict[str, int]:
                return {"of_a_notebook": 1}

        return Mine

    kinds = [defined(), defined()]
    assert providers("of_a_notebook") == ("Mine",), kinds


def test_get_has_a_default_like_a_dict() -> None:
    analysis = Analysis.merged({"A": {"x": 1}})
    assert analysis.get("y", 0) == 0
    assert analysis.get("y") is None
    assert dict(analysis) == {"x": 1}
