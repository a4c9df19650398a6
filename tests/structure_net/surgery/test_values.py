"""What edits, previews, comparisons and checkpoints hand back."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from structure_net.core import StandardSparseLayer, create_standard_network
from structure_net.errors import SurgeryError
from structure_net.graph import graph_of
from structure_net.surgery import (
    AddConnections,
    AddNeurons,
    Applied,
    Change,
    Checkpoint,
    CheckpointHeader,
    EditEntry,
    GradMax,
    Initialiser,
    Journal,
    JournalDiff,
    MergeNeurons,
    MoveConnections,
    Preview,
    Probe,
    RemoveNeurons,
    SplitNeurons,
    Undo,
    apply,
    diff,
    edit,
    load_checkpoint,
    operate,
    plan,
    preview,
    read_header,
    save_checkpoint,
)

EXAMPLE = torch.zeros(2, 4)


def model() -> nn.Module:
    return create_standard_network([4, 6, 3], seed=0)


def values(network: nn.Module) -> list[torch.Tensor]:
    return [tensor.clone() for tensor in network.state_dict().values()]


def assert_equal(one: list[torch.Tensor], two: list[torch.Tensor]) -> None:
    assert len(one) == len(two)
    assert all(torch.equal(a, b) for a, b in zip(one, two, strict=True))


def test_operating_gives_an_undo_that_works_once() -> None:
    network = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3))
    before = values(network)
    done = operate(network, plan(AddNeurons("0", 2), graph_of(network, EXAMPLE)))
    assert isinstance(done, Undo)
    done.undo()
    assert_equal(values(network), before)
    with pytest.raises(SurgeryError, match="undone before"):
        done.undo()


def test_undos_that_are_joined_take_both_edits_back() -> None:
    network = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3))
    before = values(network)
    first = operate(network, plan(AddNeurons("0", 2), graph_of(network, EXAMPLE)))
    second = operate(network, plan(RemoveNeurons("0", (0,)), graph_of(network, EXAMPLE)))
    first.then(second).undo()
    assert_equal(values(network), before)
    for spent in (first, second):
        with pytest.raises(SurgeryError):
            spent.undo()


def test_a_preview_says_what_applying_does() -> None:
    network = model()
    before, edit = values(network), AddNeurons("layers.0", 2)
    seen = preview(network, edit, EXAMPLE)
    assert isinstance(seen, Preview)
    assert_equal(values(network), before)
    done = apply(network, edit, EXAMPLE)
    assert isinstance(done, Applied)
    assert {(c.tensor, c.before, c.after) for c in seen.changes} == {
        (c.tensor, c.before, c.after) for c in done.changes
    }


def test_a_preview_prints_a_table() -> None:
    changes = (
        Change("a.weight", (4, 3), (6, 3), "writes"),
        Change("b.gain", None, (), "new"),
    )
    assert str(Preview(AddNeurons("a", 2), changes)).splitlines()[1:] == [
        "tensor    before  after  role",
        "a.weight  4x3     6x3    writes",
        "b.gain    -       ()     new",
    ]


def test_a_difference_has_the_common_steps_and_those_of_each() -> None:
    grow, more, prune = (
        EditEntry(edit, seed=0)
        for edit in (AddNeurons("a", 2), AddNeurons("a", 3), RemoveNeurons("a", (0,)))
    )
    left, right = Journal(), Journal()
    for journal, other in ((left, more), (right, prune)):
        journal.append(grow)
        journal.append(other)
    found = diff(left, right, names=("here", "there"))
    assert isinstance(found, JournalDiff)
    assert not found.same
    assert [entry.edit for entry in found.common] == [grow.edit]
    assert [entry.edit for entry in found.left] == [more.edit]
    assert [entry.edit for entry in found.right] == [prune.edit]
    assert "here" in str(found)
    assert "there" in str(found)
    assert diff(left, left).same


def test_the_header_of_a_file_is_that_of_the_loaded_checkpoint(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "c", model(), iteration=3, metadata={"note": "x"})
    header, loaded = read_header(tmp_path / "c"), load_checkpoint(tmp_path / "c")
    assert isinstance(header, CheckpointHeader)
    assert isinstance(loaded, Checkpoint)
    assert (header.iteration, header.metadata) == (3, {"note": "x"})
    assert (loaded.iteration, loaded.metadata) == (3, {"note": "x"})


def test_a_probe_is_what_gradmax_looks_at() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3)).double()
    inputs, targets = torch.randn(32, 4).double(), torch.randn(32, 3).double()
    probe: Probe = (inputs, targets, nn.functional.mse_loss)
    start: Initialiser = GradMax()
    before = network(inputs)
    apply(network, AddNeurons("0", 1), inputs, initialiser=start, probe=probe)
    assert start.preserves
    torch.testing.assert_close(network(inputs), before, rtol=0, atol=1e-10)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: AddNeurons("a", True), "AddNeurons.count must be a whole number; got True"),  # type: ignore[arg-type]
        (lambda: AddNeurons("a", "2"), "must be a whole number; got '2'"),  # type: ignore[arg-type]
        (lambda: AddNeurons("a", 1.5), "must be a whole number; got 1.5"),  # type: ignore[arg-type]
        (lambda: AddNeurons(5, 2), "AddNeurons.layer must be a name in quotes; got 5"),  # type: ignore[arg-type]
        (lambda: RemoveNeurons("a", 5), "must be whole numbers, such as"),  # type: ignore[arg-type]
        (lambda: MergeNeurons("a", (1, 2)), "must be pairs of whole numbers"),  # type: ignore[arg-type]
        (lambda: AddConnections("a", ((0.5, 0),)), "must be pairs of whole numbers"),  # type: ignore[arg-type]
        (lambda: AddConnections("a", ((1, 2), (3,))), "must be pairs of whole numbers"),  # type: ignore[arg-type]
        (lambda: SplitNeurons("a", (1,), noise="x"), "must be a number; got 'x'"),  # type: ignore[arg-type]
    ],
)
def test_a_field_of_another_kind_is_refused_when_the_edit_is_made(
    make: Callable[[], object], said: str
) -> None:
    with pytest.raises(TypeError, match=re.escape(said)):
        make()


def test_lists_and_the_integers_of_numpy_become_plain_tuples() -> None:
    indices = np.array([1, 2])
    assert RemoveNeurons("a", indices) == RemoveNeurons("a", (1, 2))  # type: ignore[arg-type]
    assert hash(AddConnections("a", [[1, 2]])) == hash(AddConnections("a", ((1, 2),)))  # type: ignore[arg-type]
    assert type(AddNeurons("a", np.int64(3)).count) is int


@pytest.mark.parametrize("pair", [(99, 0), (-1, 0), (0, 99)])
def test_a_connection_outside_of_its_layer_is_refused_in_one_line(pair: tuple[int, int]) -> None:
    network = create_standard_network([8, 4, 2], density=0.5, seed=0)
    with pytest.raises(SurgeryError, match="layer of shape"):
        edit(network, AddConnections("layers.0", (pair,), scale=1.0), None)


@pytest.mark.parametrize("scale", [-1.0, float("nan"), float("inf")])
def test_new_connections_have_a_scale(scale: float) -> None:
    network = create_standard_network([4, 6, 3], density=0.5, seed=0)
    before, layer = values(network), network.layers[0]
    assert isinstance(layer, StandardSparseLayer)
    gone = layer.pattern.pairs[:1]
    come = next((n, 0) for n in range(6) if (n, 0) not in layer.pattern.pairs)
    for change in (
        AddConnections("layers.0", (come,), scale=scale),
        MoveConnections("layers.0", gone, (come,), scale=scale),
    ):
        with pytest.raises(SurgeryError, match=r"scale must be a finite number, 0 or more; got"):
            edit(network, change, EXAMPLE)
    assert_equal(values(network), before)
