from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import nn

from structure_net.core import StandardSparseLayer
from structure_net.core.sparsity import SparseLayer
from structure_net.core.statistics import sparse_layers
from structure_net.errors import StructureNetError
from structure_net.evolution import ComposableEvolutionSystem, NetworkContext
from structure_net.evolution.components import (
    ConnectionAnalyzer,
    ExtremaGrowthStrategy,
    HebbianGrowthStrategy,
    NeuronSplitStrategy,
    PruningGrowthStrategy,
    ReDo,
    RigL,
    SensitivityAnalyzer,
    SparseEvolutionaryTraining,
    SparseMomentum,
    StandardExtremaAnalyzer,
    WidthGrowthStrategy,
)
from structure_net.evolution.components.strategies.feasible import (
    editable_layers,
    sparse_layer,
    stands_at_frozen,
)
from structure_net.evolution.components.strategies.frozen import (
    check_layers_train,
    check_trains,
    frozen_layers,
    is_frozen,
    kept,
    kept_frozen,
    noted,
    told,
    touches_frozen,
    training_layers,
)
from structure_net.evolution.interfaces import EditingStrategy
from structure_net.graph import graph_of
from structure_net.surgery import AddNeurons
from structure_net.surgery.edits import AddConnections, ResetNeurons


def _network(*, density: float = 0.3) -> nn.Sequential:
    """Three sparse layers of 12, 10 and 4 units, of which the first is frozen."""
    draw = torch.Generator().manual_seed(0)
    widths = (8, 12, 10, 4)
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(widths):
        layers += [StandardSparseLayer(inputs, outputs, density=density, generator=draw), nn.ReLU()]
    network = nn.Sequential(*layers[:-1])
    sparse_layers(network)["0"].get_parameter("weight").requires_grad_(False)
    return network


def _context(network: nn.Module) -> NetworkContext:
    draw = torch.Generator().manual_seed(1)
    data = [
        (torch.randn(16, 8, generator=draw), torch.randint(4, (16,), generator=draw))
        for _ in range(2)
    ]
    return NetworkContext(network, data)


def _frozen_state(network: nn.Module) -> tuple[Any, torch.Tensor]:
    layer = sparse_layers(network)["0"]
    return layer.pattern, layer.live_weights.detach().clone()


@pytest.mark.parametrize(
    "strategy",
    [
        SparseEvolutionaryTraining(),
        RigL(),
        SparseMomentum(),
        PruningGrowthStrategy({"density": 0.1}),
        PruningGrowthStrategy({"density": 0.1}, regrowth=0.3),
        PruningGrowthStrategy({"density": 0.1}, score="fisher"),
        PruningGrowthStrategy({"density": 0.1}, score="synflow"),
    ],
    ids=["SET", "RigL", "SparseMomentum", "magnitude", "regrowth", "fisher", "synflow"],
)
def test_a_frozen_layer_keeps_its_weights_and_the_others_their_budget(
    strategy: EditingStrategy,
) -> None:
    network = _network()
    before = _frozen_state(network)
    counts = {name: layer.connections for name, layer in sparse_layers(network).items()}
    system = ComposableEvolutionSystem([ConnectionAnalyzer(), SensitivityAnalyzer(), strategy])
    after = system.evolve_network(_context(network), 1)
    pattern, weights = _frozen_state(after.network)
    assert pattern == before[0]
    assert torch.equal(weights, before[1])
    assert after.journal.edits
    left = {name: layer.connections for name, layer in sparse_layers(after.network).items()}
    trained = left["2"] + left["4"]
    # Of 160 places that train a tenth is left, or as many as there were.
    pruned = isinstance(strategy, PruningGrowthStrategy)
    assert trained == (16 if pruned else counts["2"] + counts["4"])
    if pruned:
        reason, lives = after.journal.edits[0].reason, counts["2"] + counts["4"]
        assert f"prune {lives - 16} of {lives} connections" in reason
        assert "frozen layers stay as they are: '0'" in reason


def test_synaptic_flow_goes_through_all_of_a_frozen_layer() -> None:
    """Pruned as if the frozen layer were none that could be: a plain one of the same weights."""
    network = _network(density=1.0)
    frozen = sparse_layers(network)["0"]
    plain = nn.Linear(8, 12, bias=False).requires_grad_(False)
    with torch.no_grad():
        frozen.get_parameter("weight").mul_(0.05)  # else it would hardly lose any
        plain.weight.copy_(frozen.dense_weight())
    other = nn.Sequential(plain, *list(network.children())[1:])
    system = ComposableEvolutionSystem([PruningGrowthStrategy({"density": 0.1}, score="synflow")])
    found, known = (
        sparse_layers(system.evolve_network(_context(one), 1).network) for one in (network, other)
    )
    assert all(found[name].pattern == known[name].pattern for name in ("2", "4"))


def test_frozen_layers_are_pruned_where_that_is_asked_for() -> None:
    network = _network()
    context = _context(network)
    strategy = PruningGrowthStrategy({"density": 0.1}, frozen=True, regrowth=0.5)
    after = ComposableEvolutionSystem([ConnectionAnalyzer(), strategy]).evolve_network(context, 1)
    left = sparse_layers(after.network)
    assert sum(layer.connections for layer in left.values()) == round(0.1 * (96 + 120 + 40))
    # Nothing comes anew where it could not learn.
    assert bool((left["0"].live_weights != 0).all())
    assert bool((left["2"].live_weights == 0).any())


