"""Wrapped models are recognised, wherever the wrapper is."""

import warnings

import pytest
import torch
from torch import nn

from structure_net.core.wrapping import wrapped


class FSDPModule:
    """Has the name of the class that torch mixes into a sharded module."""


class Sharded(FSDPModule, nn.Linear):
    """As torch makes it of a linear layer."""


def scripted() -> nn.Module:
    with warnings.catch_warnings():  # torch deprecates it, and users have such models
        warnings.simplefilter("ignore", DeprecationWarning)
        return torch.jit.script(nn.Linear(2, 2))


@pytest.mark.parametrize(
    ("build", "way_out"),
    [
        (lambda: nn.DataParallel(nn.Linear(2, 2)), "pass `model.module`"),
        (lambda: Sharded(2, 2), "wrapped for several devices"),
        (lambda: nn.Sequential(Sharded(2, 2)), "The module '0' is wrapped"),
        (lambda: nn.Sequential(nn.DataParallel(nn.Linear(2, 2))), "edit the model before"),
        (scripted, "that it was made from"),
    ],
)
def test_a_wrapper_is_named_with_the_way_out(build: object, way_out: str) -> None:
    assert way_out in wrapped(build())


def test_plain_models_are_not_wrapped() -> None:
    assert wrapped(nn.Sequential(nn.Linear(2, 2), nn.LSTM(2, 3))) is None
