from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from structure_net.core import SparseConv2d, StandardSparseLayer
from structure_net.core.weights import unit_weights


def impulse_response(layer: nn.Module, inputs: int, size: int) -> Tensor:
    """The sum over positions of what each output gives for a one at each input unit."""
    columns = []
    for unit in range(inputs):
        image = torch.zeros(1, inputs, size, size)
        image[0, unit, size // 2, size // 2] = 1.0
        columns.append(layer(image).sum((0, 2, 3)))
    return torch.stack(columns, 1).detach()


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(4, 6, 3, padding=2, bias=False),
        nn.Conv2d(4, 6, 3, padding=2, groups=2, bias=False),
        nn.Conv2d(4, 4, 3, padding=2, groups=4, bias=False),
        nn.ConvTranspose2d(4, 6, 3, bias=False),
        nn.ConvTranspose2d(4, 6, 3, groups=2, bias=False),
    ],
    ids=["dense", "grouped", "depthwise", "transposed", "transposed-grouped"],
)
def test_the_weights_are_what_each_input_unit_does_to_each_output(layer: nn.Module) -> None:
    found = unit_weights(layer)
    assert found is not None
    total = impulse_response(layer, 4, 7)
    assert found.flatten(2).sum(2).numpy() == pytest.approx(total.numpy(), abs=1e-5)


def test_linear_and_sparse_layers_give_their_dense_matrix() -> None:
    linear = nn.Linear(3, 2)
    assert torch.equal(unit_weights(linear), linear.weight)  # type: ignore[arg-type]
    sparse = StandardSparseLayer(5, 4, density=0.3)
    assert torch.equal(unit_weights(sparse), sparse.dense_weight())  # type: ignore[arg-type]
    kernel = unit_weights(SparseConv2d(2, 3, 3, density=0.5))
    assert kernel is not None
    assert kernel.shape == (3, 2, 3, 3)


def test_what_has_no_one_matrix_has_no_weights() -> None:
    assert unit_weights(nn.LSTM(3, 4)) is None
    assert unit_weights(nn.Embedding(3, 4)) is None
