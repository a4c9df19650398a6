"""The index of experiments: exact filters, one writer, the same answers from both engines."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.ordinary import others
from benchmarks.planted import cases
from structure_net.errors import SearchError
from structure_net.logging.search import (
    ExperimentFacts,
    ExperimentIndex,
    Found,
    Question,
    accuracy_of,
    fields_of,
    parse_where,
)

ROOT = Path(__file__).resolve().parents[3]
WHERES = (
    {"density": {"<": 0.1}},
    {"dataset": "mnist", "depth": {">=": 4}},
    {"dataset": {"in": ["mnist", "digits"]}, "test_accuracy": {">": 0.8, "<=": 0.9}},
    {"test_accuracy": {"!=": 0.5}},
    {"model": {"!=": "MLP"}, "seed": {"in": [1, 2, 3]}},
    {"edits.SplitNeurons": {">": 0}},
)


@pytest.fixture(scope="module")
def facts() -> tuple[ExperimentFacts, ...]:
    return tuple(others(600))


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory, facts: tuple[ExperimentFacts, ...]) -> Path:
    folder = tmp_path_factory.mktemp("index")
    with ExperimentIndex(folder, engine="numpy") as index:
        assert index.add(*facts) == tuple(one.name for one in facts)
    return folder


@pytest.mark.parametrize("asked", ["first", "second"])
def test_each_question_finds_the_experiment_that_it_means_first(
    tmp_path: Path, facts: tuple[ExperimentFacts, ...], asked: str
) -> None:
    planted = cases("simple", asked)
    with ExperimentIndex(tmp_path, engine="numpy") as index:
        index.add(*facts)
        for case in planted:  # one by one: two of them never learned anything
            index.add(case.facts)
            assert index.find(case.question, n=1)[0].name == case.facts.name, case.question
            index.remove(case.facts.name)


def plainly(fields: dict[str, object], where: dict[str, object]) -> bool:
    """Whether the filter holds, said once more in Python."""
    compare = {
        "<": lambda a, b: a is not None and a < b,
        "<=": lambda a, b: a is not None and a <= b,
        ">": lambda a, b: a is not None and a > b,
        ">=": lambda a, b: a is not None and a >= b,
        "=": lambda a, b: a == b,
        "!=": lambda a, b: a != b,
        "in": lambda a, b: a in b,
    }
    return all(
        compare[sign](fields.get(name), want)
        for name, condition in where.items()
        for sign, want in (condition if isinstance(condition, dict) else {"=": condition}).items()
    )


@pytest.mark.parametrize("where", WHERES, ids=str)
@pytest.mark.parametrize("text", ["", "sparse nets that plateaued early"])
def test_filters_are_exact(
    index: Path, facts: tuple[ExperimentFacts, ...], where: dict[str, object], text: str
) -> None:
    with ExperimentIndex(index, engine="numpy") as opened:
        found = {one.name for one in opened.find(text, where=where, n=len(facts))}
    assert found == {one.name for one in facts if plainly(fields_of(one), where)}
    assert 0 < len(found) < len(facts) or where == WHERES[3]


def test_filters_of_whole_numbers_tell_neighbours_apart(tmp_path: Path) -> None:
    seeds = (2**62, 2**62 + 1, 2**53, 2**53 + 1)
    with ExperimentIndex(tmp_path) as index:
        index.add(*(ExperimentFacts(name=str(seed), seed=seed) for seed in seeds))
        for seed in seeds:
            assert [one.name for one in index.find(where={"seed": seed})] == [str(seed)]
        assert len(index.find(where={"seed": {">": 2**53}})) == 3


def test_tags_match_if_one_of_them_does(tmp_path: Path) -> None:
    with ExperimentIndex(tmp_path) as index:
        index.add(
            ExperimentFacts(name="a", tags=("x", "y")), ExperimentFacts(name="b", tags=("z",))
        )
        assert [one.name for one in index.find(where={"tags": "y"})] == ["a"]
        assert [one.name for one in index.find(where={"tags": {"!=": "y"}})] == ["b"]


def test_typed_filters_are_read_as_they_are_meant() -> None:
    assert parse_where(["density<0.05", "dataset = mnist", "seed in 1,2", "finite=true"]) == {
        "density": {"<": 0.05},
        "dataset": {"=": "mnist"},
        "seed": {"in": [1, 2]},
        "finite": {"=": True},
    }
    assert parse_where(["a>=1", "a<2e3"]) == {"a": {">=": 1, "<": 2000.0}}
    for text in ("density", "<3", "a<"):
        with pytest.raises(SearchError, match="FIELD OPERATOR VALUE"):
            parse_where([text])
    with pytest.raises(SearchError, match="same operator"):
        parse_where(["a<1", "a<2"])


def test_what_cannot_be_asked_is_refused_in_words(index: Path) -> None:
    with ExperimentIndex(index, engine="numpy") as opened:
        for where, said in [
            ({"densty": 1}, "Did you mean 'density'"),
            ({"density": {"~": 1}}, "Operators are"),
            ({"density": {"<": None}}, "needs a number or text"),
            ({"density": {"in": "abc"}}, "needs a list"),
            ({"density": {"<": "abc"}}, "'density' is a number; it cannot be compared with 'abc'"),
            ({"seed": "one"}, "'seed' is a number"),
            ({"seed": {"in": [1, "two"]}}, "'seed' is a number"),
        ]:
            with pytest.raises(SearchError, match=said):
                opened.find(where=where)
        with pytest.raises(SearchError, match="No word of 'xyzzy qwrt' says anything"):
            opened.find("xyzzy qwrt")
        with pytest.raises(ValueError, match="n must be at least 1"):
            opened.find("sparse", n=0)
        with pytest.raises(SearchError, match="is no run"):
            opened.similar(index / "nothing")
    with pytest.raises(ValueError, match="engine must be"):
        ExperimentIndex(index, engine="faiss")  # type: ignore[arg-type]  # what is refused
    with pytest.raises(SearchError, match="must have a name"):
        ExperimentFacts(name="")


def test_a_question_tells_what_it_understood(index: Path) -> None:
    with ExperimentIndex(index, engine="numpy") as opened:
        asked = opened.asked("sparse MNIST nets, never plateaued, not regression, blorp")
    assert isinstance(asked, Question)
    assert asked.traits["sparse"] > 0 > asked.traits["regression"]
    assert "improving" in asked.traits
    assert {"mnist", "dataset=mnist"} <= set(asked.words)
    assert asked.unknown == ("blorp",)
    assert math.isclose(float(asked.weights.sum()), 1.0)
    assert "not regression" in asked.told


def test_misspelt_words_are_taken_for_their_neighbours(index: Path) -> None:
    with ExperimentIndex(index, engine="numpy") as opened:
        assert "california" in opened.asked("californa housing").words


def test_the_likest_experiment_is_its_twin_and_never_itself(tmp_path: Path) -> None:
    plain = list(others(80))
    twin = ExperimentFacts.from_json(plain[7].to_json().replace(plain[7].name, "runs/twin"))
    with ExperimentIndex(tmp_path) as index:
        index.add(*plain, twin)
        found = index.similar(plain[7].name, n=5)
        assert isinstance(found[0], Found)
        assert (found[0].name, found[0].score) == ("runs/twin", 1.0)
        assert found[0].facts == twin
        assert plain[7].name not in {one.name for one in found}
        assert [one.score for one in found] == sorted((o.score for o in found), reverse=True)
        limited = index.similar(plain[7], where={"dataset": {"!=": plain[7].dataset}}, n=80)
        assert {one.facts.dataset for one in limited} == {f.dataset for f in plain} - {
            plain[7].dataset
        }


def test_an_experiment_that_is_added_again_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    with ExperimentIndex(tmp_path) as index:
        index.add(ExperimentFacts(name="a", dataset="mnist"), ExperimentFacts(name="b"))
        index.add(ExperimentFacts(name="a", dataset="digits"))
        assert sorted(index.names) == ["a", "b"]
        assert [one.facts.dataset for one in index.find("digits")][:1] == ["digits"]
        with pytest.raises(SearchError, match="says anything"):
            index.find("mnist")
        index.remove("a", "no such name")
        assert index.names == ("b",)
        assert len(index) == 1


def test_equals_stand_newest_first_then_by_name(tmp_path: Path) -> None:
    with ExperimentIndex(tmp_path) as index:
        for name, created in [("c", "2026-01-02"), ("b", ""), ("d", "2026-01-03"), ("a", "")]:
            index.add(ExperimentFacts(name=name, created=created, density=0.01))
        assert [one.name for one in index.find("sparse")] == ["d", "c", "a", "b"]


def test_facts_come_back_as_they_went_in(tmp_path: Path) -> None:
    one = ExperimentFacts(
        name="a",
        widths=(4, 3),
        curves={"loss": (1.0, float("inf"))},
        tags=("x",),
        seed=1,
        edited_at={"AddNeurons": (0.5,)},
        edits={"AddNeurons": 1},
        metrics={"accuracy": 0.5},
    )
    with ExperimentIndex(tmp_path) as index:
        index.add(one)
    with ExperimentIndex(tmp_path) as index:
        (found,) = index.find(where={"name": "a"})
    assert found.facts == one
    assert accuracy_of(found.facts) == 0.5


def test_only_one_process_writes_while_any_read(tmp_path: Path) -> None:
    program = (
        "import sys\n"
        "from structure_net.errors import SearchError\n"
        "from structure_net.logging.search import ExperimentFacts, ExperimentIndex\n"
        "with ExperimentIndex(sys.argv[1], engine='numpy') as index:\n"
        "    print(len(index))\n"
        "    try:\n"
        "        index.add(ExperimentFacts(name='b'))\n"
        "    except SearchError as error:\n"
        "        print(error)\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path)]
    with ExperimentIndex(tmp_path, engine="numpy") as index:
        index.add(ExperimentFacts(name="a"))
        done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
        assert done.stdout.startswith("1\n")
        assert "is being written by another program" in done.stdout
        assert index.names == ("a",)
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout == "1\n"
    with ExperimentIndex(tmp_path, engine="numpy") as index:
        assert index.names == ("a", "b")


def test_a_reader_sees_what_another_index_added(tmp_path: Path) -> None:
    with ExperimentIndex(tmp_path, engine="numpy") as reader:
        assert len(reader) == 0
        with ExperimentIndex(tmp_path, engine="numpy") as writer:
            writer.add(ExperimentFacts(name="a", density=0.01))
        assert [one.name for one in reader.find("sparse")] == ["a"]


def test_a_broken_index_is_told_of_with_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "index.sqlite").write_bytes(b"nonsense" * 100)
    with pytest.raises(SearchError, match="delete the folder, and rebuild"):
        ExperimentIndex(tmp_path)


def test_vectors_of_another_version_are_made_anew(tmp_path: Path) -> None:
    import sqlite3

    with ExperimentIndex(tmp_path, engine="numpy") as index:
        index.add(ExperimentFacts(name="a", density=0.01), ExperimentFacts(name="b", density=0.9))
    database = sqlite3.connect(tmp_path / "index.sqlite")
    with database:
        database.execute("UPDATE experiments SET traits = zeroblob(length(traits))")
        database.execute("PRAGMA user_version = 999")
    database.close()
    with ExperimentIndex(tmp_path, engine="numpy") as index:
        assert [one.name for one in index.find("sparse", n=1)] == ["a"]


chroma = pytest.mark.extras


@chroma
def test_both_engines_give_the_same_ten(
    tmp_path: Path, facts: tuple[ExperimentFacts, ...], index: Path
) -> None:
    pytest.importorskip("chromadb")
    rng = np.random.default_rng(3)
    asked = [case.question for case in cases("simple", "first")] + ["mnist", "large", "not sparse"]
    with (
        ExperimentIndex(tmp_path, engine="chroma") as one,
        ExperimentIndex(index, engine="numpy") as two,
    ):
        one.add(*facts)
        assert (one.engine, two.engine) == ("chroma", "numpy")
        compared = 0
        for question in asked:
            for where in (None, WHERES[0]):
                answers = [_told(opened, question, where) for opened in (one, two)]
                assert answers[0] == answers[1]
                compared += answers[0] != ()
        assert compared > 30
        for name in rng.choice([fact.name for fact in facts], 20):
            assert one.similar(str(name)) == two.similar(str(name))
    with ExperimentIndex(tmp_path) as again:
        assert again.engine == "chroma"


def _told(opened: ExperimentIndex, question: str, where: object) -> tuple[tuple[str, float], ...]:
    try:
        found = opened.find(question, where=where)  # type: ignore[arg-type]  # one of `WHERES`
    except SearchError:
        return ()
    return tuple((one.name, one.score) for one in found)


@chroma
def test_rows_that_chroma_has_not_seen_are_found_all_the_same(
    tmp_path: Path, facts: tuple[ExperimentFacts, ...]
) -> None:
    pytest.importorskip("chromadb")
    with ExperimentIndex(tmp_path, engine="chroma") as index:
        index.add(*facts[:300])
    clear = ExperimentFacts(
        name="clear", density=0.003, curves={"validation_loss": (2.0, *[1] * 9)}
    )
    with ExperimentIndex(tmp_path, engine="numpy") as index:
        index.add(clear)
        index.remove(facts[0].name)
    with ExperimentIndex(tmp_path, engine="chroma") as index:
        assert index.find("very sparse, plateaued early")[0].name == "clear"
        index.add(*facts[300:])
        assert index.find("very sparse, plateaued early")[0].name == "clear"
        assert len(index) == 600


OFFLINE = """
import socket, sys
def refuse(*arguments, **named):
    raise AssertionError("a socket was opened")
class Closed(socket.socket):
    def connect(self, address): refuse()
    connect_ex = connect
    def sendto(self, *rest): refuse()
socket.socket = Closed
socket.create_connection = socket.getaddrinfo = refuse
opened = []
sys.addaudithook(lambda event, _: opened.append(event) if event in
                 ("socket.connect", "socket.getaddrinfo", "socket.sendto") else None)
from benchmarks.ordinary import others
from structure_net.logging.search import ExperimentIndex
with ExperimentIndex(sys.argv[1], engine="chroma") as index:
    index.add(*others(250))
    assert index.find("sparse") and index.similar("runs/00003")
print(opened)
"""


@chroma
def test_chroma_never_reaches_for_the_network(tmp_path: Path) -> None:
    pytest.importorskip("chromadb")
    command = [sys.executable, "-c", OFFLINE, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"


def test_without_chromadb_the_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "chromadb", None)
    with pytest.raises(ImportError, match=r"structure-net\[search\]"):
        ExperimentIndex(tmp_path, engine="chroma")
    with ExperimentIndex(tmp_path) as index:
        assert index.engine == "numpy"
        assert json.loads(ExperimentFacts(name="a").to_json())["name"] == "a"
