from __future__ import annotations

import pytest
import torch

from structure_net.core import ACTIVATIONS, activation_gain, make_activation


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_every_name_has_a_module_and_a_gain(name: str) -> None:
    assert make_activation(name)(torch.ones(3)).shape == (3,)
    assert activation_gain(name) >= 1


def test_relu_s_gain_keeps_the_mean_square() -> None:
    """A ReLU halves the mean square of a symmetric signal; 5 standard errors of 10^6 samples."""
    signal = torch.randn(10**6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    kept = activation_gain("relu") ** 2 * make_activation("relu")(signal).square().mean()
    assert abs(float(kept) - 1) < 5 * 5**0.5 / 10**3


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(ValueError, match="got 'step'"):
        make_activation("step")
    with pytest.raises(ValueError, match="got 'step'"):
        activation_gain("step")
