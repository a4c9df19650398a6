from __future__ import annotations

import inspect
from dataclasses import replace

import pytest

from structure_net.evolution import (
    Component,
    EpochRecord,
    NetworkContext,
    Proposal,
    TrainingHistory,
    components,
)
from structure_net.evolution.components import (
    ConnectionAnalyzer,
    ConnectionCandidateAnalyzer,
    ContinualBackprop,
    DepthGrowthStrategy,
    ExtremaGrowthStrategy,
    FadeInStrategy,
    GradientAnalyzer,
    GraphAnalyzer,
    HebbianAnalyzer,
    HebbianGrowthStrategy,
    HomologicalAnalyzer,
    HybridGrowthStrategy,
    InformationFlowGrowthStrategy,
    LayerPerformanceAnalyzer,
    LotteryRewind,
    NetworkStatsAnalyzer,
    NeuronSplitStrategy,
    PruningGrowthStrategy,
    ReDo,
    ResidualBlockGrowthStrategy,
    RigL,
    SensitivityAnalyzer,
    ShortcutAnalyzer,
    SimpleInformationFlowAnalyzer,
    SkipConnectionGrowthStrategy,
    SparseEvolutionaryTraining,
    SparseMomentum,
    SplitAnalyzer,
    StandardExtremaAnalyzer,
    StandardNetworkTrainer,
    TopologicalAnalyzer,
    UtilityAnalyzer,
    WidthGrowthStrategy,
)
from structure_net.evolution.editing import carry_out
from structure_net.surgery import GradMax, SplitNeurons
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
    "ConnectionCandidateAnalyzer": (ConnectionCandidateAnalyzer(30), ()),
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
    "SplitAnalyzer": (SplitAnalyzer(), ()),
    "ShortcutAnalyzer": (ShortcutAnalyzer(), ()),
    "WidthGrowthStrategy": (WidthGrowthStrategy(initialiser=GradMax()), (GradientAnalyzer(),)),
    "DepthGrowthStrategy": (DepthGrowthStrategy(), (GradientAnalyzer(),)),
    "NeuronSplitStrategy": (NeuronSplitStrategy(), (SplitAnalyzer(),)),
    "FadeInStrategy": (FadeInStrategy(2), ()),
    "SkipConnectionGrowthStrategy": (SkipConnectionGrowthStrategy(), (ShortcutAnalyzer(),)),
    "HebbianGrowthStrategy": (HebbianGrowthStrategy(), (HebbianAnalyzer(),)),
}


def fading_context() -> NetworkContext:
    """The example one iteration behind a split whose copies begin without readers."""
    context = example_context()
    split = SplitNeurons("layers.1", (2, 5), noise=0.1, share=0.0)
    carry_out(context, [Proposal(split, "a test")], component="test")
    return replace(context, iteration=1)


CONTEXTS = {
    # It replaces units that lived for some steps.
    "ContinualBackprop": replace(
        example_context(), history=TrainingHistory([EpochRecord(1, 0, 100, {}, 0, 0)])
    ),
    "FadeInStrategy": fading_context(),
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
