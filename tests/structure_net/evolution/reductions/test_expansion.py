"""The moments of a place against a network that really has the new unit."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from structure_net.core import place_sums
from structure_net.core.expansion import PlaceMoments, best_update
from structure_net.core.layers import SparseConv2d, StandardSparseLayer
from structure_net.core.windows import Geometry, as_image, geometry_of, windows
from structure_net.evolution.reductions.expansion import PlaceSums
from structure_net.evolution.reductions.passing import Pass


def _drawn(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=_drawn(seed), dtype=torch.float64)


def _square(outputs: Tensor, targets: Tensor) -> Tensor:
    """Half the squared error, a mean over samples."""
    return (outputs - targets).square().sum() / (2 * len(outputs))


# Linear between the two layers, so that first order is exact.
NETWORKS: dict[str, tuple[Any, tuple[int, ...]]] = {
    "dense": (nn.Sequential(nn.Linear(5, 3), nn.Linear(3, 4)), (5,)),
    "tokens": (nn.Sequential(nn.Linear(5, 3, bias=False), nn.Linear(3, 4)), (6, 5)),
    "pointwise": (nn.Sequential(nn.Conv2d(2, 3, 1), nn.Conv2d(3, 4, 1)), (2, 5, 4)),
    "convolution": (
        nn.Sequential(nn.Conv2d(2, 3, 3, padding=1), nn.Conv2d(3, 4, (2, 3), padding=(0, 1))),
        (2, 5, 4),
    ),
    "strided": (
        nn.Sequential(nn.Conv2d(2, 3, 3, stride=2), nn.Conv2d(3, 4, 3, stride=2, padding=1)),
        (2, 13, 9),
    ),
    "one dimension": (
        nn.Sequential(nn.Conv1d(2, 3, 3, padding=1), nn.Conv1d(3, 4, 3, dilation=2)),
        (2, 9),
    ),
    "pooled": (
        nn.Sequential(nn.Conv2d(2, 3, 3), nn.AvgPool2d(2), nn.Conv2d(3, 4, 2)),
        (2, 8, 8),
    ),
}


def _data(network: nn.Module, shape: tuple[int, ...]) -> list[tuple[Tensor, Tensor]]:
    inputs = _normal(7, *shape)
    targets = torch.randn(network(inputs).shape, generator=_drawn(1), dtype=torch.float64)
    return [(inputs[:4], targets[:4]), (inputs[4:], targets[4:])]


def _place(network: nn.Module, data: Sequence[tuple[Tensor, Tensor]]) -> PlaceMoments:
    reduction = PlaceSums()
    passing = Pass(network, (reduction,))
    passing.run(data, _square)
    (moments,) = reduction.result(passing.readers)["0"]
    return moments


def _widened(network: Any, unit: Tensor, bias: float) -> Any:
    """The network with one more unit in its first layer, which nothing reads yet."""
    wider: Any = deepcopy(network)
    first, last = wider[0], wider[-1]
    first.weight = nn.Parameter(torch.cat([first.weight, unit.view(1, *first.weight.shape[1:])]))
    if first.bias is not None:
        first.bias = nn.Parameter(torch.cat([first.bias, first.bias.new_tensor([bias])]))
    last.weight = nn.Parameter(torch.cat([last.weight, torch.zeros_like(last.weight[:, :1])], 1))
    return wider


@pytest.mark.parametrize("name", NETWORKS)
def test_the_gradient_of_a_new_unit_s_readers_is_the_moment_times_the_unit(name: str) -> None:
    network, shape = NETWORKS[name]
    network = network.double()
    data = _data(network, shape)
    moments = _place(network, data)
    weight = network[0].weight
    unit = _normal(weight[0].numel() + 1, seed=2)
    wider = _widened(network, unit[:-1], float(unit[-1]))
    inputs, targets = (torch.cat(parts) for parts in zip(*data, strict=True))
    (gradient,) = torch.autograd.grad(_square(wider(inputs), targets), wider[-1].weight)
    new = gradient[:, -1].reshape(4, -1)
    predicted = moments.gradient @ (unit if moments.bias else unit[:-1])
    torch.testing.assert_close(predicted.T, new, atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_feature_gradient_is_that_of_the_reader_s_weights(name: str) -> None:
    network, shape = NETWORKS[name]
    network = network.double()
    data = _data(network, shape)
    moments = _place(network, data)
    reader = network[-1]
    inputs, targets = (torch.cat(parts) for parts in zip(*data, strict=True))
    loss = _square(network(inputs), targets)
    weight, bias = torch.autograd.grad(loss, (reader.weight, reader.bias))
    expected = torch.cat([weight.flatten(1), bias[:, None]], 1)
    torch.testing.assert_close(moments.feature_gradient, expected, atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_best_update_of_the_reader_is_that_of_least_squares(name: str) -> None:
    """So the features' second moment is right, too: one more step leaves no gradient."""
    network, shape = NETWORKS[name]
    network = deepcopy(network).double()
    data = _data(network, shape)
    update = best_update(_place(network, data), damping=0)
    reader = network[-1]
    with torch.no_grad():
        reader.weight += update[:, :-1].view_as(reader.weight)
        reader.bias += update[:, -1]
    left = _place(network, data).feature_gradient
    torch.testing.assert_close(left, torch.zeros_like(left), atol=1e-9, rtol=0)


