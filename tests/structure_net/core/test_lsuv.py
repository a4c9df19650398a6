from __future__ import annotations

import pytest
import torch
from torch import nn

from structure_net.core import SparseConv2d, create_standard_network, lsuv_
from structure_net.errors import InitialisationError


def batch(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def variances(model: nn.Module, inputs: torch.Tensor, kinds: tuple[type, ...]) -> list[float]:
    found: list[float] = []
    handles = [
        module.register_forward_hook(lambda _m, _i, output: found.append(float(output.var())))
        for module in model.modules()
        if isinstance(module, kinds)
    ]
    with torch.no_grad():
        model(inputs)
    for handle in handles:
        handle.remove()
    return found


def convolutional() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3),
        nn.ReLU(),
        SparseConv2d(8, 6, 3, density=0.4, generator=torch.Generator().manual_seed(0)),
        nn.Tanh(),
        nn.Flatten(),
        nn.Linear(6 * 16, 5),
    ).double()


def test_every_layer_gets_unit_variance_on_the_batch() -> None:
    model, inputs = convolutional(), 7 * batch(16, 3, 8, 8)
    report = lsuv_(model, inputs, tolerance=0.01)
    assert [row.layer for row in report] == ["0", "2", "5"]
    assert all(row.converged for row in report)
    kinds = (nn.Conv2d, SparseConv2d, nn.Linear)
    assert variances(model, inputs, kinds) == pytest.approx([1, 1, 1], abs=0.01)


def test_a_layer_without_bias_needs_one_exact_step() -> None:
    model = nn.Linear(20, 10, bias=False).double()
    before = model.weight.detach().clone()
    (row,) = lsuv_(model, batch(50, 20), tolerance=1e-9)
    assert row.steps == 1
    assert row.factor == pytest.approx(row.before**-0.5, rel=1e-12)
    torch.testing.assert_close(model.weight.detach(), before * row.factor)


def test_sparse_networks_keep_their_pattern() -> None:
    model = create_standard_network([30, 20, 10, 4], 0.2, seed=0).double()
    patterns = [layer.pattern for layer in model.layers]
    report = lsuv_(model, batch(64, 30))
    assert all(row.converged for row in report)
    assert [layer.pattern for layer in model.layers] == patterns


def test_layers_within_the_tolerance_are_left_alone() -> None:
    model = convolutional()
    lsuv_(model, batch(16, 3, 8, 8))
    before = [parameter.detach().clone() for parameter in model.parameters()]
    assert all(row.steps == 0 for row in lsuv_(model, batch(16, 3, 8, 8)))
    for parameter, old in zip(model.parameters(), before, strict=True):
        assert torch.equal(parameter, old)


def test_orthogonal_weights_are_scaled_orthonormal_matrices() -> None:
    model = nn.Linear(12, 5).double()
    lsuv_(model, batch(40, 12), orthogonal=True, generator=torch.Generator().manual_seed(1))
    product = model.weight.detach() @ model.weight.detach().T
    scale = product.diagonal().mean()
    torch.testing.assert_close(product, scale * torch.eye(5, dtype=torch.float64))


def test_a_dominating_bias_is_reported_as_not_converged() -> None:
    model = nn.Linear(4, 3).double()
    with torch.no_grad():
        model.bias.copy_(torch.tensor([0.0, 10.0, 20.0]))
    (row,) = lsuv_(model, batch(30, 4))
    assert not row.converged
    assert row.steps == 10


def test_hooks_and_modes_are_as_before() -> None:
    model = nn.Sequential(nn.Linear(4, 3), nn.Dropout(0.9), nn.Linear(3, 2)).double()
    model[1].eval()
    lsuv_(model, (batch(30, 4),))
    assert model.training
    assert not model[1].training
    assert not any(module._forward_hooks for module in model.modules())


def test_inputs_may_be_named_and_layers_shared() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(4, 4)

        def forward(self, signal: torch.Tensor) -> torch.Tensor:
            return self.fc(input=self.fc(input=signal))

    (row,) = lsuv_(Twice().double(), {"signal": batch(30, 4)})
    assert row.layer == "fc"
    assert row.converged


def test_constant_or_broken_layers_are_refused_by_name_and_hooks_are_removed() -> None:
    model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)).double()
    with torch.no_grad():
        model[2].weight.zero_()
        model[2].bias.zero_()
    with pytest.raises(InitialisationError, match="layer '2' is constant"):
        lsuv_(model, batch(30, 4))
    with torch.no_grad():
        model[2].weight.fill_(float("nan"))
    with pytest.raises(InitialisationError, match="layer '2' has variance nan"):
        lsuv_(model, batch(30, 4))
    assert not any(module._forward_hooks for module in model.modules())
    with pytest.raises(ValueError, match="must be positive"):
        lsuv_(model, batch(30, 4), max_steps=0)
