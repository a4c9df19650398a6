"""Long runs that move connections: what their journals cost, and how they begin anew."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from structure_net.core import StandardNetwork, create_standard_network, sparse_layers
from structure_net.core.pairs import PairTable
from structure_net.errors import CheckpointError, JournalError
from structure_net.evolution import ComposableEvolutionSystem, EveryNSteps
from structure_net.evolution.components import SparseEvolutionaryTraining
from structure_net.evolution.session import EvolutionSession
from structure_net.surgery import (
    AddNeurons,
    EditEntry,
    EventEntry,
    Journal,
    MoveConnections,
    RemoveConnections,
    load_checkpoint,
    replay,
    save_checkpoint,
    trimmed,
)
from structure_net.surgery.checkpoint import read_header, verify_checkpoint
from structure_net.surgery.containers import write_container
from structure_net.surgery.entries import Entry
from structure_net.surgery.journal_tensors import JOURNAL, journal_tensor, stored_journal
from structure_net.surgery.labels import noted_edit

GOLDEN = Path(__file__).parents[2] / "golden"
INPUTS = torch.randn(16, 20, generator=torch.Generator().manual_seed(0))
TARGETS = torch.arange(16) % 4


def network() -> StandardNetwork:
    return create_standard_network([20, 40, 30, 4], density=0.5, seed=0)


def session_on(model: nn.Module) -> tuple[EvolutionSession, torch.optim.Optimizer]:
    optimizer = torch.optim.Adam(model.parameters())
    system = ComposableEvolutionSystem([])
    system.add_component(SparseEvolutionaryTraining(0.3), when=EveryNSteps(1))
    batches = [(INPUTS, TARGETS)]
    return system.attach(model, optimizer=optimizer, data_loader=batches), optimizer


def train(
    model: nn.Module, session: EvolutionSession, optimizer: torch.optim.Optimizer, steps: int
) -> None:
    for _ in range(steps):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(INPUTS), TARGETS).backward()
        optimizer.step()
        session.after_step()


def evolved(steps: int = 3) -> tuple[StandardNetwork, Journal]:
    model = network()
    session, optimizer = session_on(model)
    train(model, session, optimizer, steps)
    return model, session.context.journal


def timeless(journal: Journal) -> Journal:
    entries: list[Entry] = [replace(entry, time="") for entry in journal]
    return Journal(entries)


def patterns(model: nn.Module) -> dict[str, Any]:
    return {name: layer.pattern for name, layer in sparse_layers(model).items()}


@cache
def shuffled(places: int) -> NDArray[np.int64]:
    return np.random.default_rng(0).permutation(places)


def move(rows: int, columns: int, count: int, seed: int) -> MoveConnections:
    drawn = np.roll(shuffled(rows * columns), -seed * count)[: 2 * count]
    gone, come = (
        PairTable.of(np.stack(np.divmod(np.sort(half), columns), 1)) for half in np.split(drawn, 2)
    )
    return MoveConnections(f"layers.{columns}", gone, come)


def test_three_hundred_events_fit_in_a_few_megabytes(tmp_path: Path) -> None:
    architecture = [784, 256, 128, 10]
    model = create_standard_network(architecture, density=0.05, seed=0)
    journal = Journal()
    for event in range(300):  # 30 % of the connections move in each
        for columns, rows in pairwise(architecture):
            edit = move(rows, columns, max(1, int(0.3 * 0.05 * rows * columns)), event)
            journal.append(EditEntry(edit, event, "SparseEvolutionaryTraining", "the weakest"))
    path = tmp_path / "c.safetensors"
    save_checkpoint(path, model, journal=journal)
    journal.save(tmp_path / "journal.json")
    assert path.stat().st_size < 4e6
    assert (tmp_path / "journal.json").stat().st_size < 4e6
    with path.open("rb") as file:
        assert int.from_bytes(file.read(8), "little") < 20_000  # the header has nothing of it
    assert read_header(path).journal == journal


def test_connections_are_held_packed_however_they_come() -> None:
    edit = move(20, 20, 64, 0)
    plain = MoveConnections(edit.layer, tuple(edit.removed), tuple(edit.added))
    listed = MoveConnections(edit.layer, np.array(edit.removed), np.array(edit.added))  # type: ignore[arg-type]
    for one in (edit, plain, listed):
        noted = EditEntry(one).edit
        assert isinstance(noted, MoveConnections)
        assert noted == one
        for pairs in (noted.removed, noted.added):
            assert isinstance(pairs, PairTable)
            assert pairs.packed is not None
    few = RemoveConnections("a", ((0, 1),) * 63)
    assert EditEntry(few).edit is few
    wild = RemoveConnections("a", ((0, 2**70),) * 64)  # beyond int64
    assert EditEntry(wild).edit is wild


def test_a_journal_says_by_its_version_who_can_read_it() -> None:
    entries = [EditEntry(AddNeurons("a", 2)), EditEntry(RemoveConnections("a", ((0, 1),)))]
    assert json.loads(Journal(entries).to_json())["version"] == 1
    entries.append(EditEntry(move(20, 20, 64, 0)))
    written = json.loads(Journal(entries).to_json())
    assert written["version"] == 2
    assert written["entries"][1]["edit"]["pairs"] == [[0, 1]]
    assert set(written["entries"][2]["edit"]["removed"]) == {"count", "width", "packed"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"packed": "=="}, r"entry 0, field 'edit.removed.packed' is wrong"),
        ({"count": 63}, r"entry 0, field 'edit.removed.packed' is wrong: .*packed pairs"),
        ({"width": 0}, r"entry 0, field 'edit.removed.width' is wrong"),
        ({"more": 1}, r"entry 0, field 'edit.removed.more' is not known"),
    ],
)
def test_damaged_packed_pairs_are_named(change: dict[str, Any], message: str) -> None:
    content = json.loads(Journal([EditEntry(move(20, 20, 64, 0))]).to_json())
    content["entries"][0]["edit"]["removed"].update(change)
    with pytest.raises(JournalError, match=message):
        Journal.from_json(json.dumps(content))


def test_lists_of_connections_from_an_older_program_are_read_and_replayed() -> None:
    found = load_checkpoint(GOLDEN / "moves.v1.safetensors")
    journal = Journal.load(GOLDEN / "moves.v1.json")
    assert journal == found.journal
    for entry in journal.edits:
        assert isinstance(entry.edit, MoveConnections)
        assert len(entry.edit.removed) == 72
        assert isinstance(entry.edit.removed, PairTable)
    born = create_standard_network([20, 16, 2], density=0.5, seed=0)
    assert patterns(born) != patterns(found.model)
    replayed = replay(born, journal, torch.zeros(2, 20))
    assert patterns(replayed) == patterns(found.model)
    weights = [model.state_dict() for model in (replayed, found.model)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[1])


def test_a_long_journal_replays_and_the_same_seed_writes_the_same_bytes(tmp_path: Path) -> None:
    model, journal = evolved()
    assert any(
        pairs.packed is not None
        for entry in journal.edits
        for pairs in (getattr(entry.edit, "removed", None),)
        if isinstance(pairs, PairTable)
    )
    read = Journal.from_json(journal.to_json())
    assert read == journal
    assert read.to_json() == journal.to_json()
    assert patterns(replay(network(), read, INPUTS)) == patterns(model)
    texts = [one.to_json() for one in (timeless(journal), timeless(evolved()[1]))]
    assert texts[0] == texts[1]
    for name in ("a", "b"):
        save_checkpoint(tmp_path / name, model, journal=journal)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_the_journal_of_a_checkpoint_is_a_tensor_of_its_json(tmp_path: Path) -> None:
    model, journal = evolved(1)
    save_checkpoint(tmp_path / "c", model, journal=journal)
    verify_checkpoint(tmp_path / "c")
    from safetensors.torch import load_file

    stored = load_file(tmp_path / "c")[JOURNAL]
    assert bytes(stored.numpy()).decode() == journal.to_json()
    assert torch.equal(stored, journal_tensor(journal))
    content = bytearray((tmp_path / "c").read_bytes())
    place = content.index(b'{"format": "structure_net.journal"')
    content[place] ^= 1
    (tmp_path / "c").write_bytes(content)
    for read in (read_header, load_checkpoint, verify_checkpoint):
        with pytest.raises(CheckpointError, match="'journal' does not agree with its checksum"):
            read(tmp_path / "c")


def test_a_journal_of_another_program_is_refused_as_a_part_of_its_checkpoint() -> None:
    tensors = {JOURNAL: torch.frombuffer(bytearray(b"[]"), dtype=torch.uint8)}
    with pytest.raises(CheckpointError, match="the journal in 'c': this is no journal"):
        stored_journal("c", None, tensors)  # type: ignore[arg-type]  # the header is not asked


def test_a_header_that_is_too_large_is_refused_with_what_is_large(tmp_path: Path) -> None:
    header = json.dumps({"history": "x" * 90_000_000, "metadata": "y" * 99, "version": 1})
    with pytest.raises(
        CheckpointError, match=r"Most of them: 'history' with 90,000,002, 'metadata' with 101"
    ):
        write_container(tmp_path / "c", {}, header)
    assert list(tmp_path.iterdir()) == []


def test_a_run_goes_on_from_a_trimmed_journal_as_from_the_whole_one(tmp_path: Path) -> None:
    model = network()
    session, optimizer = session_on(model)
    train(model, session, optimizer, 2)
    whole = session.context.journal
    short = trimmed(whole, model)
    assert short.changes == whole.changes
    assert not short.edits
    assert trimmed(short, model).changes == whole.changes
    assert Journal.from_json(short.to_json()).changes == whole.changes
    save_checkpoint(tmp_path / "base", model, optimizer=optimizer, journal=short)
    ends = []
    for journal in (whole, short):
        again = load_checkpoint(tmp_path / "base")
        moments = torch.optim.Adam(again.model.parameters())
        again.restore_optimizer(moments)
        context = replace(session.context, network=again.model, optimizer=moments, journal=journal)
        system = ComposableEvolutionSystem([])
        system.add_component(SparseEvolutionaryTraining(0.3), when=EveryNSteps(1))
        later = system.resume(context, done=(2, 32))
        train(again.model, later, moments, 2)
        ends.append((again.model, later.context.journal))
    states = [end.state_dict() for end, _ in ends]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert patterns(ends[0][0]) != patterns(load_checkpoint(tmp_path / "base").model)
    base = load_checkpoint(tmp_path / "base").model
    assert patterns(replay(base, ends[1][1], INPUTS)) == patterns(ends[1][0])


def test_trimming_keeps_events_and_begins_with_the_network_as_it_is() -> None:
    model = network()
    entries: list[Entry] = [
        EventEntry("start", detail={"layers": {}}),
        EventEntry("opaque", 1),
        EditEntry(AddNeurons("layers.0", 2), 1),
        EventEntry("epoch", 2, detail={"loss": 0.5}),
    ]
    short = trimmed(Journal(entries), model)
    assert [event.kind for event in short.events()] == ["epoch", "start"]
    assert len(short) == 2
    assert short[1].iteration == 2
    assert short.changes == 4
    assert trimmed(Journal(), model).changes == 0
    replay(model, short, INPUTS)


def test_an_edit_of_many_connections_is_noted_in_a_few_words() -> None:
    few = RemoveConnections("a", ((0, 1),))
    assert noted_edit(few) == str(few)
    assert noted_edit(AddNeurons("a", 100)) == str(AddNeurons("a", 100))
    assert noted_edit(move(20, 20, 64, 0)) == "-64 +64 connections in layers.20"
