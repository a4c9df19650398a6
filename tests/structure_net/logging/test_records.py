"""Every kind of record: what it takes, what it refuses, and how its form is kept.

``tests/golden/records.json`` holds a valid example of each kind, and changes that make it invalid.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from jsonschema import Draft202012Validator

from structure_net.errors import RecordError
from structure_net.logging import read
from structure_net.logging.lines import Stored, line_of
from structure_net.logging.migrations import STEPS, migrate
from structure_net.logging.records import (
    KINDS,
    Analysis,
    Artifact,
    Edit,
    Epoch,
    Evidence,
    Growth,
    Hypothesis,
    Iteration,
    Missed,
    NetworkFacts,
    Predicted,
    Profile,
    RecordModel,
    Resumed,
    RunEnded,
    RunStarted,
    Search,
    Section,
    Setting,
    Trial,
    Width,
    newest_version,
    problem_line,
    problems_of,
    record_of,
)
from structure_net.logging.schemas import record_schema, schema_names

ROOT = Path(__file__).parents[3]
EXAMPLES: dict[str, Any] = json.loads((ROOT / "tests" / "golden" / "records.json").read_text())
SPOOL = ROOT / "tests" / "golden" / "spool.v1"
TIME = "2026-01-01T00:00:00.000000+00:00"
INVALID = [
    pytest.param(kind, one["change"], one["place"], id=f"{kind}-{number}")
    for kind, example in EXAMPLES.items()
    for number, one in enumerate(example["invalid"])
]


def schema(kind: str, version: int) -> dict[str, Any]:
    path = ROOT / "schemas" / f"record.{kind}.v{version}.schema.json"
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def enveloped(kind: str, data: Any, version: int | None = None) -> dict[str, Any]:
    return {"kind": kind, "version": version or newest_version(kind), "data": data}


def test_every_kind_has_a_valid_and_several_invalid_examples() -> None:
    assert set(EXAMPLES) == set(KINDS)
    assert all(len(example["invalid"]) >= 3 for example in EXAMPLES.values())


def test_the_kinds_are_those_of_the_models() -> None:
    models = {
        *(Analysis, Artifact, Edit, Epoch, Evidence, Growth, Hypothesis, Iteration, Missed),
        *(Profile, Resumed, RunEnded, RunStarted, Search, Setting, Trial),
    }
    assert set(KINDS.values()) == models
    assert all(issubclass(model, RecordModel) for model in models)


@pytest.mark.parametrize("kind", KINDS)
def test_the_schema_in_the_tree_is_the_codes(kind: str, regenerate: bool) -> None:
    path = ROOT / "schemas" / f"record.{kind}.v{newest_version(kind)}.schema.json"
    assert path.name in schema_names()
    text = json.dumps(record_schema(kind), indent=2, sort_keys=True) + "\n"
    if regenerate:
        path.write_text(text, encoding="utf-8")
    assert path.read_text(encoding="utf-8") == text


@pytest.mark.parametrize("kind", EXAMPLES)
def test_a_valid_record_passes_the_model_and_the_schema_and_is_written_as_it_was(kind: str) -> None:
    data = EXAMPLES[kind]["valid"]
    record = record_of(kind, newest_version(kind), data)
    assert json.loads(record.data_json()) == data
    Draft202012Validator.check_schema(schema(kind, newest_version(kind)))
    Draft202012Validator(schema(kind, newest_version(kind))).validate(enveloped(kind, data))


@pytest.mark.parametrize(("kind", "change", "place"), INVALID)
def test_an_invalid_record_is_refused_by_the_model_and_by_the_schema(
    kind: str, change: dict[str, Any], place: str
) -> None:
    data = EXAMPLES[kind]["valid"] | change
    found = problems_of(kind, newest_version(kind), data)
    assert isinstance(found, list)
    assert found[0].startswith(place)
    with pytest.raises(RecordError, match=place.replace(".", r"\.")):
        record_of(kind, newest_version(kind), data)
    validator = Draft202012Validator(schema(kind, newest_version(kind)))
    assert not validator.is_valid(enveloped(kind, data))


@pytest.mark.parametrize("kind", EXAMPLES)
def test_a_record_without_a_required_field_is_refused_by_the_model_and_by_the_schema(
    kind: str,
) -> None:
    valid, version = EXAMPLES[kind]["valid"], newest_version(kind)
    required = [name for name, field in KINDS[kind].model_fields.items() if field.is_required()]
    validator = Draft202012Validator(schema(kind, version))
    for name in set(required) - {"kind", "version"}:
        data = {key: value for key, value in valid.items() if key != name}
        assert problems_of(kind, version, data) == [f"{name}: is missing"]
        assert not validator.is_valid(enveloped(kind, data))


def golden() -> list[Stored]:
    """One record of each kind, and an epoch as version 1 wrote it."""
    records = [
        Stored(number, TIME, kind, newest_version(kind), json.dumps(example["valid"]))
        for number, (kind, example) in enumerate(EXAMPLES.items(), start=1)
    ]
    old = {k: v for k, v in EXAMPLES["epoch"]["valid"].items() if k != "samples"}
    return [*records, Stored(len(records) + 1, TIME, "epoch", 1, json.dumps(old))]


def test_a_spool_from_an_older_program_is_read(regenerate: bool) -> None:
    path = SPOOL / "records.jsonl"
    if regenerate:
        SPOOL.mkdir(exist_ok=True)
        path.write_bytes(b"".join(line_of(one) for one in golden()))
    assert path.read_bytes() == b"".join(line_of(one) for one in golden())
    records = [stored.record for stored in read(SPOOL)]
    assert [record.kind for record in records] == [*EXAMPLES, "epoch"]


def test_every_line_of_a_spool_passes_the_schema_of_its_kind_and_version() -> None:
    for line in (SPOOL / "records.jsonl").read_text(encoding="utf-8").splitlines():
        document = json.loads(line)
        stored = schema(document["kind"], document["version"])
        Draft202012Validator(stored).validate(document)


def test_an_epoch_of_version_1_is_read_as_one_of_version_2_without_samples() -> None:
    *_, stored = read(SPOOL)
    assert (stored.kind, stored.version) == ("epoch", 1)
    assert "samples" not in stored.data
    now = record_of("epoch", 2, EXAMPLES["epoch"]["valid"] | {"samples": None})
    assert isinstance(stored.record, Epoch)
    assert (stored.record.version, stored.record.samples) == (2, None)
    assert stored.record.data_json() == now.data_json()


def test_there_is_a_step_from_every_earlier_version_to_the_newest() -> None:
    expected = {(kind, v) for kind in KINDS for v in range(1, newest_version(kind))}
    assert set(STEPS) == expected
    assert all((ROOT / "schemas" / f"record.{k}.v{v}.schema.json").is_file() for k, v in expected)


def test_a_migration_leaves_its_input_as_it_was() -> None:
    data: dict[str, Any] = {"epoch": 1}
    assert migrate("epoch", 1, data) == (2, {"epoch": 1, "samples": None})
    assert data == {"epoch": 1}


def test_a_newer_version_and_an_unknown_kind_are_refused_with_the_way_out() -> None:
    with pytest.raises(RecordError, match=r"version 9; this program reads up to 2\. Update"):
        record_of("epoch", 9, {})
    with pytest.raises(RecordError, match="'version' must be a whole number from 1"):
        record_of("epoch", 0, {})
    with pytest.raises(RecordError, match="Did you mean 'epoch'"):
        record_of("epcoh", 1, {})


def test_numbers_that_are_not_finite_are_written_as_words_and_read_back_as_numbers() -> None:
    values = {"nan": float("nan"), "high": float("inf"), "low": float("-inf")}
    record = Epoch(epoch=1, step=1, metrics=values, parameters=1, connections=1)
    assert json.loads(record.data_json())["metrics"] == {
        "nan": "NaN",
        "high": "Infinity",
        "low": "-Infinity",
    }
    back = record_of("epoch", 2, record.data_json())
    assert isinstance(back, Epoch)
    assert np.isnan(back.metrics["nan"])
    assert (back.metrics["high"], back.metrics["low"]) == (float("inf"), float("-inf"))
    free = Analysis(values={"deep": [values["high"], {"word": "NaN"}]})
    again = record_of("analysis", 1, free.data_json())
    assert isinstance(again, Analysis)
    assert again.values["deep"][0] == float("inf")  # type: ignore[index]
    assert np.isnan(again.values["deep"][1]["word"])  # type: ignore[index,call-overload,arg-type]


def test_numbers_of_numpy_and_torch_become_pythons_own() -> None:
    metrics = {"a": np.float32(0.5), "b": torch.tensor(0.25), "c": np.int64(2)}
    record = Epoch(epoch=1, step=1, metrics=metrics, parameters=1, connections=1)
    assert record.metrics == {"a": 0.5, "b": 0.25, "c": 2.0}
    pairs = ((np.int64(1), 2), (3, 4))
    assert Edit(edit={"pairs": pairs}).edit == {"pairs": [[1, 2], [3, 4]]}


def test_a_record_refuses_to_change() -> None:
    facts = NetworkFacts(parameters=9, connections=6, density=0.5)
    record = Iteration(iteration=0, network=facts)
    with pytest.raises(ValueError, match="frozen"):
        record.iteration = 1  # type: ignore[misc]
    assert Section(name="forward", calls=1, seconds=0.5).peak_bytes is None
    assert Width(layer="fc1", before=None, after=3).before is None
    assert Predicted(metric="accuracy", direction="same", smallest_effect=0.01).arm == ""


def test_a_problem_is_one_line_with_its_place_and_the_rule() -> None:
    problem = {
        "type": "greater_than_equal",
        "loc": ("network", "density"),
        "msg": "Input should be greater than or equal to 0",
        "input": -1,
    }
    said = "network.density: input should be greater than or equal to 0; got -1"
    assert problem_line(problem) == said
