from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from structure_net.core import SparsePattern, TensorChange
from structure_net.core.storage import StoredLayer
from structure_net.testing import check_sparse_layer


class Sound(StoredLayer):
    """A user's own layer, which the variants below break in one place each."""

    channel_dim = -1

    def __init__(self, pattern: SparsePattern | None = None, *, bias: bool = True) -> None:
        pattern = pattern or SparsePattern.from_pairs([(0, 0), (0, 3), (1, 2), (2, 1)], (3, 4))
        super().__init__(pattern, (), bias=bias)
        self.reset_parameters(torch.Generator().manual_seed(0))

    def forward(self, inputs: Tensor) -> Tensor:
        return F.linear(inputs, self.dense_weight(), self.bias)

    def branch(self, pattern: SparsePattern) -> Sound:
        made = Sound(pattern, bias=False).to(self.weight)
        with torch.no_grad():
            made.weight.zero_()
        return made


class LeaksGradients(Sound):
    def dense_weight(self) -> Tensor:
        return self.weight


class ForgetsTheBias(Sound):
    def reindexed(
        self, dim: int, source: Sequence[int] | Tensor, **options: Any
    ) -> tuple[TensorChange, ...]:
        changes = super().reindexed(dim, source, **options)
        return tuple(change for change in changes if change.tensor != "bias")


class LosesState(Sound):
    def reindexed(
        self, dim: int, source: Sequence[int] | Tensor, **options: Any
    ) -> tuple[TensorChange, ...]:
        changes = super().reindexed(dim, source, **options)
        return tuple(replace(change, carry=torch.clone) for change in changes)


class Impure(Sound):
    def connected(self, pairs: Any, values: Tensor | None = None) -> tuple[TensorChange, ...]:
        changes = super().connected(pairs, values)
        with torch.no_grad():
            self.weight.mul_(2)
        return changes


class LoudInputs(Sound):
    def reindexed(
        self, dim: int, source: Sequence[int] | Tensor, **options: Any
    ) -> tuple[TensorChange, ...]:
        if options["new"] == "silent":
            options["new"] = "fresh"
        return super().reindexed(dim, source, **options)


class Unsorted(Sound):
    @property
    def live_weights(self) -> Tensor:
        return super().live_weights.flip(0)


def test_a_sound_layer_passes_and_is_left_as_it_is() -> None:
    layer = Sound()
    before = layer.weight.detach().clone()
    check_sparse_layer(layer)
    assert torch.equal(layer.weight, before)
    assert layer.weight.dtype == torch.float32


@pytest.mark.usefixtures("masked")
@pytest.mark.parametrize(
    ("broken", "told"),
    [
        (LeaksGradients, "off the pattern at 0"),
        (ForgetsTheBias, "must match the existing size"),
        (LosesState, "carry of weight must fit"),
        (Impure, "must not change the layer|must restore"),
        (LoudInputs, "silent inputs must change nothing"),
        (Unsorted, "pattern order"),
    ],
)
def test_a_broken_promise_is_found(broken: type[Sound], told: str) -> None:
    with pytest.raises((AssertionError, RuntimeError), match=told):
        check_sparse_layer(broken())
