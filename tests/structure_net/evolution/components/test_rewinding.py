from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from structure_net.core import create_standard_network, sparse_layers
from structure_net.errors import StructureNetError
from structure_net.evolution import ComposableEvolutionSystem, NetworkContext, part_to_dict
from structure_net.evolution.components import (
    LotteryRewind,
    PruningGrowthStrategy,
    StandardNetworkTrainer,
)
from structure_net.surgery import save_checkpoint
from structure_net.testing import check_trainer, example_context


def _context(network: nn.Module) -> NetworkContext:
    draw = torch.Generator().manual_seed(0)
    data = [(torch.randn(16, 6, generator=draw), torch.randint(3, (16,), generator=draw))]
    return NetworkContext(network, data)


def _pruned(context: NetworkContext, strategy: PruningGrowthStrategy) -> NetworkContext:
    """Trained and then pruned."""
    system = ComposableEvolutionSystem([strategy, StandardNetworkTrainer(epochs=2)])
    return ComposableEvolutionSystem([strategy]).evolve_network(
        system.evolve_network(context, 1), 1
    )


def test_a_ticket_has_the_pattern_of_now_and_the_weights_of_birth() -> None:
    born = create_standard_network([6, 12, 8, 3], density=0.8, seed=3)
    pruned = _pruned(_context(born), PruningGrowthStrategy({"density": 0.3}, start=1))
    assert pruned.journal.edits
    moved = pruned.network.get_submodule("layers.0").live_weights.detach().clone()
    rewound = LotteryRewind().train(pruned)
    assert rewound.network is pruned.network
    assert not torch.equal(rewound.network.get_submodule("layers.0").live_weights, moved)
    for name, layer in sparse_layers(rewound.network).items():
        pattern, start = layer.pattern, sparse_layers(born)[name]
        wanted = start.dense_weight()[pattern.rows, pattern.columns]
        assert torch.equal(layer.live_weights, wanted)
        assert len(pattern) < len(start.pattern)
        assert torch.equal(layer.bias, start.bias)
    assert rewound.optimizer is not None
    assert not rewound.optimizer.state


def test_units_that_are_left_go_back_too() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        born = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))
    pruned = _pruned(
        _context(born), PruningGrowthStrategy({"parameters": 50}, what="units", start=1)
    )
    (edit,) = [entry.edit for entry in pruned.journal.edits]
    kept = [unit for unit in range(8) if unit not in edit.indices]
    rewound = LotteryRewind(born).train(pruned).network
    assert torch.equal(rewound.get_submodule("0").weight, born[0].weight[kept])
    assert torch.equal(rewound.get_submodule("2").weight, born[2].weight[:, kept])


def test_a_checkpoint_of_an_early_epoch_is_a_place_to_go_back_to(tmp_path: Path) -> None:
    born = create_standard_network([6, 12, 3], density=0.8, seed=3)
    early = ComposableEvolutionSystem([StandardNetworkTrainer(epochs=1)]).evolve_network(
        _context(born), 1
    )
    path = tmp_path / "early.safetensors"
    save_checkpoint(path, early.network)
    pruned = _pruned(early, PruningGrowthStrategy({"density": 0.3}, start=2))
    rewind = LotteryRewind(str(path))
    assert part_to_dict(rewind) == {"kind": "LotteryRewind", "birth": str(path)}
    network = rewind.train(pruned).network
    pattern = network.get_submodule("layers.0").pattern
    wanted = early.network.get_submodule("layers.0").dense_weight()[pattern.rows, pattern.columns]
    assert torch.equal(network.get_submodule("layers.0").live_weights, wanted)


def test_iterative_pruning_with_rewinding_trains_tickets() -> None:
    born = create_standard_network([6, 12, 3], density=1.0, seed=3)
    system = ComposableEvolutionSystem(
        [
            PruningGrowthStrategy({"density": 0.2}, start=1, end=5),
            LotteryRewind(),
            StandardNetworkTrainer(epochs=1),
        ]
    )
    context = system.evolve_network(_context(born), 7)
    # A fifth of 108 weights is 21.6: the nearest whole one, as `sparsify` has it.
    assert sum(layer.connections for layer in sparse_layers(context.network).values()) == 22
    check_trainer(LotteryRewind(), example_context())


def test_a_birth_that_is_not_known_is_refused() -> None:
    pruned = _context(nn.Linear(6, 3))
    with pytest.raises(StructureNetError, match="no recipe"):
        LotteryRewind().train(pruned)
    with pytest.raises(StructureNetError, match="does not lead"):
        LotteryRewind(nn.Linear(6, 4)).train(pruned)
