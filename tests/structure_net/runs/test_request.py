"""A request refuses what cannot be carried out, and architectures fit their data."""

from __future__ import annotations

import pytest

from structure_net.errors import RunError
from structure_net.runs import RunRequest, fitted_architecture


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"iterations": 0}, "iterations must be at least 1; got 0"),
        ({"epochs": -1}, "epochs must be at least 1; got -1"),
        ({"batch_size": 0}, "batch_size must be at least 1; got 0"),
        ({"seed": -1}, "seed must not be negative; got -1"),
        ({"density": 0.0}, r"density must be in \(0, 1\].*got 0.0"),
        ({"density": 1.5}, "got 1.5"),
        ({"learning_rate": float("nan")}, "learning_rate must be positive; got nan"),
        ({"learning_rate": 0.0}, "learning_rate must be positive; got 0.0"),
        ({"architecture": (64,)}, "at least two positive widths"),
        ({"architecture": (64, 0, 10)}, "got 64,0,10"),
    ],
)
def test_a_value_out_of_range_is_refused_with_the_value(
    values: dict[str, object], message: str
) -> None:
    with pytest.raises(RunError, match=message):
        RunRequest(**values)  # type: ignore[arg-type]


def test_a_pipeline_decides_about_its_own_epochs() -> None:
    assert RunRequest(epochs=None, learning_rate=None).total_epochs is None
    assert RunRequest(iterations=5, epochs=3).total_epochs == 15


def test_an_architecture_that_fits_is_taken_as_it_is() -> None:
    assert fitted_architecture((64, 20, 10), features=64, outputs=10) == (64, 20, 10)


@pytest.mark.parametrize(
    ("asked", "way_out"),
    [((60, 20, 10), "Write 64,20,10"), ((64, 20, 9), "Write 64,20,10")],
)
def test_an_architecture_that_does_not_fit_is_refused_with_the_one_that_does(
    asked: tuple[int, ...], way_out: str
) -> None:
    with pytest.raises(RunError, match=way_out):
        fitted_architecture(asked, features=64, outputs=10)


@pytest.mark.parametrize("features", [2, 64, 784, 3072])
def test_the_default_architecture_fits_the_data(features: int) -> None:
    widths = fitted_architecture(None, features=features, outputs=7)
    assert (widths[0], widths[-1]) == (features, 7)
