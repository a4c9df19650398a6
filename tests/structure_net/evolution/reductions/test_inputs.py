from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from structure_net.evolution.reductions import InputCovariances, Pass
from structure_net.evolution.reductions import inputs as module


def covariances(network: nn.Module, *batches: Tensor) -> dict[str, Tensor]:
    reduction = InputCovariances()
    look = Pass(network, (reduction,))
    look.run([(batch, torch.zeros(len(batch))) for batch in batches], None)
    return reduction.result(look.readers)


def drawn(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_a_linear_layer_reads_its_inputs_at_every_position() -> None:
    inputs = drawn(30, 4, 5) + 1e6
    found = covariances(nn.Linear(5, 2).double(), inputs[:20], inputs[20:])
    expected = inputs.flatten(0, 1).T.cov(correction=0)
    # A mean of 1e6 leaves ten digits of the variance.
    assert found[""].numpy() == pytest.approx(expected.numpy(), abs=1e-9)


@pytest.mark.parametrize(
    "layer",
    [nn.Conv2d(3, 2, 3, padding=1, stride=2), nn.Conv2d(3, 2, (1, 2), dilation=2)],
    ids=["strided", "dilated"],
)
def test_a_convolution_reads_the_patches_of_its_kernel(layer: nn.Conv2d) -> None:
    inputs = drawn(20, 3, 6, 6)
    options = (layer.kernel_size, layer.dilation, layer.padding, layer.stride)
    patches = nn.functional.unfold(inputs, *options)  # type: ignore[arg-type]
    expected = patches.movedim(1, 2).flatten(0, 1).T.cov(correction=0)
    found = covariances(layer.double(), inputs)[""]
    assert found.numpy() == pytest.approx(expected.numpy(), abs=1e-10)


def test_layers_that_read_too_much_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    network = nn.Sequential(nn.Linear(6, 3), nn.Linear(3, 2)).double()
    assert set(covariances(network, drawn(9, 6))) == {"0", "1"}
    monkeypatch.setattr(module, "MOST_INPUTS", 5)
    assert set(covariances(network, drawn(9, 6))) == {"1"}
    assert covariances(nn.Conv2d(4, 4, 3, groups=2).double(), drawn(2, 4, 5, 5)) == {}


def test_of_large_images_some_samples_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    inputs = drawn(9, 2, 4, 4)
    monkeypatch.setattr(module, "MOST_ROWS", 48)
    found = covariances(nn.Conv2d(2, 3, 1).double(), inputs)[""]
    rows = inputs[[0, 4, 8]].movedim(1, -1).flatten(0, 2)
    assert found.numpy() == pytest.approx(rows.T.cov(correction=0).numpy(), abs=1e-12)
