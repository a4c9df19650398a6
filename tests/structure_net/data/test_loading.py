"""What every data set promises, on those that are always there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from structure_net.data import Dataset, DatasetDescriptor, TensorSplit, load_dataset
from structure_net.errors import DatasetError

ALWAYS_THERE = ("digits", "parity:bits=6", "spirals:points=50,classes=3")


@pytest.fixture(scope="module", params=ALWAYS_THERE)
def dataset(request: pytest.FixtureRequest) -> Dataset:
    return load_dataset(request.param, seed=3)


def test_the_training_split_has_zero_mean_and_unit_deviation(dataset: Dataset) -> None:
    # Stored in float32: the mean of n values is zero to about eps, the deviation one likewise.
    if dataset.descriptor.scaling == "none":
        assert set(dataset.train.inputs.unique().tolist()) == {-1.0, 1.0}
        return
    inputs = dataset.train.inputs.double()
    assert abs(inputs.mean().item()) < 1e-6
    assert abs(inputs.std(correction=0).item() - 1) < 1e-6


def test_the_descriptor_says_how_to_undo_the_normalisation(dataset: Dataset) -> None:
    said = dataset.descriptor
    assert isinstance(said, DatasetDescriptor)
    raw = dataset.test.inputs.double() * said.deviation[0] + said.mean[0]
    again = load_dataset(dataset.name, seed=4)
    other = again.test.inputs.double() * again.descriptor.deviation[0] + again.descriptor.mean[0]
    torch.testing.assert_close(raw, other, rtol=0, atol=1e-5)


def test_the_test_split_is_the_same_for_every_seed(dataset: Dataset) -> None:
    again = load_dataset(dataset.name, seed=4)
    assert torch.equal(dataset.test.targets, again.test.targets)
    assert not torch.equal(dataset.validation.targets, again.validation.targets) or not torch.equal(
        dataset.validation.inputs, again.validation.inputs
    )


def test_the_same_arguments_give_the_same_tensors(dataset: Dataset) -> None:
    again = load_dataset(dataset.name, seed=3)
    for split in ("train", "validation", "test"):
        one, other = getattr(dataset, split), getattr(again, split)
        assert torch.equal(one.inputs, other.inputs)
        assert torch.equal(one.targets, other.targets)
    assert dataset.descriptor == again.descriptor


def test_inputs_are_float32_and_classes_int64(dataset: Dataset) -> None:
    assert dataset.train.inputs.dtype == torch.float32
    assert dataset.train.targets.dtype == torch.int64
    assert int(dataset.train.targets.max()) == dataset.outputs - 1 == len(dataset.classes) - 1


def test_the_descriptor_is_json(dataset: Dataset) -> None:
    said = json.loads(json.dumps(dataset.descriptor.as_dict()))
    assert said["sizes"]["train"] == len(dataset.train)
    assert said["name"] == dataset.name
    assert len(said["checksum"]) == 32


def test_flattening_makes_vectors_of_the_same_numbers(dataset: Dataset) -> None:
    flat = dataset.flattened()
    assert flat.input_shape == (dataset.train.inputs[0].numel(),)
    assert torch.equal(flat.test.inputs.flatten(), dataset.test.inputs.flatten())


def test_a_data_set_says_what_it_is_without_its_numbers(dataset: Dataset) -> None:
    assert len(repr(dataset)) < 500


def test_the_digits_are_those_of_scikit_learn() -> None:
    from sklearn.datasets import load_digits

    data = load_dataset("digits", validation_fraction=0.0)
    said = data.descriptor
    parts = torch.cat([data.train.inputs, data.test.inputs]).flatten(1).double()
    raw = (parts * said.deviation[0] + said.mean[0]).round().to(torch.int64)
    labels = torch.cat([data.train.targets, data.test.targets])
    bunch = load_digits()
    theirs = zip(bunch.data.astype(int).tolist(), bunch.target.tolist(), strict=True)
    assert sorted(zip(raw.tolist(), labels.tolist(), strict=True)) == sorted(theirs)
    assert len(data.validation) == 0


def test_parity_is_the_parity_of_the_ones() -> None:
    data = load_dataset("parity:bits=6")
    ones = (data.train.inputs > 0).sum(1)
    assert torch.equal(ones % 2, data.train.targets)
    assert sum(data.descriptor.sizes.values()) == 2**6


def test_parity_of_many_bits_is_a_sample_of_distinct_patterns() -> None:
    data = load_dataset("parity:bits=30,samples=500")
    parts = torch.cat([data.train.inputs, data.validation.inputs, data.test.inputs])
    assert len(parts) == 500
    assert len(parts.unique(dim=0)) == 500


def test_spirals_without_noise_are_spirals() -> None:
    data = load_dataset("spirals:noise=0.0,turns=1.5,classes=3,points=200")
    said = data.descriptor
    plane = data.train.inputs.double() * said.deviation[0] + said.mean[0]
    angle = torch.atan2(plane[:, 1], plane[:, 0])
    expected = 2 * torch.pi * (1.5 * plane.norm(dim=1) + data.train.targets / 3)
    # Coordinates are float32 and near the centre an angle amplifies their error by 1 / radius.
    gap = ((angle - expected + torch.pi) % (2 * torch.pi) - torch.pi) * plane.norm(dim=1)
    assert gap.abs().max() < 1e-5


@pytest.mark.parametrize(
    "name", ["parity:bits=1", "parity:bits=80", "spirals:classes=1", "spirals:noise=-1"]
)
def test_options_that_make_no_data_set_are_refused(name: str) -> None:
    with pytest.raises(DatasetError, match="needs"):
        load_dataset(name)


def test_a_fraction_that_leaves_nothing_to_train_on_is_refused() -> None:
    with pytest.raises(ValueError, match=r"must be in \[0, 1\)"):
        load_dataset("digits", validation_fraction=1.0)


def test_a_negative_seed_is_refused() -> None:
    with pytest.raises(ValueError, match="A seed must be 0 or more; got -1"):
        load_dataset("parity:bits=6", seed=-1)


def test_a_split_of_unequal_lengths_is_refused() -> None:
    with pytest.raises(ValueError, match="got 3 inputs and 2 targets"):
        TensorSplit(torch.zeros(3, 1), torch.zeros(2))


def test_a_folder_may_be_named_by_the_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("STRUCTURE_NET_DATA", str(tmp_path / "elsewhere"))
    with pytest.raises(DatasetError, match="elsewhere"):
        load_dataset("mnist")


def test_a_folder_that_is_named_goes_before_the_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("STRUCTURE_NET_DATA", str(tmp_path / "elsewhere"))
    with pytest.raises(DatasetError, match="here"):
        load_dataset("mnist", data_dir=tmp_path / "here")
