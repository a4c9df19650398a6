"""Experiments as they are read from the folders of runs, and what is said of them."""

from __future__ import annotations

import dataclasses
import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest

from structure_net.cli import main
from structure_net.errors import SearchError
from structure_net.logging import Spool
from structure_net.logging.records import (
    Edit,
    Epoch,
    Growth,
    Iteration,
    NetworkFacts,
    RecordModel,
    Resumed,
    RunEnded,
    RunStarted,
    Trial,
)
from structure_net.logging.search import (
    ExperimentFacts,
    ExperimentIndex,
    facts_of,
    run_folders,
    traits_of,
)
from structure_net.logging.search.curves import learning_curve, shape_of
from structure_net.logging.search.tokens import free_words, stem, tokens_of, words_of
from structure_net.logging.search.vocabulary import CONCEPTS, PHRASES
from structure_net.logging.search.wording import understood

BIRTH = NetworkFacts(widths=(64, 16, 10), parameters=100, connections=74, density=0.06)
END = NetworkFacts(widths=(64, 20, 10), parameters=140, connections=110, density=0.08)


def epoch(number: int, loss: float) -> Epoch:
    return Epoch(
        epoch=number,
        step=number,
        metrics={"validation_loss": loss},
        parameters=140,
        connections=110,
        elapsed=2.0 * number,
    )


RECORDS: tuple[RecordModel, ...] = (
    RunStarted(
        run="r1", dataset={"name": "digits"}, network=BIRTH, seed=3, tags=("pilot",),
        config={"learning_rate": 0.1, "architecture": [64, 16, 10], "dataset": "digits"},
    ),
    epoch(1, 2.0),
    Edit(edit={"type": "AddNeurons", "layer": "a"}, component="ExtremaGrowthStrategy"),
    Growth(outcome="rolled_back", component="NeuronSplitStrategy"),
    epoch(2, float("nan")),
    Resumed(after=4, iteration=0),
    epoch(2, 1.0),
    Iteration(iteration=0, network=END),
    RunEnded(status="finished", network=END, scores=({"name": "evolved", "test_accuracy": 0.9},)),
)  # fmt: skip


def spooled(folder: Path, records: tuple[RecordModel, ...] = RECORDS) -> Path:
    with Spool(folder / "records") as spool:
        for record in records:
            spool.append(record)
    return folder


def test_records_become_facts_without_what_a_resumption_superseded(tmp_path: Path) -> None:
    facts = facts_of(spooled(tmp_path / "r"))
    assert facts.name == str(tmp_path / "r")
    assert (facts.dataset, facts.status, facts.seed, facts.model) == (
        "digits",
        "finished",
        3,
        "MLP",
    )
    assert (facts.start_widths, facts.widths) == ((64, 16, 10), (64, 20, 10))
    assert (facts.start_parameters, facts.parameters) == (100, 140)
    assert (facts.start_density, facts.density) == (0.06, 0.08)
    assert facts.curves == {"validation_loss": (2.0, 1.0)}
    assert facts.edits == {"AddNeurons": 1}
    assert facts.edited_at == {"AddNeurons": (0.5,)}
    assert facts.strategies == {"ExtremaGrowthStrategy": 1, "NeuronSplitStrategy": 0}
    assert (facts.taken_back, facts.metrics, facts.seconds) == (1, {"test_accuracy": 0.9}, 4.0)
    assert facts.settings == {"learning_rate": 0.1}
    assert facts.tags == ("pilot",)


def test_connections_that_moved_are_found_by_one_edit_as_by_two(tmp_path: Path) -> None:
    kinds = (("MoveConnections",), ("RemoveConnections", "AddConnections"))
    found = []
    for edits in kinds:
        made = [Edit(edit={"type": kind, "layer": "a"}, component="RigL") for kind in edits]
        records = (*RECORDS[:2], *made, *RECORDS[-3:])
        facts = facts_of(spooled(tmp_path / str(len(edits)), records))
        found.append((facts.edits, facts.edited_at, facts.strategies))
    assert found[0] == found[1]
    assert found[0][0]["AddConnections"] == found[0][0]["RemoveConnections"] == 1
    assert "MoveConnections" not in found[0][0]


