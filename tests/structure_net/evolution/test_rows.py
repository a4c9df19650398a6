"""A look at layers in a row says what a look at them one by one says, and places no hook."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from structure_net import create_standard_network
from structure_net.core.crossover import Storage, get_crossover, set_crossover
from structure_net.core.row_notes import Wanted
from structure_net.evolution import Need, observe
from structure_net.evolution.rows import Row, row_of
from tests.observations import compare, watched

NOTED = frozenset({Need.ACTIVATIONS, Need.PROBE})
BATCHES = (20, 13, 600, 20)
"""Their samples: more than are summed in single precision among them."""


class _Squaring(nn.Sequential):
    """No row: its forward is its own."""

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = super().forward(x * x)  # type: ignore[no-untyped-call]  # torch's
        return found


def _shared() -> nn.Module:
    layer = nn.Linear(6, 6)
    return nn.Sequential(nn.Flatten(), nn.Linear(12, 6), layer, nn.ReLU(), layer)


def _one_relu_twice() -> nn.Module:
    relu = nn.ReLU()
    return nn.Sequential(nn.Flatten(), nn.Linear(12, 9), relu, nn.Linear(9, 7), relu)


def _normalised() -> nn.Module:
    network = nn.Sequential(
        nn.Flatten(),
        nn.BatchNorm1d(12),
        nn.Linear(12, 9),
        nn.BatchNorm1d(9),
        nn.ReLU(inplace=True),
        nn.Dropout(0.5),
        nn.Linear(9, 40, bias=False),
        nn.BatchNorm1d(40),
        nn.Linear(40, 5),
        nn.Identity(),
        nn.ReLU(),
        nn.ReLU(inplace=True),
        nn.Linear(5, 3),
        nn.Dropout(0.5, inplace=True),
    )
    with torch.no_grad():
        network.train()(torch.randn(50, 12))
    return network


def _sparse(storage: Storage) -> nn.Module:
    before = get_crossover()
    set_crossover(storage)
    try:
        return create_standard_network([12, 9, 20, 3], density=0.5, seed=0)
    finally:
        set_crossover(before)


def _nested() -> nn.Module:
    first = nn.Sequential(nn.Flatten(), nn.Linear(12, 9), nn.ReLU())
    return nn.Sequential(first, nn.Sequential(nn.Sequential(nn.Linear(9, 33)), nn.ReLU()))


ROWS: dict[str, Callable[[], nn.Module]] = {
    "dense": lambda: nn.Sequential(
        nn.Flatten(), nn.Linear(12, 9), nn.ReLU(), nn.Linear(9, 150), nn.ReLU(), nn.Linear(150, 3)
    ),
    "bare": lambda: nn.Sequential(nn.Flatten(), nn.Linear(12, 9), nn.Linear(9, 3)),
    "normalised": _normalised,
    "nested": _nested,
    "one relu twice": _one_relu_twice,
    "live": lambda: _sparse("live"),
    "masked": lambda: _sparse("masked"),
    "live and dense": lambda: nn.Sequential(_sparse("live"), nn.ReLU(), nn.Linear(3, 5)),
    "single": lambda: nn.Sequential(nn.Flatten(), nn.Linear(12, 1)),
}
OTHERS: dict[str, Callable[[], nn.Module]] = {
    "shared layer": _shared,
    "own forward": lambda: _Squaring(nn.Linear(12, 3)),
    "tanh": lambda: nn.Sequential(nn.Linear(12, 9), nn.Tanh(), nn.Linear(9, 3)),
    "transposed": lambda: nn.Sequential(nn.ConvTranspose1d(1, 2, 3), nn.ReLU()),
    "positions into rows": lambda: nn.Sequential(nn.Conv1d(1, 2, 3), nn.Linear(4, 2)),
    "rows into positions": lambda: nn.Sequential(nn.Linear(4, 2), nn.Conv1d(1, 2, 3)),
    "pooled rows": lambda: nn.Sequential(nn.Linear(4, 2), nn.MaxPool1d(2)),
    "flattened in part": lambda: nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(2)),
    "indices": lambda: nn.Sequential(nn.Conv1d(1, 2, 3), nn.MaxPool1d(2, return_indices=True)),
    "channels last": lambda: nn.Sequential(nn.Conv2d(3, 2, 3)).to(
        memory_format=torch.channels_last
    ),
    "activation alone": lambda: nn.Sequential(nn.ReLU()),
    "flattened between": lambda: nn.Sequential(nn.Linear(12, 9), nn.Flatten(), nn.Linear(9, 3)),
    "layer": lambda: nn.Bilinear(3, 3, 3),
}


def _data(dtype: torch.dtype = torch.float32) -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(1)
    return [
        (
            torch.randn(count, 3, 4, generator=generator, dtype=dtype),
            torch.randint(3, (count,), generator=generator),
        )
        for count in BATCHES
    ]


def _made(kind: str, dtype: torch.dtype = torch.float32) -> nn.Module:
    torch.manual_seed(0)
    return ROWS[kind]().to(dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["single", "double"])
@pytest.mark.parametrize("kind", ROWS)
def test_what_is_noted_of_a_row_is_what_its_layers_tell(
    kind: str, dtype: torch.dtype, noted: list[int]
) -> None:
    network = _made(kind, dtype)
    found = observe(network, _data(dtype), needs=NOTED, probe_size=30)
    assert noted == list(BATCHES)
    expected = watched(network, _data(dtype), needs=NOTED, probe_size=30)
    assert noted == list(BATCHES)
    compare(found, expected)
    assert found.probe is not None
    assert found.probe.values.keys() == found.layers.keys()


@pytest.mark.parametrize("kind", ["single", "live and dense"])
def test_long_batches_are_noted_like_others(kind: str, noted: list[int]) -> None:
    generator, counts = torch.Generator().manual_seed(0), [9, 5000]
    data = [(torch.randn(one, 12, generator=generator), torch.zeros(one)) for one in counts]
    network = _made(kind)
    found = observe(network, data, needs=NOTED, probe_size=30)
    assert noted == counts
    compare(found, watched(network, data, needs=NOTED, probe_size=30))


def test_no_hook_is_placed_as_long_as_batches_are_noted(noted: list[int]) -> None:
    network, hooks = _made("dense"), []

    def batches() -> Iterator[tuple[Tensor, Tensor]]:
        for batch in _data():
            yield batch
            hooks.append(sum(len(one._forward_hooks) for one in network.modules()))

    observe(network, batches())
    assert noted == list(BATCHES)
    assert hooks == [0] * len(BATCHES)


@pytest.mark.parametrize("kind", ["dense", "live", "masked"])
def test_a_hook_that_comes_during_a_look_is_called_and_nothing_is_lost(
    kind: str, noted: list[int]
) -> None:
    network, called = _made(kind, torch.float64), []

    def batches() -> Iterator[tuple[Tensor, Tensor]]:
        yield from _data(torch.float64)[:2]
        network.register_forward_hook(lambda *_: called.append(1))
        yield from _data(torch.float64)[2:]

    found = observe(network, batches(), needs=NOTED, probe_size=30)
    assert noted == list(BATCHES[:2])
    assert len(called) == 2
    expected = observe(network, _data(torch.float64), needs=NOTED, probe_size=30)
    assert found.probe is not None
    assert expected.probe is not None
    for layer, one in found.layers.items():
        torch.testing.assert_close(one.mean, expected.layers[layer].mean, rtol=1e-10, atol=1e-12)
        assert one.readers == expected.layers[layer].readers
        assert one.count == expected.layers[layer].count
        assert torch.equal(found.probe.values[layer], expected.probe.values[layer])


@pytest.mark.parametrize("way", ["other data", "other parameters", "other bias"])
def test_weights_that_are_exchanged_during_a_look_are_those_that_count(
    way: str, noted: list[int]
) -> None:
    def batches(network: Any) -> Iterator[tuple[Tensor, Tensor]]:
        for number, batch in enumerate(_data()):
            layer = network.layers[number % 2]
            if number and way == "other data":
                layer.weight.data = 2 * layer.weight.data
            elif number and way == "other parameters":
                layer.weight = nn.Parameter(2 * layer.weight.detach())
            elif number:
                layer.bias = nn.Parameter(layer.bias.detach() + 1)
            yield batch

    network, other = _made("live"), _made("live")
    found = observe(network, batches(network), needs=NOTED, probe_size=30)
    assert noted == list(BATCHES)
    compare(found, watched(other, batches(other), needs=NOTED, probe_size=30))


@pytest.mark.parametrize("kind", OTHERS)
def test_what_is_no_row_iswatched(kind: str) -> None:
    network = OTHERS[kind]()
    assert row_of(network) is None


def test_a_row_knows_who_reads_whom() -> None:
    network = _made("normalised")
    row = row_of(network)
    assert isinstance(row, Row)
    assert row.readers == {"2": ("6",), "6": ("8",), "8": ("12",), "12": ()}
    assert [stage[1] is None for stage in row.known.stages] == [False, True, False, True]
    assert row.wanted == [
        Wanted(12, ends=False, rows=False),
        Wanted(9, ends=True, rows=True),
        Wanted(9, ends=False, rows=False),
        Wanted(40, ends=True, rows=True),
        Wanted(40, ends=False, rows=False),
        Wanted(5, ends=True, rows=True),
        Wanted(5, ends=False, rows=False),
        Wanted(3, ends=True, rows=True),
    ]


@pytest.mark.parametrize("inputs", [torch.zeros(2, 5), torch.zeros(2, 12).int(), "words"])
def test_a_row_does_not_begin_with_what_it_cannot_take(inputs: object) -> None:
    network = _made("dense")
    row = row_of(network)
    assert row is not None
    assert row.begin(torch.zeros(2, 12)) is not None
    assert row.begin(inputs) is None


def test_errors_of_a_row_are_those_of_its_modules() -> None:
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        observe(_made("dense"), [(torch.zeros(2, 5), torch.zeros(2).long())])


def test_a_row_is_left_as_it_was_in_training() -> None:
    network = _made("normalised").train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    observe(network, _data())
    assert all(one.training for one in network.modules())
    compare(dict(network.state_dict()), before)
