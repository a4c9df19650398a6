from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest

from neural_architecture_lab import LabError, Range
from neural_architecture_lab.errors import HypothesisError, SearchError, StoreError
from neural_architecture_lab.naming import check_name, id_of
from neural_architecture_lab.searching import Rungs, Search, Searched, Try, searched
from neural_architecture_lab.store import Archive, Store
from structure_net.logging import records
from tests.neural_architecture_lab.searching.searches import search


def test_an_id_is_the_name_in_lower_case() -> None:
    assert search(name="Rate & Width (2)").id == id_of("It", "Rate & Width (2)") == "rate_width_2"
    with pytest.raises(
        HypothesisError, match=r"It must be a text with a letter or a digit; got '\?'"
    ):
        check_name("It", "?")


def up_to(trial: Any, high: float) -> dict[str, float]:
    return {"x": trial.suggest_float("x", 0, high)}


def test_the_statement_says_what_is_searched_and_how() -> None:
    said = search(seeds=3, settings={"epochs": 2}, first=[{"x": 0.5}]).statement
    assert said["space"]["x"] == {"low": 0, "high": 1, "log": False, "whole": False}
    assert said["space"]["kind"] == ["a", "b"]
    assert (said["seeds"], said["settings"], said["first"]) == (3, {"epochs": 2}, [{"x": 0.5}])
    assert said["code"]["experiment"].endswith("searches.bowl")
    by_function = search(space=lambda trial: {"x": trial.suggest_float("x", 0, 1)}).statement
    assert len(by_function["space"]["source"]) == 64
    narrow, wide = (search(space=partial(up_to, high=high)).statement["space"] for high in (1, 2))
    assert narrow["source"] == wide["source"]
    assert narrow != wide


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "!"}, "A search's name must be a text"),
        ({"experiment": lambda trial, *, device: {}}, "is made inside a function"),
        ({"space": {}}, "space must name what may be chosen"),
        ({"space": {"x": [1]}}, "needs two levels or more"),
        ({"objectives": {"loss": "down"}}, "which direction is better"),
        ({"objectives": {}}, "which direction is better"),
        ({"settings": {"net": object()}}, "must be plain data"),
        ({"tries": 0}, "tries must be a whole number from 1 on; got 0"),
        ({"seeds": True}, "seeds must be a whole number from 1 on; got True"),
        ({"first": [{"y": 1}]}, "first names y=1, which is not in the space of 'Bowl'"),
        ({"first": [{"x": 2.0}]}, "first names x=2.0"),
        ({"first": [{"kind": "c"}]}, "first names kind='c'"),
        ({"rungs": Rungs("epochs", (1, 2))}, "rungs are where a pruner looks"),
        ({"pruner": object()}, "here is one seed only"),
        ({"pruner": object(), "objectives": {"a": "lower", "b": "lower"}}, "by one objective only"),
    ],
    ids=range(15),
)
def test_a_search_that_cannot_be_meant_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(LabError, match=message):
        search(**changes)


@pytest.mark.parametrize("levels", [(1,), (2, 1), (1, 1), (-1, 2), (0.5, 1)])
def test_rungs_ascend(levels: Any) -> None:
    with pytest.raises(SearchError, match="two whole numbers or more, ascending"):
        Rungs("epochs", levels)


def stored(folder: Path, made: Search, ends: list[tuple[str, tuple[float, ...]]]) -> Searched:
    with Store(folder) as store:
        store.begin(
            records.Search(
                search=made.id, name=made.name, objectives=dict(made.objectives), tries=made.tries
            )
        )
        for number, (status, values) in enumerate(ends):
            params = {"x": number / 10}
            store.note(
                records.Setting(
                    search=made.id, number=number, status="asked", params=params, settings=params
                )
            )
            if status != "asked":
                end = {"search": made.id, "number": number, "status": status, "values": values}
                store.note(records.Setting.model_validate(end))
    return searched(Archive(folder), made.id)


def test_the_best_is_what_none_beats(tmp_path: Path) -> None:
    ends = [("complete", (3.0,)), ("complete", (1.0,)), ("failed", ()), ("pruned", (0.5,))]
    found = stored(tmp_path, search(), [*ends, ("complete", (1.0,)), ("asked", ())])
    assert found.best == Try(1, {"x": 0.1}, {"x": 0.1}, "complete", (1.0,))
    assert [one.number for one in found.front] == [1, 4]
    assert [found.ended(state) for state in ("complete", "pruned", "failed", "asked")] == [
        3,
        1,
        1,
        1,
    ]


def test_several_objectives_have_a_front_and_no_best(tmp_path: Path) -> None:
    made = search(objectives={"loss": "lower", "accuracy": "higher"})
    ends: list[tuple[str, tuple[float, ...]]] = [
        ("complete", values) for values in [(1.0, 0.5), (2.0, 0.9), (2.0, 0.4)]
    ]
    found = stored(tmp_path, made, ends)
    assert [one.number for one in found.front] == [0, 1]
    with pytest.raises(SearchError, match="has several objectives, so that no setting is the best"):
        _ = found.best


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    found = stored(tmp_path, search(), [("failed", ())])
    with pytest.raises(SearchError, match="No setting of 'Bowl' was tried to its end"):
        _ = found.best
    with pytest.raises(StoreError, match=r"There is no search 'x' in .*; there are bowl"):
        searched(Archive(tmp_path), "x")


def test_a_range_is_a_factor_and_a_part_of_a_space() -> None:
    assert search(space={"x": Range(1, 8, whole=True)}).statement["space"]["x"]["whole"] is True
