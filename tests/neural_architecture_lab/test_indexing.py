from __future__ import annotations

from pathlib import Path

import pytest

from neural_architecture_lab.indexing import SpoolIndex
from structure_net.errors import SpoolError
from structure_net.logging import Spool
from structure_net.logging.records import Evidence, Hypothesis, Resumed, Trial


def frozen(name: str) -> Hypothesis:
    return Hypothesis(hypothesis=name, name=name, question="?", prediction="!")


def trial(name: str, seed: int, status: str = "finished") -> Trial:
    return Trial(trial=f"{name}/{seed}", hypothesis=name, seed=seed, status=status)  # type: ignore[arg-type]


def numbers(index: SpoolIndex, kind: str, owner: str | None = None) -> list[int]:
    return [stored.seq for stored in index.records(kind, owner)]


def test_the_records_of_each_are_found_and_followed(tmp_path: Path) -> None:
    index = SpoolIndex(tmp_path)
    with Spool(tmp_path) as spool:
        for record in (frozen("a"), frozen("b"), trial("a", 0), trial("a", 1), trial("b", 0)):
            spool.append(record)
        assert numbers(index, "trial", "a") == [3, 4]
        assert numbers(index, "trial") == [3, 4, 5]
        assert numbers(index, "hypothesis") == [1, 2]
        for record in (trial("a", 2), Evidence(hypothesis="a", verdict="inconclusive")):
            spool.append(record)
        assert numbers(index, "trial", "a") == [3, 4, 6]
        assert numbers(index, "evidence", "a") == [7]
        assert numbers(index, "trial", "c") == []


def test_what_is_superseded_is_no_longer_found(tmp_path: Path) -> None:
    index = SpoolIndex(tmp_path)
    with Spool(tmp_path) as spool:
        for record in (frozen("a"), trial("a", 0), trial("a", 1)):
            spool.append(record)
        assert numbers(index, "trial", "a") == [2, 3]
        spool.append(Resumed(after=2))
        spool.append(trial("a", 2))
        assert numbers(index, "trial", "a") == [2, 5]


def test_where_there_is_no_spool_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(SpoolError):
        list(SpoolIndex(tmp_path).records("trial"))