def test_a_budget_that_frozen_layers_exceed_says_so() -> None:
    context = _context(_network())
    live = sparse_layers(context.network)["0"].connections
    with pytest.raises(StructureNetError, match=rf"\('0'; frozen=True .*\) with {live} of"):
        PruningGrowthStrategy({"parameters": 30}).propose(context, {})
    with pytest.raises(StructureNetError, match="frozen layers stay as they are"):
        PruningGrowthStrategy({"parameters": 30}, what="units").propose(context, {})


@pytest.mark.parametrize(
    "strategy",
    [
        SparseEvolutionaryTraining(),
        PruningGrowthStrategy({"density": 0.1}),
        PruningGrowthStrategy({"parameters": 30}),
        WidthGrowthStrategy("ranking"),
    ],
    ids=["SET", "density", "parameters", "width"],
)
def test_a_network_that_is_frozen_whole_is_refused(strategy: EditingStrategy) -> None:
    network = _network().requires_grad_(False)
    with pytest.raises(StructureNetError, match=r"is frozen .*Call requires_grad_\(True\)"):
        strategy.propose(_context(network), {"ranking": {"0": 1.0}})


def test_no_frozen_weight_is_widened_split_or_reset() -> None:
    """The first layer is frozen; the second's units are free."""
    context = _context(_network()).with_example()
    ranking = {"0": 2.0, "2": 1.0}
    (wider,) = WidthGrowthStrategy("ranking").propose(context, {"ranking": ranking})
    assert isinstance(wider.edit, AddNeurons)
    assert wider.edit.layer == "2"
    assert "passed over: 0 is frozen" in wider.reason
    scores = {"0": torch.ones(12), "2": torch.ones(10)}
    analysis = {"split_ranking": ranking, "split_gradient_scores": scores}
    split = NeuronSplitStrategy("gradient_based").propose(context, analysis)
    assert [getattr(one.edit, "layer", "") for one in split] == ["2"]
    dormant = {name: torch.zeros_like(one) for name, one in scores.items()}
    reset = ReDo().propose(context, {"extrema_dormancy": dormant})
    assert [type(one.edit) for one in reset] == [ResetNeurons]
    assert getattr(reset[0].edit, "layer", "") == "2"


def test_no_connection_is_made_in_a_frozen_layer() -> None:
    context = _context(_network(density=0.1)).with_example()
    offered = {"0": ((0, 0, 1.0),), "2": ((1, 1, 0.9),)}
    for proposal in HebbianGrowthStrategy(mismatch=None).propose(
        context, {"hebbian_unconnected": offered}
    ):
        assert proposal.edit == AddConnections("2", ((1, 1),))
    network = context.network
    with torch.no_grad():
        # Half of the units of the frozen layer are dead, so that the next one can hear the others.
        network.get_submodule("0").get_parameter("bias")[:6] = -100.0
        network.get_submodule("2").get_parameter("bias").fill_(-100.0)
    analyzer, strategy = StandardExtremaAnalyzer(), ExtremaGrowthStrategy()
    after = ComposableEvolutionSystem([analyzer, strategy]).evolve_network(context, 1)
    changed = {getattr(entry.edit, "layer", "") for entry in after.journal.edits}
    assert "2" in changed
    assert "0" not in changed


def test_what_a_frozen_weight_writes_or_reads_stands_still() -> None:
    network = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 3))
    context = NetworkContext(network, [(torch.ones(4, 4), torch.zeros(4).long())]).with_example()
    group = graph_of(network, context.example).editable["0"]
    assert not touches_frozen(network, group)
    for parameter in network[1].parameters():
        parameter.requires_grad_(False)
    network[0].bias.requires_grad_(False)
    assert not touches_frozen(network, group)
    assert frozen_layers(network) == ()
    assert not stands_at_frozen(context, "0")
    network[3].weight.requires_grad_(False)
    assert touches_frozen(network, group)
    assert stands_at_frozen(context, "0")
    assert editable_layers(context) == {}
    assert frozen_layers(network) == ("3",)
    assert PruningGrowthStrategy({"parameters": 60}, what="units", frozen=True).propose(context, {})


def test_a_layer_is_frozen_by_its_weight() -> None:
    network = _network()
    first, second = (network.get_submodule(name) for name in ("0", "2"))
    second.get_parameter("bias").requires_grad_(False)
    with torch.no_grad():
        assert is_frozen(first)
        assert not is_frozen(second)
    assert not is_frozen(nn.ReLU())
    assert is_frozen(nn.Conv2d(1, 1, 1).requires_grad_(False))
    assert list(training_layers(network)) == ["2", "4"]
    context = _context(network)
    assert sparse_layer(context, "0") is None
    assert isinstance(sparse_layer(context, "2"), SparseLayer)
    check_trains(network)
    check_trains(nn.ReLU())
    check_layers_train(network, "move")


def test_frozen_layers_are_told_in_words() -> None:
    assert told(["a"]) == "'a'"
    assert told(list("abcde")) == "'a', 'b', 'c' and 2 more"
    assert noted([]) == kept_frozen([]) == ""
    assert noted(["a"]) == " (frozen layers stay as they are: 'a')"
    assert kept(_network(), [], ["0", "4"]) == " and layers without a score do, too ('2')"
