"""The means of all layers are computed by one call, and are those of torch."""

from __future__ import annotations

import pickle
from array import array

import pytest
import torch
from torch import Tensor, nn

from structure_net.errors import StructureNetError
from structure_net.evolution import observe
from structure_net.evolution.reductions.mean_kernels import ROW, divide_sums
from structure_net.evolution.reductions.means import Means, Summed


def _sums(rows: int, units: int) -> Tensor:
    generator = torch.Generator().manual_seed(rows * units)
    return torch.randn(rows, units, generator=generator, dtype=torch.float64)


def _expected(outputs: Summed, inputs: Summed | None) -> list[Tensor]:
    one, other, count = outputs
    if other is None:
        found = [*(one[:4] / count), one[4], one[5]]
    else:
        extrema = torch.minimum(one[4], other[4]), torch.maximum(one[5], other[5])
        found = [*((one[:4] + other[:4]) / count), *extrema]
    if inputs is not None:
        total = inputs.one if inputs.other is None else inputs.one + inputs.other
        found += [*(total / inputs.values)]
    return found


@pytest.mark.parametrize("twice", [False, True])
def test_means_are_the_sums_over_the_number_of_values_bit_for_bit(twice: bool) -> None:
    layers = [
        (
            Summed(_sums(6, units), 7 * _sums(6, units) if twice else None, 37),
            Summed(_sums(2, units + 3), 3 * _sums(2, units + 3) if twice else None, 41)
            if units > 1
            else None,
        )
        for units in (1, 5, 70)
    ]
    means = Means()
    found = [means.add(*layer) for layer in layers]
    assert means.take() == 0
    for some, layer in zip(found, layers, strict=True):
        for one, expected in zip(some, _expected(*layer), strict=True):
            assert torch.equal(one, expected)


def test_sums_of_other_types_and_layouts_are_taken_in() -> None:
    sums = _sums(5, 6).t().float()
    means = Means()
    found = means.add(Summed(sums, sums, 8), None)
    assert means.take() == 0
    for one, expected in zip(found, _expected(Summed(sums.double(), None, 4), None), strict=True):
        assert torch.equal(one, expected)


def test_units_whose_mean_is_not_finite_are_counted() -> None:
    sums = _sums(6, 4)
    sums[0, 1], sums[0, 2], sums[1, 3] = torch.nan, -torch.inf, torch.nan
    means = Means()
    means.add(Summed(sums, None, 2), Summed(sums[:2], None, 2))
    means.add(Summed(_sums(6, 4), sums, 2), None)
    assert means.take() == 4


def test_layers_without_units_have_means_of_their_inputs() -> None:
    sums, means = _sums(2, 3), Means()
    found = means.add(Summed(_sums(6, 1)[:, :0], None, 2), Summed(sums, None, 2))
    assert means.take() == 0
    assert [len(one) for one in found] == [0] * 6 + [3] * 2
    assert torch.equal(torch.stack([*found[6:]]), sums / 2)


def test_a_kernel_divides_sums() -> None:
    one = torch.tensor([[6.0, 8.0], [1.0, -1.0], [4.0, 9.0]], dtype=torch.float64)
    found = torch.empty_like(one)
    table = array("q", (one.data_ptr(), 0, 2, 1, 2, 4, found.data_ptr()))
    assert len(table) == ROW
    assert divide_sums(table.buffer_info()[0], 1, 0.0) == 0
    assert found.tolist() == [[1.5, 2.0], [1.0, -1.0], [4.0, 9.0]]


def test_what_is_kept_of_one_layer_is_its_own() -> None:
    network = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 500))
    seen = observe(network, [(torch.ones(2, 3), torch.zeros(2))])
    first, last = seen.layers["0"], seen.layers["2"]
    assert first.input_second_moment is not None
    assert first.input_mean is not None
    # Six numbers of each unit, and two of each input.
    assert first.maximum.data_ptr() - first.mean.data_ptr() == 8 * 5 * 4
    assert first.input_second_moment.data_ptr() - first.input_mean.data_ptr() == 8 * 3
    assert first.mean.untyped_storage().nbytes() == 8 * 4
    assert pickle.loads(pickle.dumps(last)).mean.equal(last.mean)


def test_a_layer_with_units_that_are_not_finite_is_named_with_their_number() -> None:
    network = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 5))
    with torch.no_grad():
        network[2].weight[1:3] = torch.nan  # type: ignore[operator]  # of a module
    with pytest.raises(StructureNetError, match=r"2 of 5 units of '2' had activations"):
        observe(network, [(torch.ones(2, 3), torch.zeros(2))])
