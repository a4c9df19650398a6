"""Which storage a sparse layer gets, by rule and by what steps cost here."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from structure_net.core import create_standard_network, crossover_costs, crossover_measuring
from structure_net.core.crossover import SMALL, get_crossover, set_crossover, storage_for
from structure_net.core.crossover_costs import costs_here, watching_measurement
from structure_net.core.layer_costs import LayerCosts

# A step costs 1 ms with 10,000 places stored densely; .1 ms, and .2 us for each weight, live.
SQUARES = ((1e4, 1e-3), (1e6, 1e-1))
COSTS = LayerCosts(SQUARES, ((1.0, 1e-9),), ((200.0, 1e-4, 2e-7), (2000.0, 1e-4, 2e-7)))
OTHERS = LayerCosts(((1.0, 1.0),), ((1.0, 1.0),), ((1.0, 1.0, 1.0),))


@pytest.fixture(autouse=True)
def unset(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("STRUCTURE_NET_STORAGE", raising=False)
    set_crossover(None)
    yield
    set_crossover(None)


@pytest.fixture
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The folder of a cache of this test alone, in which costs are measured at once."""
    monkeypatch.setenv("STRUCTURE_NET_CACHE", str(tmp_path))
    monkeypatch.setattr(crossover_measuring, "measured_costs", lambda: COSTS)
    return tmp_path / "crossover"


def told() -> tuple[list[bool], LayerCosts]:
    """What a listener hears while costs are asked for, and the costs."""
    heard: list[bool] = []
    with watching_measurement(heard.append):
        return heard, costs_here()


@pytest.mark.parametrize("storage", ["live", "masked"])
@pytest.mark.parametrize("shape", [(1, 1), (1000, 1000)], ids=str)
def test_a_storage_that_is_set_holds_for_every_layer(storage: str, shape: tuple[int, int]) -> None:
    set_crossover(storage)  # type: ignore[arg-type]  # one of its names
    assert {storage_for(shape, count) for count in (1, shape[0] * shape[1])} == {storage}
    assert storage_for(shape, 1, kernel=(3, 3)) == storage


def test_a_density_that_is_set_divides_the_layers() -> None:
    set_crossover(0.25)
    assert storage_for((100, 100), 2500) == "live"
    assert storage_for((100, 100), 2501) == "masked"


def test_a_convolution_has_a_density_of_its_own() -> None:
    assert storage_for((64, 64), 1024, kernel=(3, 3)) == "live"
    assert storage_for((64, 64), 1025, kernel=(3, 3)) == "masked"
    assert storage_for((64, 64), 1025, kernel=(3, 3), current="live") == "live"
    assert storage_for((64, 3), 1, kernel=(3, 3)) == "masked"


def test_the_environment_decides_where_nothing_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    assert get_crossover() == "auto"
    monkeypatch.setenv("STRUCTURE_NET_STORAGE", "0.5")
    assert get_crossover() == 0.5
    monkeypatch.setenv("STRUCTURE_NET_STORAGE", "masked")
    assert storage_for((1000, 1000), 1) == "masked"
    set_crossover("live")
    assert storage_for((1000, 1000), 1) == "live"


