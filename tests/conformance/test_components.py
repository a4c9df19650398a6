from __future__ import annotations

import inspect
from dataclasses import replace

import pytest

from structure_net.evolution import Component, EpochRecord, TrainingHistory, components
from structure_net.evolution.components import (
    ConnectionAnalyzer,
    ContinualBackprop,
    ExtremaGrowthStrategy,
    GradientAnalyzer,
    GraphAnalyzer,
    HebbianAnalyzer,
    HomologicalAnalyzer,
    HybridGrowthStrategy,
    InformationFlowGrowthStrategy,
    LayerPerformanceAnalyzer,
    LotteryRewind,
    NetworkStatsAnalyzer,
    PruningGrowthStrategy,
    ReDo,
    ResidualBlockGrowthStrategy,
    RigL,
    SensitivityAnalyzer,
    SimpleInformationFlowAnalyzer,
    SparseEvolutionaryTraining,
    SparseMomentum,
    StandardExtremaAnalyzer,
    StandardNetworkTrainer,
    TopologicalAnalyzer,
    UtilityAnalyzer,
)
from structure_net.testing import check_component, example_context

EXPORTED = {
    "SensitivityAnalyzer": (SensitivityAnalyzer(), ()),
    "GradientAnalyzer": (GradientAnalyzer(), ()),
    "TopologicalAnalyzer": (TopologicalAnalyzer(), ()),
    "HomologicalAnalyzer": (HomologicalAnalyzer(), ()),
    "GraphAnalyzer": (GraphAnalyzer(), ()),
    "HebbianAnalyzer": (HebbianAnalyzer(), ()),
    "LayerPerformanceAnalyzer": (LayerPerformanceAnalyzer(), ()),
    "SimpleInformationFlowAnalyzer": (SimpleInformationFlowAnalyzer(), ()),
    "NetworkStatsAnalyzer": (NetworkStatsAnalyzer(), ()),
    "StandardExtremaAnalyzer": (StandardExtremaAnalyzer(), ()),
    "ExtremaGrowthStrategy": (ExtremaGrowthStrategy(patch_size=3), (StandardExtremaAnalyzer(),)),
    "HybridGrowthStrategy": (
        HybridGrowthStrategy(
            [ExtremaGrowthStrategy(patch_size=2), ExtremaGrowthStrategy(patch_size=3)],
            "tournament",
        ),
        (StandardExtremaAnalyzer(),),
    ),
    "InformationFlowGrowthStrategy": (
        InformationFlowGrowthStrategy(),
        (SimpleInformationFlowAnalyzer(),),
    ),
    "ResidualBlockGrowthStrategy": (
        ResidualBlockGrowthStrategy(),
        (SimpleInformationFlowAnalyzer(),),
    ),
    "ConnectionAnalyzer": (ConnectionAnalyzer(), ()),
    "SparseEvolutionaryTraining": (SparseEvolutionaryTraining(), ()),
    "RigL": (RigL(), (ConnectionAnalyzer(),)),
    "SparseMomentum": (SparseMomentum(), (ConnectionAnalyzer(),)),
    "UtilityAnalyzer": (UtilityAnalyzer(), ()),
    "ReDo": (ReDo(), (StandardExtremaAnalyzer(),)),
    "ContinualBackprop": (ContinualBackprop(0.5, 0), (UtilityAnalyzer(),)),
    "PruningGrowthStrategy": (
        PruningGrowthStrategy({"parameters": 120}, what="units", score="gradient"),
        (SensitivityAnalyzer(),),
    ),
    "LotteryRewind": (LotteryRewind(), ()),
    "StandardNetworkTrainer": (StandardNetworkTrainer(epochs=2), ()),
}

CONTEXTS = {
    # It replaces units that lived for some steps.
    "ContinualBackprop": replace(
        example_context(), history=TrainingHistory([EpochRecord(1, 0, 100, {}, 0, 0)])
    ),
}


@pytest.mark.parametrize("name", EXPORTED)
def test_every_component_keeps_the_promises_of_its_role(name: str) -> None:
    component, analyzers = EXPORTED[name]
    check_component(component, analyzers, CONTEXTS.get(name))


def test_a_strategy_that_adds_layers_keeps_the_promises_of_its_role() -> None:
    strategy = ExtremaGrowthStrategy(0.2, patch_size=3, add_layer_on_extrema=True)
    check_component(strategy, (StandardExtremaAnalyzer(),))


def test_the_list_of_components_is_complete() -> None:
    public = {
        name
        for name in components.__all__
        if inspect.isclass(kind := getattr(components, name)) and issubclass(kind, Component)
    }
    assert set(EXPORTED) == public
