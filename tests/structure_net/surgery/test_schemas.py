"""What is stored keeps its form: schemas and golden files are compared with what the code makes.

``pytest --regenerate`` writes them anew, for a change of form that is meant.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest
import torch

from structure_net.core import create_standard_network
from structure_net.surgery import edits
from structure_net.surgery.checkpoint import load_checkpoint, read_header, save_checkpoint
from structure_net.surgery.checkpoint_records import checkpoint_schema
from structure_net.surgery.edits import Edit
from structure_net.surgery.entries import EditEntry, EventEntry, WidthChange
from structure_net.surgery.journal import Journal
from structure_net.surgery.records import journal_schema

ROOT = Path(__file__).parents[3]
JOURNAL = ROOT / "tests" / "golden" / "journal.v1.json"
CHECKPOINTS = {n: ROOT / "tests" / "golden" / f"checkpoint.v{n}.safetensors" for n in (1, 2)}
TIME = "2026-01-01T00:00:00.000+00:00"

EXAMPLES: tuple[Edit, ...] = (
    edits.AddNeurons("fc1", 4),
    edits.RemoveNeurons("fc1", (0, 3)),
    edits.SplitNeurons("fc1", (1,), noise=0.01),
    edits.ShareNeurons("fc1", ((1, 5),), 0.25),
    edits.MergeNeurons("fc1", ((0, 1), (2, 5))),
    edits.ResetNeurons("fc1", (2,)),
    edits.DoubleWidth("fc1"),
    edits.InsertLayer("fc1", width=8, activation="gelu"),
    edits.RemoveLayer("fc1.grafts.inserted1"),
    edits.AddResidualBlock("fc1"),
    edits.AddSkipConnection("fc1", "fc2"),
    edits.RemoveSkipConnection("fc1", "fc2"),
    edits.AddHeads("attention.q", 2),
    edits.RemoveHeads("attention.q", (1,)),
    edits.MaskHeads("attention.q", (0,)),
    edits.ReviveHeads("attention.q", (0,)),
    edits.AddConnections("fc1", ((0, 1), (2, 3)), scale=0.5),
    edits.RemoveConnections("fc1", ((0, 1),)),
    edits.MoveConnections("fc1", ((0, 1), (2, 3)), ((0, 2), (1, 3)), scale=0.5),
)


def golden_journal() -> Journal:
    start = {"layers": {"fc1": {"kind": "Linear", "inputs": 3, "outputs": 8}}, "parameters": 32}
    journal = Journal([EventEntry("start", 0, "", start, TIME)])
    for number, edit in enumerate(EXAMPLES):
        changes = (WidthChange("fc1", 8, 12),) if number == 0 else ()
        journal.append(EditEntry(edit, number, "growth", "dead ratio 0.4", number, changes, TIME))
    detail = {"loss": 0.5, "accuracy": None, "classes": [1, 2]}
    journal.append(EventEntry("epoch", 3, "trainer", detail, TIME))
    return journal


@pytest.mark.parametrize(
    ("name", "make"),
    [("journal.v2", journal_schema), ("checkpoint.v2", checkpoint_schema)],
)
def test_the_schema_in_the_tree_is_the_codes(
    name: str, make: Callable[[], dict[str, Any]], regenerate: bool
) -> None:
    path = ROOT / "schemas" / f"{name}.schema.json"
    text = json.dumps(make(), indent=2, sort_keys=True) + "\n"
    if regenerate:
        path.write_text(text, encoding="utf-8")
    assert path.read_text(encoding="utf-8") == text


@pytest.mark.parametrize("version", [1, 2])
def test_a_journal_from_an_older_program_fits_the_schemas_since(version: int) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    text = (ROOT / "schemas" / f"journal.v{version}.schema.json").read_text(encoding="utf-8")
    jsonschema.validate(json.loads(JOURNAL.read_text(encoding="utf-8")), json.loads(text))


def test_every_edit_stands_in_the_golden_journal() -> None:
    assert {type(edit) for edit in EXAMPLES} == set(get_args(Edit))


def test_a_journal_is_written_as_it_always_was(regenerate: bool) -> None:
    if regenerate:
        golden_journal().save(JOURNAL)
    assert JOURNAL.read_text(encoding="utf-8") == golden_journal().to_json()


def test_a_journal_from_an_older_program_is_read() -> None:
    journal = Journal.load(JOURNAL)
    assert journal == golden_journal()
    assert {entry.time for entry in journal} == {TIME}


@pytest.mark.parametrize("version", CHECKPOINTS)
def test_a_checkpoint_from_an_older_program_is_read(version: int, regenerate: bool) -> None:
    path = CHECKPOINTS[version]
    network = create_standard_network([3, 4, 2], density=0.5, seed=0)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
    if regenerate and version == max(CHECKPOINTS):  # nothing writes older ones
        network(torch.ones(1, 3)).sum().backward()
        optimizer.step()
        save_checkpoint(
            path,
            network,
            optimizer=optimizer,
            journal=golden_journal()[:1],
            history=[{"epoch": 1, "loss": float("inf")}],
            iteration=3,
            metadata={"name": "golden", "shape": (1, 2)},
        )
    header = read_header(path)
    assert header.iteration == 3
    assert header.history == [{"epoch": 1, "loss": float("inf")}]
    assert header.metadata == {"name": "golden", "shape": (1, 2)}
    assert header.recipe == network.recipe
    checkpoint = load_checkpoint(path, network, optimizer=optimizer)
    moment = optimizer.state[network.get_parameter("layers.1.bias")]["momentum_buffer"]
    assert moment.tolist() == [1.0, 1.0]
    assert checkpoint.journal == golden_journal()[:1]


def test_every_field_of_an_entry_is_stored() -> None:
    stored = json.loads(golden_journal().to_json())["entries"]
    assert set(stored[1]) == {"type", *(f.name for f in dataclasses.fields(EditEntry))}
    assert set(stored[0]) == {"type", *(f.name for f in dataclasses.fields(EventEntry))}