@pytest.mark.parametrize("name", ["convolution", "strided", "one dimension", "tokens"])
def test_cross_moments_pair_features_with_what_stands_at_each_place_of_the_kernel(
    name: str,
) -> None:
    network, shape = NETWORKS[name]
    network = network.double()
    data = _data(network, shape)
    moments = _place(network, data)
    inputs = torch.cat([x for x, _ in data])
    first, reader = network[0], network[-1]
    seen = _seen(first, as_image(first, inputs))
    features = _seen(reader, as_image(reader, first(inputs)))
    geometry = geometry_of(reader)
    assert geometry is not None
    at = windows(geometry, seen).unflatten(1, (-1, geometry.size))
    cross = torch.einsum("nqhw,npkhw->kqp", features, at) / len(inputs)
    torch.testing.assert_close(moments.cross, cross, atol=1e-10, rtol=1e-10)


def _seen(layer: nn.Module, image: Tensor) -> Tensor:
    geometry = geometry_of(layer) or Geometry()
    found = windows(geometry, image)
    if getattr(layer, "bias", None) is None:
        return found
    return torch.cat([found, torch.ones_like(found[:, :1])], 1)


def test_moments_do_not_depend_on_how_samples_are_batched() -> None:
    network, shape = NETWORKS["convolution"]
    network = network.double()
    data = _data(network, shape)
    whole = [tuple(torch.cat(parts) for parts in zip(*data, strict=True))]
    one, two = _place(network, data), _place(network, whole)  # type: ignore[arg-type]
    assert (one.samples, one.positions) == (two.samples, two.positions) == (7, 16)
    for part in ("inputs", "features", "cross", "gradient", "feature_gradient", "curvature"):
        torch.testing.assert_close(getattr(one, part), getattr(two, part), atol=1e-12, rtol=1e-12)


def test_large_images_are_thinned_out_evenly(monkeypatch: pytest.MonkeyPatch) -> None:
    network, shape = NETWORKS["convolution"]
    network = network.double()
    data = _data(network, shape)
    monkeypatch.setattr(place_sums, "_MOST_ROWS", 2 * 20)
    few = _place(network, data)
    monkeypatch.undo()
    first, last = data[0][0][[0, 3]], data[1][0][[0, 2]]
    targets = [data[0][1][[0, 3]], data[1][1][[0, 2]]]
    chosen = _place(network, list(zip((first, last), targets, strict=True)))
    assert few.samples == 4
    torch.testing.assert_close(few.gradient, chosen.gradient, atol=1e-12, rtol=1e-12)


def _places(network: nn.Module, inputs: Tensor) -> dict[str, tuple[PlaceMoments, ...]]:
    reduction = PlaceSums()
    passing = Pass(network, (reduction,))
    passing.run([(inputs, torch.zeros(len(inputs)).long())], F.cross_entropy)
    return reduction.result(passing.readers)


def test_sparse_layers_are_places_like_any_other() -> None:
    network = nn.Sequential(
        SparseConv2d(2, 3, 3, density=0.5, generator=_drawn()),
        nn.ReLU(),
        nn.Conv2d(3, 4, 3),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        StandardSparseLayer(4, 3, density=0.5, generator=_drawn()),
        nn.ReLU(),
        nn.Linear(3, 2),
    )
    found = _places(network, torch.randn(4, 2, 8, 8, generator=_drawn()))
    assert {"0", "5"} <= set(found)
    assert found["0"][0].reader == "2"
    assert found["5"][0].gradient.shape == (1, 2, 5)


def test_what_has_no_one_matrix_is_no_place(monkeypatch: pytest.MonkeyPatch) -> None:
    grouped = nn.Sequential(
        nn.Conv2d(4, 4, 1, groups=2), nn.Conv2d(4, 2, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )
    assert not _places(grouped, torch.randn(3, 4, 2, 2, generator=_drawn()))
    shared = nn.Linear(3, 3)
    twice = nn.Sequential(shared, nn.ReLU(), shared, nn.ReLU(), nn.Linear(3, 2))
    assert not _places(twice, torch.randn(3, 3, generator=_drawn()))
    wide = nn.Sequential(nn.Linear(9, 3), nn.ReLU(), nn.Linear(3, 2))
    assert _places(wide, torch.randn(3, 9, generator=_drawn()))
    monkeypatch.setattr(place_sums, "MOST_ENTRIES", 80)
    assert not _places(wide, torch.randn(3, 9, generator=_drawn()))