@pytest.mark.parametrize("value", ["dense", "1.5", "nan", "-1"])
def test_an_unknown_setting_is_refused(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    with pytest.raises(ValueError, match="must be live, masked, auto or a density"):
        set_crossover(value)  # type: ignore[arg-type]  # refused for that
    monkeypatch.setenv("STRUCTURE_NET_STORAGE", value)
    with pytest.raises(ValueError, match="STRUCTURE_NET_STORAGE must be"):
        storage_for((1000, 1000), 1)


@pytest.mark.usefixtures("cache")
@pytest.mark.parametrize("rule", ["auto", 0.25])
def test_a_layer_at_the_crossover_stays_as_it_is(rule: float) -> None:
    set_crossover(rule)
    shape = (100, 100)
    stays = [
        count
        for count in range(1, 10001, 50)
        if storage_for(shape, count, current="live") == "live"
        and storage_for(shape, count, current="masked") == "masked"
    ]
    assert stays
    for count in range(1, 10001, 50):
        current = storage_for(shape, count)
        assert storage_for(shape, count, current=current) == current or count in stays


@pytest.mark.usefixtures("cache")
def test_what_costs_less_is_chosen() -> None:
    # A tenth must be saved.
    assert storage_for((100, 100), 3990) == "live"
    assert storage_for((100, 100), 4010) == "masked"


def test_small_and_full_layers_ask_for_no_costs(cache: Path) -> None:
    assert storage_for((SMALL - 1, 1), 1) == "masked"
    assert storage_for((1000, 1000), 1_000_000) == "masked"
    assert not cache.exists()


@pytest.mark.usefixtures("cache")
def test_a_thin_layer_may_be_full_and_live() -> None:
    # 10 times 500 connections cost 1.1 ms, as a few dense places do, and those of 2 times 500 less.
    assert storage_for((2, 600), 1200) == "live"
    assert storage_for((10, 500), 5000) == "masked"


@pytest.mark.parametrize(("density", "storage"), [(0.05, "live"), (1.0, "masked")])
def test_a_thin_full_layer_of_a_network_is_stored_as_the_layer_in_front_of_it(
    density: float, storage: str, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    thin = LayerCosts(SQUARES, ((1.0, 1e-3),), ((1.0, 1e-5, 1e-8),))
    monkeypatch.setattr(crossover_measuring, "measured_costs", lambda: thin)
    network = create_standard_network([500, 300, 5], density=density, seed=0)
    assert network.layers[1].density == 1
    assert [layer.storage for layer in network.layers] == [storage, storage]
    assert cache.exists()


def test_costs_are_measured_once_for_a_machine_and_a_number_of_threads(cache: Path) -> None:
    assert told() == ([True, False], COSTS)
    assert told() == ([], COSTS)
    crossover_costs._known.clear()  # as in a new process
    assert told() == ([], COSTS)
    threads = torch.get_num_threads()
    torch.set_num_threads(threads + 1)
    try:
        assert told() == ([True, False], COSTS)
    finally:
        torch.set_num_threads(threads)
    assert len(list(cache.iterdir())) == 2


@pytest.mark.parametrize("text", ["", "{}", '{"costs": {"masked": [], "thin": [], "live": []}}'])
def test_a_damaged_cache_is_measured_again(cache: Path, text: str) -> None:
    told()
    next(cache.iterdir()).write_text(text)
    crossover_costs._known.clear()
    assert told() == ([True, False], COSTS)
    assert json.loads(next(cache.iterdir()).read_text())["costs"] == json.loads(
        json.dumps(COSTS.as_document())
    )


def test_what_another_process_wrote_meanwhile_holds(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told()
    written = next(cache.iterdir()).read_text()
    next(cache.iterdir()).unlink()
    crossover_costs._known.clear()

    def slowly() -> LayerCosts:
        crossover_costs._path().write_text(written)
        return OTHERS

    monkeypatch.setattr(crossover_measuring, "measured_costs", slowly)
    assert costs_here() == COSTS


def test_measuring_again_replaces_what_was_known(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told()
    monkeypatch.setattr(crossover_measuring, "measured_costs", lambda: OTHERS)
    assert crossover_costs.measure_again() == OTHERS
    crossover_costs._known.clear()
    assert costs_here() == OTHERS
    assert len(list(cache.iterdir())) == 1


def test_costs_are_those_of_the_points_and_linear_in_logarithms_between() -> None:
    assert COSTS.masked((100, 100)) == pytest.approx(1e-3)
    assert COSTS.masked((100, 1000)) == pytest.approx(1e-2)
    assert COSTS.masked((10, 10)) == pytest.approx(1e-3)
    assert COSTS.masked((1000, 10000)) == pytest.approx(1.0)
    assert COSTS.live((100, 100), 0) == pytest.approx(1e-4)
    assert COSTS.live((100, 100), 1000) == pytest.approx(3e-4)
    assert COSTS.live((2000, 2000), 0) == pytest.approx(2e-4)


def test_both_storages_cost_the_same_at_the_crossover() -> None:
    density = COSTS.crossover((100, 100))
    count = round(density * 10_000)
    assert COSTS.live((100, 100), count) == pytest.approx(COSTS.masked((100, 100)), rel=1e-3)
    live = ((20.0, 2.0, 1e-9),)
    assert LayerCosts(((100.0, 9.0),), ((20.0, 1.0),), live).crossover((10, 10)) == 1
    assert LayerCosts(((100.0, 1.0),), ((20.0, 1.0),), live).crossover((10, 10)) == 0


def test_a_thin_layer_costs_what_its_units_do() -> None:
    costs = LayerCosts(SQUARES, ((2000.0, 1e-2),), ((1.0, 1.0, 1.0),))
    assert costs.masked((10, 1990)) == pytest.approx(1e-2)
    assert costs.masked((1000, 1000)) == pytest.approx(1e-1)


@pytest.mark.parametrize(
    "points", [(), ((1.0, 0.0),), ((2.0, 1.0), (1.0, 1.0)), ((1.0,),), ((1.0, float("nan")),)]
)
def test_costs_without_sense_are_refused(points: tuple[tuple[float, ...], ...]) -> None:
    with pytest.raises(ValueError, match="Points must ascend"):
        LayerCosts(points, ((1.0, 1.0),), ((1.0, 1.0, 1.0),))


def test_the_steps_that_are_timed_train_a_layer() -> None:
    for step in (
        crossover_measuring.masked_step((20, 30), 0.5),
        crossover_measuring.masked_step((20, 30), 0.5, feature_major=True),
        crossover_measuring.live_step((20, 30), 0.5),
    ):
        step()
        step()


def test_measured_costs_tell_a_cheap_layer_from_an_expensive_one() -> None:
    costs = crossover_measuring.measured_costs()
    assert costs.masked((2048, 2048)) > costs.masked((64, 64))
    assert costs.live((1024, 1024), 500_000) > costs.live((1024, 1024), 5_000)
    assert LayerCosts.from_document(json.loads(json.dumps(costs.as_document()))) == costs
