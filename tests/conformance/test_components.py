from __future__ import annotations

import inspect
from dataclasses import replace
from types import ModuleType

import pytest

from structure_net.evolution import (
    Analyzer,
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
    HebbianAnalyzer,
    HebbianGrowthStrategy,
    HybridGrowthStrategy,
    InformationFlowGrowthStrategy,
    NeuronSplitStrategy,
    PruningGrowthStrategy,
    ReDo,
    ResidualBlockGrowthStrategy,
    RigL,
    SensitivityAnalyzer,
    ShortcutAnalyzer,
    SimpleInformationFlowAnalyzer,
    SkipConnectionGrowthStrategy,
    SparseMomentum,
    SplitAnalyzer,
    StandardExtremaAnalyzer,
    StandardNetworkTrainer,
    UtilityAnalyzer,
    WidthGrowthStrategy,
    analyzers,
    strategies,
    trainers,
)
from structure_net.evolution.editing import carry_out
from structure_net.surgery import GradMax, SplitNeurons
from structure_net.testing import check_component, example_context

BY_NAME = {
    name: kind
    for name in components.__all__
    if inspect.isclass(kind := getattr(components, name)) and issubclass(kind, Component)
}

# Those that need arguments, or analyzers in front of them; all others are made without.
GIVEN: dict[str, tuple[Component, tuple[Analyzer, ...]]] = {
    "ConnectionCandidateAnalyzer": (ConnectionCandidateAnalyzer(30), ()),
    "ContinualBackprop": (ContinualBackprop(0.5, 0), (UtilityAnalyzer(),)),
    "DepthGrowthStrategy": (DepthGrowthStrategy(), (GradientAnalyzer(),)),
    "ExtremaGrowthStrategy": (ExtremaGrowthStrategy(patch_size=3), (StandardExtremaAnalyzer(),)),
    "FadeInStrategy": (FadeInStrategy(2), ()),
    "HebbianGrowthStrategy": (HebbianGrowthStrategy(), (HebbianAnalyzer(),)),
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
    "NeuronSplitStrategy": (NeuronSplitStrategy(), (SplitAnalyzer(),)),
    "PruningGrowthStrategy": (
        PruningGrowthStrategy({"parameters": 120}, what="units", score="gradient"),
        (SensitivityAnalyzer(),),
    ),
    "ReDo": (ReDo(), (StandardExtremaAnalyzer(),)),
    "ResidualBlockGrowthStrategy": (
        ResidualBlockGrowthStrategy(),
        (SimpleInformationFlowAnalyzer(),),
    ),
    "RigL": (RigL(), (ConnectionAnalyzer(),)),
    "SkipConnectionGrowthStrategy": (SkipConnectionGrowthStrategy(), (ShortcutAnalyzer(),)),
    "SparseMomentum": (SparseMomentum(), (ConnectionAnalyzer(),)),
    "StandardNetworkTrainer": (StandardNetworkTrainer(epochs=2), ()),
    "WidthGrowthStrategy": (WidthGrowthStrategy(initialiser=GradMax()), (GradientAnalyzer(),)),
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


@pytest.mark.parametrize("name", sorted(BY_NAME))
def test_every_component_keeps_the_promises_of_its_role(name: str) -> None:
    component, lookers = GIVEN[name] if name in GIVEN else (BY_NAME[name](), ())
    check_component(component, lookers, CONTEXTS.get(name))


def test_a_strategy_that_adds_layers_keeps_the_promises_of_its_role() -> None:
    strategy = ExtremaGrowthStrategy(0.2, patch_size=3, add_layer_on_extrema=True)
    check_component(strategy, (StandardExtremaAnalyzer(),))


def test_all_that_is_given_belongs_to_a_component() -> None:
    assert set(GIVEN) <= set(BY_NAME)
    assert len(BY_NAME) > 30


@pytest.mark.parametrize(
    "folder", [analyzers, strategies, trainers], ids=lambda folder: folder.__name__
)
def test_what_a_folder_exports_stands_among_all_components(folder: ModuleType) -> None:
    kinds = [kind for name in folder.__all__ if inspect.isclass(kind := getattr(folder, name))]
    concrete = [
        kind for kind in kinds if issubclass(kind, Component) and not inspect.isabstract(kind)
    ]
    assert {kind.__name__ for kind in concrete} <= set(BY_NAME)


def test_every_analyzer_names_the_keys_that_it_provides() -> None:
    silent = [
        name for name, kind in BY_NAME.items() if issubclass(kind, Analyzer) and not kind.provides
    ]
    assert not silent