def test_a_spool_of_trials_is_an_experiment_too(tmp_path: Path) -> None:
    trial = Trial(
        trial="t1", hypothesis="wider is better", arm="wide", seed=4, status="failed",
        metrics={"accuracy": 0.7}, factors={"width": 64},
    )  # fmt: skip
    with ExperimentIndex(tmp_path / "index") as index:
        index.add(spooled(tmp_path / "r", (RunStarted(run="a"), trial)))
        (found,) = index.find("failed wider arm", where={"width": 64})
    assert (found.facts.status, found.facts.metrics) == ("failed", {"accuracy": 0.7})


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    flags = ["--iterations", "2", "--epochs", "1", "--json"]
    for seed, density in ((1, "0.02"), (2, "0.5")):
        out = ["--seed", str(seed), "--density", density, "--out", str(folder / f"run{seed}")]
        assert main(["evolve", *flags, *out]) == 0
    return folder


def test_the_plain_files_of_a_run_say_what_its_records_say(runs: Path, tmp_path: Path) -> None:
    from_records = facts_of(runs / "run1")
    plain = tmp_path / "run1"
    plain.mkdir()
    for name in ("run.json", "history.json", "journal.json"):
        (plain / name).write_bytes((runs / "run1" / name).read_bytes())
    from_files = facts_of(plain)
    apart = {"name", "created", "seconds", "text", "settings", "start_density"}
    for name in (item.name for item in dataclasses.fields(from_files) if item.name not in apart):
        assert getattr(from_files, name) == getattr(from_records, name), name
    assert from_files.curves == from_records.curves
    assert from_files.start_density == pytest.approx(0.02)
    (plain / "records").mkdir()
    (plain / "records" / "records.jsonl").write_text("damaged\n")
    assert facts_of(plain) == from_files


def test_an_index_follows_the_runs_of_a_folder(runs: Path, tmp_path: Path) -> None:
    with ExperimentIndex(tmp_path / "index") as index:
        assert index.rebuild([runs]) == tuple(str(place) for place in run_folders(runs))
        assert index.find("sparse")[0].name == str(runs / "run1")
        assert index.refresh(runs) == ()
        extra = spooled(runs / "run3")
        (runs / "run4").mkdir()
        (runs / "run4" / "run.json").write_text("{}")
        (error,) = index.refresh(runs)
        assert f"The run in {runs / 'run4'} cannot be read" in str(error)
        assert index.similar(extra, n=1)[0].name in {str(runs / "run1"), str(runs / "run2")}
        (extra / "records" / "records.jsonl").unlink()
        (runs / "run4" / "run.json").unlink()
        assert index.refresh(runs) == ()
        assert set(index.names) == {str(runs / "run1"), str(runs / "run2")}


def test_what_is_no_run_is_refused_in_words(tmp_path: Path) -> None:
    with pytest.raises(SearchError, match="so it is no run"):
        facts_of(tmp_path)
    with pytest.raises(SearchError, match="is no folder"):
        list(run_folders(tmp_path / "absent"))
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(SearchError, match="cannot be read"):
        facts_of(tmp_path)


