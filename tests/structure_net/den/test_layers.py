"""Linear layers that grow in place."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from structure_net.den import ExpandableLinear
from structure_net.den.layers import DrawnIncoming, drawn, scheme_for


def layer(**options: object) -> ExpandableLinear:
    generator = torch.Generator().manual_seed(0)
    return ExpandableLinear(4, 3, generator=generator, **options).double()  # type: ignore[arg-type]


def test_new_outputs_leave_the_old_ones_as_they_were() -> None:
    grown, inputs = layer(), torch.randn(5, 4, dtype=torch.float64)
    before = grown(inputs)
    grown.expand_output(2)
    torch.testing.assert_close(grown(inputs)[:, :3], before, rtol=0, atol=1e-12)
    assert grown.out_features == 5
    assert bool((grown.weight[3:] != 0).all())
    assert not bool(grown.bias[3:].any())


def test_new_inputs_are_not_read_yet() -> None:
    grown = layer()
    inputs = torch.randn(5, 6, dtype=torch.float64)
    before = grown(inputs[:, :4])
    grown.expand_input(2)
    assert grown.in_features == 6
    torch.testing.assert_close(grown(inputs), before, rtol=0, atol=1e-12)


def test_parameters_stay_the_same_objects_and_keep_their_moments() -> None:
    grown = layer()
    weight = grown.weight
    optimizer = torch.optim.Adam(grown.parameters())
    grown(torch.ones(2, 4, dtype=torch.float64)).sum().backward()
    optimizer.step()
    moments = optimizer.state[weight]["exp_avg"].clone()
    grown.expand_output(2)
    optimizer.zero_grad()
    grown(torch.ones(2, 4, dtype=torch.float64)).sum().backward()
    optimizer.step()
    assert grown.weight is weight
    held = optimizer.state[weight]["exp_avg"]
    assert held.shape == (5, 4)
    # The gradient of each weight is the sum of two inputs of 1; the moment decays by 0.9.
    torch.testing.assert_close(held[:3], 0.9 * moments + 0.1 * 2, rtol=0, atol=1e-12)


def test_a_layer_without_bias_grows_as_well() -> None:
    grown = ExpandableLinear(4, 3, bias=False)
    grown.expand_output(1)
    assert grown.bias is None
    assert grown(torch.zeros(1, 4)).shape == (1, 4)


@pytest.mark.parametrize(("scheme", "variance"), [("kaiming", 2 / 300), ("xavier", 2 / 500)])
def test_weights_have_the_variance_of_their_scheme(scheme: str, variance: float) -> None:
    values = drawn((200, 300), scheme, torch.Generator().manual_seed(0))  # type: ignore[arg-type]
    # The standard error of a variance over 60,000 normal draws is variance * sqrt(2 / 60000).
    assert abs(float(values.var()) - variance) < 5 * variance * math.sqrt(2 / 60_000)


def test_what_saturates_on_both_sides_takes_xavier() -> None:
    assert scheme_for(nn.Tanh()) == "xavier"
    assert scheme_for(nn.ReLU()) == "kaiming"
    assert DrawnIncoming("xavier").preserves


@pytest.mark.parametrize("count", [0, -1])
def test_a_count_below_one_is_refused(count: int) -> None:
    with pytest.raises(ValueError, match="must be 1 or more"):
        layer().expand_output(count)
    with pytest.raises(ValueError, match="must be 1 or more"):
        layer().expand_input(count)


def test_an_unknown_scheme_and_a_broken_size_are_refused() -> None:
    with pytest.raises(ValueError, match="kaiming"):
        ExpandableLinear(4, 3, scheme="he")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="whole number"):
        ExpandableLinear(4, 3.0)  # type: ignore[arg-type]
