"""Attention: which of its layers show up, and what is seen of them."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from structure_net.evolution import Need, observe

EXACT = {"rtol": 1e-10, "atol": 1e-12}


class Attending(nn.Module):
    """One fused attention with a head that reads it."""

    def __init__(self, batch_first: bool) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2, batch_first=batch_first)
        self.head = nn.Linear(8, 3)

    def attended(self, x: Tensor) -> Tensor:
        out: Tensor = self.attention(x, x, x)[0]
        return out

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.attended(x))
        return out


@pytest.mark.parametrize("batch_first", [True, False])
def test_the_projection_behind_the_heads_of_a_fused_attention_is_a_layer(
    batch_first: bool,
) -> None:
    torch.manual_seed(0)
    network = Attending(batch_first).double().eval()
    x = torch.randn(*((4, 6) if batch_first else (6, 4)), 8, dtype=torch.float64)
    seen = observe(
        network,
        [(x, torch.arange(4))],
        needs=frozenset(Need),
        loss=lambda out, _: out.square().mean(),
        probe_size=4,
    )
    assert list(seen.layers) == ["attention.out_proj", "head"]
    layer = seen.layers["attention.out_proj"]
    values = network.attended(x)
    (gradient,) = torch.autograd.grad(network.head(values).square().mean(), values)
    effects = (gradient * values).sum(1 if batch_first else 0).detach() * 4
    torch.testing.assert_close(layer.mean, values.detach().mean((0, 1)), **EXACT)
    torch.testing.assert_close(layer.taylor, effects.abs().mean(0), **EXACT)
    assert layer.readers == ("head",)
    # What the heads hand to the projection is not seen.
    assert layer.input_mean is None
    assert seen.probe is not None
    rows = values.detach().mean(1 if batch_first else 0)[seen.probe.targets]
    torch.testing.assert_close(seen.probe.values["attention.out_proj"], rows, **EXACT)


class Spelled(nn.Module):
    """Attention with a projection each for queries, keys and values."""

    def __init__(self) -> None:
        super().__init__()
        self.q, self.k, self.v, self.o = (nn.Linear(8, 8) for _ in range(4))

    def heads(self, x: Tensor) -> Tensor:
        q, k, v = (p(x).unflatten(-1, (2, 4)).transpose(1, 2) for p in (self.q, self.k, self.v))
        return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.o(self.heads(x))
        return out


def test_the_heads_of_an_attention_that_is_spelled_out_are_the_inputs_of_its_last_layer() -> None:
    torch.manual_seed(0)
    network = Spelled().double().eval()
    x = torch.randn(5, 6, 8, dtype=torch.float64)
    layers = observe(network, [(x, torch.arange(5))]).layers
    assert list(layers) == ["q", "k", "v", "o"]
    with torch.no_grad():
        heads = network.heads(x).reshape(-1, 8)
    torch.testing.assert_close(layers["o"].input_mean, heads.mean(0), **EXACT)
    torch.testing.assert_close(layers["o"].input_second_moment, heads.square().mean(0), **EXACT)
    # Attention mixes positions, so that nobody reads the values one by one.
    assert layers["v"].readers == ()


def test_every_layer_of_a_transformer_is_observed_in_evaluation_mode() -> None:
    torch.manual_seed(0)
    encoder = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, activation="gelu")
    network = nn.TransformerEncoder(encoder, 2, enable_nested_tensor=False).train()
    seen = observe(network, [(torch.randn(3, 5, 8), torch.arange(3))])
    names = ("self_attn.out_proj", "linear1", "linear2")
    assert list(seen.layers) == [f"layers.{block}.{name}" for block in (0, 1) for name in names]
    assert seen.layers["layers.0.linear1"].slope is not None
