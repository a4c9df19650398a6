from __future__ import annotations

import pytest
import torch
from torch import nn

from structure_net.core import SparseConv2d, StandardSparseLayer, TemporaryPatchLayer
from structure_net.errors import SurgeryError

pytestmark = pytest.mark.usefixtures("either_storage")


def base() -> StandardSparseLayer:
    generator = torch.Generator().manual_seed(0)
    return StandardSparseLayer(8, 6, density=0.3, generator=generator).double()


def free(layer: StandardSparseLayer | SparseConv2d, count: int) -> torch.Tensor:
    return (~layer.pattern.mask()).nonzero()[:count]


def inputs() -> torch.Tensor:
    return torch.randn(5, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def test_trial_connections_start_without_moving_the_function() -> None:
    layer = base()
    torch.testing.assert_close(
        TemporaryPatchLayer(layer, free(layer, 4))(inputs()), layer(inputs())
    )


def test_trial_connections_learn_beside_the_layer() -> None:
    layer = base()
    patched = TemporaryPatchLayer(layer, free(layer, 4))
    before = layer.weight.detach().clone()
    training = torch.optim.Adam(patched.patch.parameters(), lr=0.1)
    first = patched(inputs()).square().mean()
    for _ in range(20):
        training.zero_grad()
        patched(inputs()).square().mean().backward()
        training.step()
    assert float(patched(inputs()).detach().square().mean()) < float(first.detach())
    assert torch.equal(layer.weight, before)
    assert bool(patched.patch.live_weights.detach().all())


def test_accepting_keeps_the_function_and_the_parameter() -> None:
    layer, weight = (made := base()), made.weight
    patched = TemporaryPatchLayer(layer, free(layer, 4), scale=1.0)
    count, outputs = len(layer.pattern), patched(inputs())
    accepted = patched.accept()
    assert accepted is layer
    assert layer.weight is weight
    assert len(layer.pattern) == count + 4
    torch.testing.assert_close(layer(inputs()), outputs, rtol=0, atol=1e-12)
    torch.testing.assert_close(patched(inputs()), outputs, rtol=0, atol=1e-12)


def test_removing_gives_the_layer_back_as_it_was() -> None:
    layer = base()
    outputs = layer(inputs())
    patched = TemporaryPatchLayer(layer, free(layer, 4), scale=1.0)
    assert not torch.equal(patched(inputs()), outputs)
    assert patched.remove() is layer
    assert torch.equal(layer(inputs()), outputs)
    assert torch.equal(patched(inputs()), outputs)


def test_a_convolution_s_kernels_can_be_on_trial() -> None:
    layer = SparseConv2d(3, 4, 3, padding=1, density=0.5).double()
    images = torch.randn(2, 3, 5, 5, dtype=torch.float64)
    patched = TemporaryPatchLayer(layer, free(layer, 2), scale=1.0)
    outputs = patched(images)
    torch.testing.assert_close(patched.accept()(images), outputs, rtol=0, atol=1e-12)
    assert patched.channel_dim == 1


def test_a_patched_network_s_function_is_kept_by_putting_the_layer_back() -> None:
    layer = base()
    model = nn.Sequential(TemporaryPatchLayer(layer, free(layer, 3), scale=0.5), nn.ReLU())
    outputs = model(inputs())
    assert isinstance(model[0], TemporaryPatchLayer)
    model[0] = model[0].accept()
    torch.testing.assert_close(model(inputs()), outputs, rtol=0, atol=1e-12)


def test_connections_that_exist_cannot_be_on_trial() -> None:
    layer = base()
    with pytest.raises(SurgeryError, match="is connected to input unit"):
        TemporaryPatchLayer(layer, layer.pattern.pairs[:1])


def test_inputs_whose_connections_would_double_are_not_merged() -> None:
    layer = base()
    row, column = (int(index) for index in layer.pattern.pairs[0])
    other = next(c for c in range(8) if (row, c) not in layer.pattern.pairs)
    patched = TemporaryPatchLayer(layer, [(row, other)])
    with pytest.raises(SurgeryError, match="on trial"):
        patched.merged([(column, other)])


def test_print_tells_how_many_are_on_trial() -> None:
    layer = base()
    assert "trial_connections=4" in repr(TemporaryPatchLayer(layer, free(layer, 4)))
