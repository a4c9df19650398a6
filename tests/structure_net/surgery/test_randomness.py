"""Random number generators go on where they were."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from structure_net.errors import CheckpointError
from structure_net.surgery.randomness import random_states, restore_random_states


def draws() -> list[float]:
    return [torch.rand(()).item(), random.random(), float(np.random.rand())]  # noqa: NPY002


def test_global_generators_repeat_what_they_drew() -> None:
    states = random_states({})
    first = draws()
    restore_random_states(states, {})
    assert draws() == first


def test_capturing_draws_nothing() -> None:
    states = random_states({})
    first = draws()
    restore_random_states(states, {})
    random_states({})
    assert draws() == first


def test_generators_of_ones_own_repeat_what_they_drew() -> None:
    a, b, c = torch.Generator().manual_seed(1), np.random.default_rng(2), random.Random(3)

    def own() -> list[float]:
        return [torch.rand((), generator=a).item(), float(b.normal()), c.gauss(0, 1)]

    own()
    states = random_states({"a": a, "b": b, "c": c})
    first = own()
    restore_random_states(states, {"a": a, "b": b, "c": c})
    assert own() == first


def test_a_generator_that_was_not_saved_is_refused_before_anything_changes() -> None:
    states = random_states({"a": torch.Generator()})
    before = torch.get_rng_state()
    torch.rand(3)
    between = torch.get_rng_state()
    with pytest.raises(CheckpointError, match="No generator 'b' was saved; there are: a"):
        restore_random_states(states, {"a": torch.Generator(), "b": torch.Generator()})
    assert torch.equal(torch.get_rng_state(), between)
    assert not torch.equal(between, before)


def test_a_generator_of_another_kind_is_refused() -> None:
    states = random_states({"a": torch.Generator()})
    with pytest.raises(CheckpointError, match="'a' was saved as torch on cpu; got python"):
        restore_random_states(states, {"a": random.Random(0)})


def test_only_generators_are_taken() -> None:
    with pytest.raises(TypeError, match=r"'a' must be a torch.Generator.* got int"):
        random_states({"a": 3})  # type: ignore[dict-item]