def told(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    code = main([*map(str, words)])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_find_prints_the_runs_that_match(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = told(capsys, "find", "sparse nets of the zebra", runs)
    assert (code, "zebra" in err) == (0, True)
    assert 0 < out.index("run1") < out.index("run2")
    code, out, _ = told(capsys, "find", "--where", "start_density>0.1", runs, "--json")
    (found,) = json.loads(out)["found"]
    assert (code, found["name"], found["score"]) == (0, str(runs / "run2"), 1.0)
    code, out, _ = told(capsys, "find", "sparse", runs, "--where", "seed=99")
    assert (code, out.splitlines()) == (1, ["looked for: sparse", "No run was found."])


def test_similar_says_that_there_is_no_other_run(
    tmp_path: Path, runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(runs / "run1", tmp_path / "run1")
    code, out, _ = told(capsys, "similar", tmp_path / "run1")
    assert (code, out) == (1, "There is no other run.\n")
    code, out, _ = told(capsys, "similar", runs / "run1", "--where", "seed=99")
    assert (code, out) == (1, "No other run passes the filter.\n")


def test_similar_prints_other_runs(
    runs: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(runs.parent)
    code, out, _ = told(capsys, "similar", f"{runs.name}/run1", "-n", 3)
    assert code == 0
    assert f"{runs.name}/run2" in out
    assert "run1" not in out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("find", "sparse", "nowhere"), "There is no folder nowhere"),
        (("find",), "Say what to find"),
        (("find", "sparse", ".", "-n", 0), "must be at least 1"),
        (("find", "sparse", ".", "--where", "x"), "FIELD OPERATOR VALUE"),
        (("similar", "nowhere"), "is no run"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_commands_refuse_in_one_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: tuple[object, ...],
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    code, _, err = told(capsys, *words)
    assert (code, err.count("\n")) == (2, 1)
    assert said in err


T = np.linspace(0, 1, 40)


def traits(name: str, values: object) -> set[str]:
    curve = tuple(np.asarray(values, dtype=np.float64).tolist())
    return {
        k for k, v in traits_of(ExperimentFacts(name="a", curves={name: curve})).items() if v > 0.5
    }


def test_the_shape_of_a_curve_is_read_as_people_see_it() -> None:
    assert {"plateau", "early_plateau"} <= traits("validation_loss", 0.3 + np.exp(-40 * T))
    assert "improving" in traits("validation_loss", 2 - T)
    assert "diverged" in traits("loss", np.where(T > 0.5, np.nan, 2 - T))
    assert "diverged" in traits("loss", np.exp(3 * T))
    assert "overfit" in traits("validation_loss", 0.5 + np.exp(-12 * T) + np.maximum(T - 0.4, 0))
    assert "unstable" in traits("loss", 1 + np.arange(40) % 2)
    assert "never_learned" in traits("validation_accuracy", np.full(40, 0.1))
    assert "recovered" in traits(
        "validation_accuracy", np.where(np.arange(40) == 20, 0.5, 0.4 + T / 2)
    )
    assert "fast_learner" in traits("validation_accuracy", 0.97 + T / 100)


def test_a_curve_and_its_accuracy_have_one_shape() -> None:
    loss = 0.2 + 0.7 * np.exp(-5 * T)
    one, two = shape_of("loss", tuple(loss)), shape_of("accuracy", tuple(1 - loss))
    assert one.settled_at == two.settled_at
    assert math.isclose(one.gain, two.gain, rel_tol=1e-12)
    assert np.allclose(one.profile, two.profile, atol=1e-12)
    assert learning_curve({"train_loss": (1.0, 2.0), "validation_loss": (3.0, 4.0)}) == (
        "validation_loss",
        (3.0, 4.0),
    )


def test_forms_of_a_word_are_one_word() -> None:
    assert len({stem(w) for w in ("plateau", "plateaus", "plateaued", "plateauing")}) == 1
    assert len({stem(w) for w in ("split", "splits", "splitting")}) == 1
    assert words_of("NeuronSplitStrategy fashion_mnist 3e-4") == [
        "neuron", "split", "strategy", "fashion", "mnist", "3e-4",
    ]  # fmt: skip
    assert {"cifar10", "cifar"} <= free_words("CIFAR-10")


@pytest.mark.parametrize("trait", CONCEPTS)
def test_every_phrase_of_the_vocabulary_says_what_it_stands_for(trait: str) -> None:
    for phrase in PHRASES[trait]:
        asked = [one for one in understood(tokens_of(phrase)) if one.concepts]
        assert any(trait in one.concepts and not one.denied for one in asked), phrase


@pytest.mark.parametrize(
    ("question", "trait", "denied"),
    [
        ("an early plateau", "early_plateau", False),
        ("plateaued rather early", "early_plateau", False),
        ("nets that were not sparse", "sparse", True),
        ("not overfitting", "overfit", True),
        ("no pruning at all", "pruned", True),
        ("never grew", "unchanged", False),
        ("it stopped improving", "plateau", False),
        ("still improving when it stopped", "improving", False),
        ("grew wider", "widened", False),
        ("wide", "wide", False),
    ],
)
def test_phrases_mean_what_people_mean(question: str, trait: str, denied: bool) -> None:
    said = understood(tokens_of(question))[0]
    assert (said.concepts, said.denied) == ((trait,), denied)
