"""What the homological analyzer reports of networks that lose directions on purpose."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from structure_net.errors import StructureNetError
from structure_net.evolution import (
    Analysis,
    ComposableEvolutionSystem,
    EditingStrategy,
    NetworkContext,
    observe,
)
from structure_net.evolution.components import HomologicalAnalyzer
from structure_net.evolution.components.analyzers import ChainBarcode, LayerDirections
from structure_net.evolution.components.analyzers.looking import linked
from structure_net.evolution.memory import AnalysisMemory
from structure_net.evolution.metrics import MapBarcode, Unavailable
from structure_net.surgery.edits import AddNeurons, Edit, InsertLayer, RemoveNeurons
from structure_net.testing import check_analyzer


def plain(activation: Callable[[], nn.Module] = nn.Tanh) -> nn.Sequential:
    torch.manual_seed(0)
    layers = [nn.Linear(10, 8), activation(), nn.Linear(8, 6), activation(), nn.Linear(6, 4)]
    return nn.Sequential(*layers)


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Linear(10, 4)
        self.inner = nn.Linear(4, 3)
        self.outer = nn.Linear(3, 4)
        self.head = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        return self.head(x + self.outer(self.inner(x).relu()))


def context(network: nn.Module, inputs: int = 10) -> NetworkContext:
    generator = torch.Generator().manual_seed(0)
    batches = [
        (torch.randn(16, inputs, generator=generator), torch.arange(16) % 2) for _ in range(2)
    ]
    return NetworkContext(network, batches, memory=AnalysisMemory())


def analysis(given: NetworkContext, **options: object) -> Analysis:
    return ComposableEvolutionSystem([HomologicalAnalyzer(**options)]).analyze(given)


def test_a_plain_network_is_one_chain_with_the_barcode_of_its_weights() -> None:
    (found,) = analysis(context(plain()))["homology_barcodes"]
    assert isinstance(found, ChainBarcode)
    assert found.layers == ("0", "2", "4")
    assert isinstance(found.barcode, MapBarcode)
    assert found.barcode.bars == {(0, 0): 2, (0, 1): 2, (0, 2): 2, (0, 3): 4}


def test_a_layer_of_low_rank_is_where_directions_end() -> None:
    network = plain()
    with torch.no_grad():
        network[2].weight[3:] = 0
    found = analysis(context(network))
    layer = found["homology_layers"]["2"]
    assert layer == LayerDirections(
        rank=3, unused=3, lost=0, isolated=2, arriving=8, narrowed=5
    )  # fmt: skip
    assert found["homology_layers"]["0"].lost == 5
    assert found["homology_ranking"] == {"2": 5 / 8, "0": 2 / 10}


def test_the_layer_that_gives_the_outputs_is_not_ranked() -> None:
    found = analysis(context(plain()))
    assert set(found["homology_layers"]) == {"0", "2", "4"}
    assert set(found["homology_ranking"]) == {"0", "2"}


def test_derivatives_count_what_activations_cut_off() -> None:
    network = plain(nn.ReLU)
    with torch.no_grad():
        network[0].bias[:5] = -100.0
    found = analysis(context(network))
    assert found["homology_layers"]["0"].rank == 8
    at_samples = found["homology_jacobians"]["0"]
    assert at_samples.rank <= 3
    assert at_samples.unused >= 5


def test_smooth_activations_cut_off_nothing() -> None:
    found = analysis(context(plain()))
    layers, at_samples = found["homology_layers"], found["homology_jacobians"]
    assert {name: one.rank for name, one in at_samples.items()} == {
        name: one.rank for name, one in layers.items()
    }


def test_a_tolerance_counts_what_hardly_passes_as_lost() -> None:
    network = plain()
    with torch.no_grad():
        network[0].weight[6:] *= 1e-3
    exact = analysis(context(network))["homology_layers"]["0"]
    coarse = analysis(context(network), tolerance=0.01)["homology_layers"]["0"]
    assert (exact.rank, coarse.rank) == (8, 6)


def test_a_residual_network_has_a_chain_inside_its_branch_and_triangles_from_its_skip() -> None:
    found = analysis(context(Residual()))
    assert [one.layers for one in found["homology_barcodes"]] == [("stem",), ("inner", "outer")]
    betti = found["homology_flag_betti"]
    assert betti[0] == 1
    assert len(betti) == 3


def test_the_flag_complex_of_a_plain_network_has_its_cycles() -> None:
    edges, vertices = 80 + 48 + 24, 28
    assert analysis(context(plain()))["homology_flag_betti"] == (1, edges - vertices + 1, 0)


def test_what_has_no_layered_graph_has_a_reason() -> None:
    wrapped = nn.DataParallel(plain())
    found = analysis(context(wrapped))
    for key in ("flag_betti", "path_betti"):
        assert "no layered graph" in found[f"homology_{key}"].reason
    for key in ("barcodes", "layers", "ranking"):
        assert len(found[f"homology_{key}"]) == 0


def test_analyzers_share_the_layered_graph_until_an_edit() -> None:
    given = context(plain())
    first = linked(given)
    assert linked(given) is first
    assert given.memory is not None
    given.memory.edited({"2"})
    assert linked(given) is not first


def test_path_homology_is_of_small_networks_only() -> None:
    small = nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 3))
    assert analysis(context(small, 3))["homology_path_betti"] == (1, 0, 8)
    wide = nn.Sequential(
        nn.Linear(10, 40), nn.ReLU(), nn.Linear(40, 40), nn.ReLU(), nn.Linear(40, 9)
    )
    missing = analysis(context(wide))["homology_path_betti"]
    assert isinstance(missing, Unavailable)
    assert "are the limit" in missing.reason


def test_convolutions_have_a_barcode_and_no_derivatives() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3))
    images = [(torch.randn(8, 1, 6, 6), torch.arange(8) % 3) for _ in range(2)]
    found = analysis(NetworkContext(network, images))
    (chain,) = found["homology_barcodes"]
    assert chain.barcode.bars == {(0, 2): 1, (1, 2): 2, (1, 1): 1}
    assert "one vector a sample" in found["homology_jacobians"]["0"].reason


def test_an_edit_of_one_layer_keeps_the_barcodes_of_other_chains() -> None:
    given, analyzer = context(Residual()), HomologicalAnalyzer()
    seen = observe(given.network, given.data_loader, needs=analyzer.needs, probe_size=8)
    given = replace(given, observation=seen)
    before = analyzer.analyze(given)["homology_barcodes"].get()
    assert given.memory is not None
    given.memory.edited({"stem"}, moved=())
    after = analyzer.analyze(given)["homology_barcodes"].get()
    assert after[1] is before[1]
    assert after[0] is not before[0]


class Once(EditingStrategy):
    """Proposes one edit."""

    def __init__(self, edit: Edit) -> None:
        self._edit = edit

    def propose(self, context: NetworkContext, analysis: Any) -> list[Edit]:
        return [self._edit]


@pytest.mark.parametrize(
    "edit",
    [
        AddNeurons("2", 2),
        RemoveNeurons("0", (1, 3)),
        InsertLayer("0"),
        InsertLayer("2"),
    ],
    ids=repr,
)
def test_what_is_remembered_over_an_edit_is_what_would_be_found_anew(edit: Edit) -> None:
    given = context(plain(nn.ReLU))
    system = ComposableEvolutionSystem([HomologicalAnalyzer(), Once(edit)])
    session = system.attach(given.network, data_loader=given.data_loader)
    first = session.analyze()
    before = first["homology_barcodes"]
    assert first["homology_jacobians"]
    session.iterate()
    found = session.analyze()
    anew = analysis(replace(session.context, memory=None, observation=None))
    assert found["homology_barcodes"] == anew["homology_barcodes"]
    assert found["homology_barcodes"] != before
    assert found["homology_jacobians"] == anew["homology_jacobians"]


def test_an_edit_behind_a_segment_does_not_decompose_it_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given = context(plain())
    system = ComposableEvolutionSystem([HomologicalAnalyzer(), Once(AddNeurons("2", 2))])
    session = system.attach(given.network, data_loader=given.data_loader)
    assert session.analyze()["homology_jacobians"]
    session.iterate()
    shapes, svd = [], torch.linalg.svd
    monkeypatch.setattr(
        torch.linalg, "svd", lambda one, **rest: (shapes.append(one.shape), svd(one, **rest))[1]
    )
    assert session.analyze()["homology_jacobians"]
    assert shapes
    assert (8, 10) not in shapes  # the first layer's map


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"probe_size": 0}, "probe_size must be 1 or more"),
        ({"dimension": 0}, "dimension must be 1 or more"),
        ({"tolerance": 1.0}, "between 0 and 1"),
    ],
)
def test_arguments_out_of_range_are_refused(options, message) -> None:
    with pytest.raises(ValueError, match=message):
        HomologicalAnalyzer(**options)


def test_without_an_observation_it_says_who_makes_one() -> None:
    with pytest.raises(StructureNetError, match="ComposableEvolutionSystem"):
        HomologicalAnalyzer().analyze(context(plain()))


def test_it_keeps_the_promises_of_an_analyzer_with_its_prefix() -> None:
    check_analyzer(HomologicalAnalyzer(), prefix="homology_")
