from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neural_architecture_lab.errors import HypothesisError
from neural_architecture_lab.experiments import ready_hypothesis
from neural_architecture_lab.experiments.evolving import settings_of, started
from neural_architecture_lab.experiments.widths import TOLERANCE, parameters_of, widths_of
from neural_architecture_lab.trials import Trial
from structure_net.core import network_stats

DEEP = {"shape": [1, 1, 1, 1], "as_large_as": [64]}


@given(
    st.integers(2, 4000),
    st.integers(1, 200),
    st.lists(st.integers(1, 5), min_size=1, max_size=6),
    st.integers(40, 400),
)
@settings(deadline=None)
def test_widths_have_the_shape_and_the_size_or_are_refused(
    inputs: int, outputs: int, shape: list[int], wide: int
) -> None:
    told = {"hidden": {"shape": shape, "as_large_as": [wide]}}
    try:
        found = widths_of(told, inputs, outputs)
    except HypothesisError:  # nothing comes within a hundredth
        return
    target = parameters_of([inputs, wide, outputs])
    assert abs(parameters_of([inputs, *found, outputs]) - target) <= TOLERANCE * target
    scale = sum(found) / sum(shape)
    # Each width lies within one unit of a common multiple of the shape.
    assert all(abs(w - scale * s) <= 1 + max(shape) for w, s in zip(found, shape, strict=True))


def test_widths_that_are_given_stay() -> None:
    assert widths_of({"hidden": [5, 3]}, 64, 10) == [5, 3]


def test_on_the_digits_four_layers_have_29_units() -> None:
    assert widths_of({"hidden": DEEP}, 64, 10) == [29] * 4


def test_the_parameters_are_those_of_the_network_with_its_shortcuts() -> None:
    for arm in ready_hypothesis("skip_connections").arms:
        told = settings_of(Trial("h", arm.name, 0, arm.settings))
        network = started(Trial("h", arm.name, 0, arm.settings), told, "cpu").network
        widths = [64, *widths_of(told, 64, 10), 10]
        stats = network_stats(network)
        assert stats["total_parameters"] == parameters_of(widths, told["shortcuts"])


@pytest.mark.parametrize(
    ("hidden", "said"),
    [
        ({"shape": [1]}, "a mapping with shape and as_large_as"),
        ({"shape": [0], "as_large_as": [4]}, "numbers above 0"),
        ({"shape": [1] * 8, "as_large_as": [1]}, "must agree within 1%"),
    ],
)
def test_what_cannot_be_is_refused(hidden: dict[str, list[int]], said: str) -> None:
    with pytest.raises(HypothesisError, match=said):
        widths_of({"hidden": hidden}, 64, 10)


def test_a_sparse_arm_must_give_its_widths() -> None:
    with pytest.raises(HypothesisError, match=r"density is 0\.5"):
        widths_of({"hidden": DEEP, "density": 0.5}, 64, 10)
