from __future__ import annotations

import pytest
import torch

from structure_net.core.layers import StandardSparseLayer
from structure_net.models import (
    create_minimal_network,
    create_multi_scale_network,
    minimal_density,
    multi_scale_widths,
)
from structure_net.surgery import load_checkpoint, save_checkpoint


@pytest.mark.parametrize("architecture", [[64, 32, 10], [7, 7], [3, 20, 5, 20, 2]])
def test_a_minimal_network_has_as_many_connections_as_the_wider_side_of_each_layer(
    architecture: list[int],
) -> None:
    network = create_minimal_network(architecture, seed=0)
    layers = [m for m in network.modules() if isinstance(m, StandardSparseLayer)]
    wider = [max(layer.in_channels, layer.out_channels) for layer in layers]
    assert [layer.connections for layer in layers] == wider


@pytest.mark.parametrize("seed", range(5))
def test_no_unit_of_a_minimal_network_is_idle(seed: int) -> None:
    for layer in create_minimal_network([40, 17, 23, 6], seed=seed).modules():
        if isinstance(layer, StandardSparseLayer):
            mask = layer.pattern.mask()
            assert mask.any(0).all()
            assert mask.any(1).all()


def test_the_minimal_density_of_a_layer_is_that_of_a_permutation() -> None:
    assert minimal_density([8, 8]) == 1 / 8
    assert minimal_density([4, 2, 4]) == (4 + 4) / (8 + 8)


def test_a_minimal_network_of_one_width_is_refused() -> None:
    with pytest.raises(ValueError, match=r"at least two positive whole numbers.*\[5\]"):
        minimal_density([5])
    with pytest.raises(ValueError, match="at least two"):
        create_minimal_network([5, 0])


def test_each_scale_is_coarser_by_the_same_factor() -> None:
    assert multi_scale_widths(1000, 1, 2) == (1000, 100, 10, 1)
    assert multi_scale_widths(16, 16, 3) == (16, 16, 16, 16, 16)
    assert multi_scale_widths(2, 32, 3) == (2, 4, 8, 16, 32)


def test_a_multi_scale_network_is_born_with_the_coarsest_structure() -> None:
    network = create_multi_scale_network(784, 10, scales=2, seed=0)
    assert network.architecture == [784, 183, 43, 10]
    assert network.get_network_stats()["total_connections"] == 784 + 183 + 43
    denser = create_multi_scale_network(784, 10, scales=2, density=0.05, seed=0)
    assert denser.get_network_stats()["density"] == pytest.approx(0.05, abs=1e-4)


def test_scales_without_room_are_refused() -> None:
    with pytest.raises(ValueError, match=r"5 scales do not fit between 4 inputs and 3 outputs"):
        create_multi_scale_network(4, 3, scales=5)
    with pytest.raises(ValueError, match="scales must be 1 or more; got 0"):
        multi_scale_widths(4, 3, 0)


def test_a_checkpoint_of_a_multi_scale_network_needs_no_program(tmp_path: object) -> None:
    network = create_multi_scale_network(20, 3, seed=1, activation="tanh")
    save_checkpoint(f"{tmp_path}/net.safetensors", network)
    again = load_checkpoint(f"{tmp_path}/net.safetensors").model
    inputs = torch.randn(4, 20, generator=torch.Generator().manual_seed(0))
    assert torch.equal(again(inputs), network(inputs))
