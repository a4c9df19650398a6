"""A look at convolutions in a row says what a look at them one by one says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from structure_net.evolution import Need, observe
from structure_net.evolution.rows import Row, row_of
from tests.observations import compare, watched

NOTED = frozenset({Need.ACTIVATIONS, Need.PROBE})
BATCHES = (20, 13, 600, 20)
"""Their samples: more than are summed in single precision among them."""


def _images(*, inplace: bool = False) -> nn.Module:
    network = nn.Sequential(
        nn.BatchNorm2d(3),
        nn.Conv2d(3, 5, 3, padding=1),
        nn.BatchNorm2d(5),
        nn.ReLU(inplace=inplace),
        nn.Dropout2d(0.5),
        nn.Conv2d(5, 40, 3, padding=1, bias=False),
        nn.MaxPool2d(2),
        nn.ReLU(inplace=inplace),
        nn.Conv2d(40, 6, 1),
        nn.Conv2d(6, 4, 3),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.ReLU(inplace=inplace),
        nn.Linear(16, 9),
        nn.ReLU(inplace=inplace),
        nn.Linear(9, 3),
    )
    with torch.no_grad():
        network.train()(torch.randn(50, 3, 11, 8))
    return network


def _pooled() -> nn.Module:
    return nn.Sequential(
        nn.AvgPool2d(2),
        nn.Conv2d(3, 4, 2),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Conv2d(4, 7, 1),
        nn.ReLU(),
        nn.Conv2d(7, 1, 1),
        nn.Flatten(),
    )


IMAGES: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "images": (_images, (3, 11, 8)),
    "in place": (lambda: _images(inplace=True), (3, 11, 8)),
    "pooled": (_pooled, (3, 4, 5)),
    "series": (
        lambda: nn.Sequential(nn.Conv1d(3, 5, 2), nn.BatchNorm1d(5), nn.ReLU(), nn.MaxPool1d(2)),
        (3, 9),
    ),
    "volumes": (
        lambda: nn.Sequential(nn.Conv3d(2, 3, 2), nn.ReLU(), nn.Conv3d(3, 2, 1)),
        (2, 3, 4, 3),
    ),
}


def _pictures(kind: str, dtype: torch.dtype) -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(1)
    return [
        (
            torch.randn(count, *IMAGES[kind][1], generator=generator, dtype=dtype),
            torch.randint(3, (count,), generator=generator),
        )
        for count in BATCHES
    ]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["single", "double"])
@pytest.mark.parametrize("kind", IMAGES)
def test_what_is_noted_of_convolutions_is_what_these_tell(
    kind: str, dtype: torch.dtype, noted: list[int]
) -> None:
    torch.manual_seed(0)
    network = IMAGES[kind][0]().to(dtype)
    options: dict[str, Any] = {"needs": NOTED, "probe_size": 30}
    found = observe(network, _pictures(kind, dtype), **options)
    assert noted == list(BATCHES)
    expected = watched(network, _pictures(kind, dtype), **options)
    assert noted == list(BATCHES)
    compare(found, expected)
    assert found.probe is not None
    assert found.probe.values.keys() == found.layers.keys()


@pytest.mark.parametrize("inplace", [False, True])
def test_the_inputs_of_a_row_are_not_written_to(inplace: bool) -> None:
    torch.manual_seed(0)
    network, inputs = _images(inplace=inplace).eval(), torch.randn(4, 3, 11, 8)
    before = inputs.clone()
    found = observe(network, [(inputs, torch.zeros(4))], needs=NOTED, probe_size=4)
    assert torch.equal(inputs, before)
    assert found.probe is not None
    with torch.no_grad():
        expected = network(inputs)
    # The sample is in an order of its own.
    assert torch.equal(found.probe.outputs.sort(0).values, expected.sort(0).values)


def test_images_that_lie_channels_last_arewatched(noted: list[int]) -> None:
    network = IMAGES["images"][0]()
    last = [
        (one.to(memory_format=torch.channels_last), other)
        for one, other in _pictures("images", torch.float32)
    ]
    compare(observe(network, last), watched(network, last))
    assert not noted


def test_a_row_of_convolutions_knows_who_reads_whom() -> None:
    network = _images()
    row = row_of(network)
    assert isinstance(row, Row)
    assert row.readers == {"1": ("5",), "5": ("8",), "8": ("9",), "9": (), "13": ("15",), "15": ()}
    assert [stage[1] is None for stage in row.known.stages] == [
        False,
        False,
        True,
        True,
        False,
        True,
    ]
    assert [call.axis for call in row.known.calls] == [-3, -3, -3, -3, -1, -1]


@pytest.mark.parametrize(
    "inputs", [torch.zeros(3, 4, 5), torch.zeros(2, 12), torch.zeros(2, 4, 4, 5)]
)
def test_a_row_does_not_begin_with_other_images(inputs: Tensor) -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 2), nn.ReLU())
    row = row_of(network)
    assert row is not None
    assert row.begin(torch.zeros(2, 3, 4, 5)) is not None
    assert row.begin(inputs) is None
