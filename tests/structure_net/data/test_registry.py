"""Names, options, and what a wrong one is answered with."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest
import torch

from structure_net.data import (
    DatasetRequest,
    RawDataset,
    TensorSplit,
    available_datasets,
    load_dataset,
    register_dataset,
    registry,
)
from structure_net.errors import DatasetError


@pytest.fixture
def rings(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(registry, "_REGISTRY", dict(registry._REGISTRY))

    def load(request: DatasetRequest) -> RawDataset:
        count = int(request.options["count"])
        angle = torch.linspace(0, 6, count)
        labels = torch.arange(count) % 2
        inputs = (1 + labels)[:, None] * torch.stack([angle.cos(), angle.sin()], 1)
        return RawDataset(
            TensorSplit(inputs, labels), None, "classification", ("in", "out"), "0" * 32
        )

    register_dataset("rings", load, options={"count": 100})
    return "rings"


def test_a_data_set_of_ones_own_is_loaded_by_name(rings: str) -> None:
    assert rings in available_datasets()
    assert sum(load_dataset(rings).descriptor.sizes.values()) == 100


def test_options_reach_the_loader(rings: str) -> None:
    assert sum(load_dataset(f"{rings}:count=60").descriptor.sizes.values()) == 60


def test_a_name_is_registered_once(rings: str) -> None:
    with pytest.raises(ValueError, match="registered already"):
        register_dataset(rings, lambda request: RawDataset(*[None] * 5))  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["", "My Data", "Rings", "a-b"])
def test_a_name_that_could_not_be_asked_for_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="lower-case letters"):
        register_dataset(name, lambda request: RawDataset(*[None] * 5))  # type: ignore[arg-type]


def test_the_built_in_data_sets_are_known() -> None:
    built_in = "california_housing cifar10 digits fashion_mnist mnist mnist1d parity spirals"
    assert set(built_in.split()) <= set(available_datasets())


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(DatasetError, match=r"no data set 'mnits'\. Did you mean 'mnist'"):
        load_dataset("mnits")


def test_an_unknown_option_is_answered_with_the_known_ones() -> None:
    with pytest.raises(DatasetError, match="no option 'bit'; its options: bits=10, samples=4096"):
        load_dataset("parity:bit=3")


def test_an_option_of_the_wrong_kind_is_refused() -> None:
    with pytest.raises(DatasetError, match="must be a whole number; got 'six'"):
        load_dataset("parity:bits=six")


@pytest.mark.parametrize("value", ["nan", "inf", "much"])
def test_an_option_must_be_finite(value: str) -> None:
    with pytest.raises(DatasetError, match=f"must be a finite number; got '{value}'"):
        load_dataset(f"spirals:noise={value}")


@pytest.mark.parametrize("name", ["mnits", "mnist", "cifar10", "mnist1d", "no.npz", "parity:x=1"])
def test_an_error_is_one_line(name: str) -> None:
    with pytest.raises(DatasetError) as error:
        load_dataset(name)
    assert "\n" not in str(error.value)


def test_another_text_of_a_loader_is_another_loader(rings: str) -> None:
    def load(request: DatasetRequest) -> RawDataset:
        raise NotImplementedError

    known = registry.find(rings)
    assert registry.made_by(known) != registry.made_by(replace(known, loader=load))
    assert registry.made_by(known) == registry.made_by(replace(known, version="2"))
    assert len(registry.made_by(registry.find("digits"))) == 1
    assert len(registry.made_by(replace(known, loader=partial(load)))) == 1
