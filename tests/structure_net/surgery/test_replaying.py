"""A journal and its start architecture give the final architecture; a checkpoint fills it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from structure_net.core import create_standard_network, sparse_layers
from structure_net.errors import CheckpointError, JournalError
from structure_net.surgery.applying import apply
from structure_net.surgery.checkpoint import load_checkpoint, save_checkpoint
from structure_net.surgery.edits import (
    AddConnections,
    AddNeurons,
    AddResidualBlock,
    AddSkipConnection,
    DoubleWidth,
    Edit,
    InsertLayer,
    RemoveConnections,
    RemoveNeurons,
    SplitNeurons,
)
from structure_net.surgery.entries import EditEntry, EventEntry
from structure_net.surgery.journal import Journal
from structure_net.surgery.lineage import architecture, final_widths, width_changes, widths
from structure_net.surgery.replaying import replay


def mlp() -> nn.Module:
    return nn.Sequential(
        nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 7), nn.ReLU(), nn.Linear(7, 3)
    )


def convolutional() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Conv2d(4, 6, 3),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(6, 3),
    )


class Normalised(nn.Module):
    """A residual stream under a LayerNorm, whose epsilon follows its width."""

    def __init__(self) -> None:
        super().__init__()
        self.enter = nn.Linear(6, 8)
        self.norm = nn.LayerNorm(8)
        self.inner = nn.Linear(8, 8)
        self.last = nn.LayerNorm(8)
        self.leave = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        stream = self.enter(x)
        stream = stream + self.inner(torch.relu(self.norm(stream)))
        out: Tensor = self.leave(self.last(stream))
        return out


def sparse() -> nn.Module:
    return create_standard_network([6, 12, 10, 3], density=0.4, seed=5)


FLAT = torch.zeros(4, 6)
IMAGES = torch.zeros(2, 1, 6, 6)
LINEAGES: dict[str, tuple[Callable[[], nn.Module], Tensor, Sequence[Edit]]] = {
    "mlp": (
        mlp,
        FLAT,
        [
            AddNeurons("0", 3),
            SplitNeurons("3", (1, 4), 0.01),
            RemoveNeurons("0", (0, 9)),
            InsertLayer("3"),
            AddNeurons("3", 2),
            AddResidualBlock("0", 5),
            DoubleWidth("3"),
        ],
    ),
    "convolutional": (
        convolutional,
        IMAGES,
        [AddNeurons("0", 2), AddSkipConnection("0", "3"), AddNeurons("3", 4)],
    ),
    "layer norm": (
        Normalised,
        FLAT,
        [AddNeurons("enter", 4), RemoveNeurons("enter", (1,)), DoubleWidth("enter")],
    ),
    "sparse": (
        sparse,
        FLAT,
        [
            AddNeurons("layers.0", 4),
            RemoveConnections("layers.1", ()),
            InsertLayer("layers.1", activation="relu"),
            AddConnections("layers.0", ((0, 0), (15, 5)), 0.5),
            AddNeurons("layers.1", 3),
            RemoveNeurons("layers.0", (2, 3)),
        ],
    ),
}


def seeded(make: Callable[[], nn.Module], seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return make()


def steps(model: nn.Module, optimizer: torch.optim.Optimizer, example: Tensor, count: int) -> None:
    for _ in range(count):
        optimizer.zero_grad()
        model(torch.randn_like(example)).square().mean().backward()
        optimizer.step()


def live(name: str, model: nn.Module, edit: Edit) -> Edit:
    """``edit``, with connections that exist, or do not exist, where it is about connections."""
    layers = sparse_layers(model)
    if isinstance(edit, RemoveConnections):
        return RemoveConnections(edit.layer, layers[edit.layer].pattern.pairs[:3])
    if isinstance(edit, AddConnections):
        absent = (~layers[edit.layer].pattern.mask()).nonzero()[:3].tolist()
        return AddConnections(edit.layer, tuple((a, b) for a, b in absent), edit.scale)
    return edit


def evolved(name: str) -> tuple[nn.Module, torch.optim.Optimizer, Journal, Tensor]:
    """A network that trained and was edited in turn, and the journal of it."""
    make, example, edits = LINEAGES[name]
    model = seeded(make, 0)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    journal = Journal([EventEntry("start", detail=architecture(model))])
    for number, wanted in enumerate(edits):
        steps(model, optimizer, example, 2)
        edit, before = live(name, model, wanted), architecture(model)
        apply(model, edit, example, optimizer=optimizer, seed=number)
        changes = width_changes(before, architecture(model))
        journal.append(EditEntry(edit, number, "test", "", number, changes))
        journal.append(EventEntry("epoch", number, detail={"loss": 1.0}))
    steps(model, optimizer, example, 2)
    return model, optimizer, journal, example


def shape_of(model: nn.Module) -> dict[str, Any]:
    """The architecture: module tree, shapes, patterns, and the plain numbers of modules."""
    return {
        "tree": [(name, type(module).__name__) for name, module in model.named_modules()],
        "shapes": {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()},
        "patterns": {name: layer.pattern for name, layer in sparse_layers(model).items()},
        "numbers": {
            name: {
                key: value
                for key, value in vars(module).items()
                if isinstance(value, int | float | tuple) and not key.startswith("_")
            }
            for name, module in model.named_modules()
        },
    }


@pytest.mark.parametrize("name", LINEAGES)
def test_replay_gives_the_final_architecture(name: str) -> None:
    model, _, journal, example = evolved(name)
    replayed = replay(seeded(LINEAGES[name][0], 9), Journal.from_json(journal.to_json()), example)
    assert shape_of(replayed) == shape_of(model)
    assert final_widths(journal) == widths(architecture(model))


@pytest.mark.parametrize("name", LINEAGES)
def test_the_same_seeds_give_the_same_weights(name: str) -> None:
    journal, example = evolved(name)[2:]
    one = replay(seeded(LINEAGES[name][0], 9), journal, example)
    other = replay(seeded(LINEAGES[name][0], 9), journal, example)
    for key, tensor in one.state_dict().items():
        assert torch.equal(tensor, other.state_dict()[key])


def same(one: nn.Module, other: nn.Module) -> bool:
    a, b = one.state_dict(), other.state_dict()
    return list(a) == list(b) and all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("name", LINEAGES)
def test_an_edited_network_resumes_from_its_start_architecture(tmp_path: Path, name: str) -> None:
    model, optimizer, journal, example = evolved(name)
    save_checkpoint(tmp_path / "c", model, optimizer=optimizer, journal=journal, example=example)
    steps(model, optimizer, example, 3)

    fresh = seeded(LINEAGES[name][0], 9)
    resumed = torch.optim.Adam(fresh.parameters(), lr=0.7)
    checkpoint = load_checkpoint(tmp_path / "c", fresh, optimizer=resumed)
    assert checkpoint.journal == journal
    checkpoint.restore_random_states()
    steps(fresh, resumed, example, 3)
    assert same(model, fresh)
    assert shape_of(model) == shape_of(fresh)


@pytest.mark.parametrize("name", LINEAGES)
def test_an_edited_network_loads_into_its_final_architecture(tmp_path: Path, name: str) -> None:
    model, optimizer, journal, example = evolved(name)
    save_checkpoint(tmp_path / "c", model, optimizer=optimizer, journal=journal)
    final = replay(seeded(LINEAGES[name][0], 9), journal, example)
    load_checkpoint(tmp_path / "c", final)
    assert same(model, final)
    assert shape_of(model) == shape_of(final)


def test_an_edited_network_of_ours_comes_back_from_the_file_alone(tmp_path: Path) -> None:
    model, optimizer, journal, example = evolved("sparse")
    save_checkpoint(tmp_path / "c", model, optimizer=optimizer, journal=journal)
    steps(model, optimizer, example, 3)

    checkpoint = load_checkpoint(tmp_path / "c")
    resumed = torch.optim.Adam(checkpoint.model.parameters())
    checkpoint.restore_optimizer(resumed)
    checkpoint.restore_random_states()
    steps(checkpoint.model, resumed, example, 3)
    assert same(model, checkpoint.model)
    assert shape_of(model) == shape_of(checkpoint.model)


def test_a_loaded_network_can_be_edited_and_trained_on(tmp_path: Path) -> None:
    model, optimizer, journal, example = evolved("sparse")
    save_checkpoint(tmp_path / "c", model, optimizer=optimizer, journal=journal)
    checkpoint = load_checkpoint(tmp_path / "c")
    resumed = torch.optim.Adam(checkpoint.model.parameters(), lr=0.01)
    checkpoint.restore_optimizer(resumed)
    for network, its in ((model, optimizer), (checkpoint.model, resumed)):
        apply(network, AddNeurons("layers.0", 2), example, optimizer=its, seed=40)
        torch.manual_seed(3)
        steps(network, its, example, 3)
    assert same(model, checkpoint.model)


def untouched(model: nn.Module, action: Callable[[], object]) -> None:
    before, shape = copy.deepcopy(model), shape_of(model)
    action()
    assert same(before, model)
    assert shape_of(model) == shape


def refusal(model: nn.Module, journal: Journal, message: str) -> None:
    def attempt() -> None:
        with pytest.raises(JournalError, match=message) as caught:
            replay(model, journal, FLAT)
        assert "\n" not in str(caught.value)

    untouched(model, attempt)


def test_replay_stops_at_a_change_made_by_hand() -> None:
    journal = Journal([EditEntry(AddNeurons("0", 2)), EventEntry("opaque", 3, "MyGrowth")])
    refusal(mlp(), journal, r"Entry 1 is a change that MyGrowth made by hand in iteration 3")


def test_replay_of_an_edit_that_fails_takes_the_others_back() -> None:
    journal = Journal([EditEntry(AddNeurons("0", 2)), EditEntry(AddNeurons("nowhere", 2))])
    refusal(mlp(), journal, r"Entry 1, AddNeurons\(layer='nowhere', count=2\), cannot be replayed")


def test_replay_from_another_start_is_refused() -> None:
    model = mlp()
    journal = Journal([EventEntry("start", detail=architecture(model))])
    journal.append(EditEntry(AddNeurons("0", 2)))
    replay(model, journal, FLAT)
    refusal(model, journal, r"'0' has 6 inputs and 10 outputs, the journal 6 inputs and 8 outputs")
    refusal(nn.Sequential(nn.Linear(6, 8)), journal, r"'3' has no such layer, the journal 8 inputs")


def test_replay_that_ends_elsewhere_is_refused() -> None:
    journal = Journal([EventEntry("start", detail=architecture(mlp()))])
    changes = width_changes({"layers": {}}, {"layers": {"0": {"outputs": 11}}})
    journal.append(EditEntry(AddNeurons("0", 2), changes=changes))
    refusal(mlp(), journal, r"After the replay '0' has 10 outputs; the journal says 11")


def test_a_checkpoint_whose_journal_leads_elsewhere_is_refused(tmp_path: Path) -> None:
    model, _, journal, _ = evolved("mlp")
    for kept, message in [
        (Journal(), "It holds no edits: build the model as it was saved"),
        (Journal(journal[1:4]), "After the journal's edits the checkpoint does not fit the model"),
        (
            Journal([*journal, EventEntry("opaque", 3, "MyGrowth")]),
            "does not lead there: .* made by hand",
        ),
        (
            Journal([EditEntry(AddNeurons("9", 2))]),
            r"does not lead there: Entry 0, .*cannot be replayed",
        ),
    ]:
        save_checkpoint(tmp_path / "c", model, journal=kept, example=FLAT)

        fresh = mlp()

        def attempt(message: str = message, fresh: nn.Module = fresh) -> None:
            with pytest.raises(CheckpointError, match=message) as caught:
                load_checkpoint(tmp_path / "c", fresh)
            assert "\n" not in str(caught.value)

        untouched(fresh, attempt)


def test_a_checkpoint_without_an_example_asks_for_one(tmp_path: Path) -> None:
    model, _, journal, example = evolved("mlp")
    save_checkpoint(tmp_path / "c", model, journal=journal)
    with pytest.raises(CheckpointError, match="To carry out the journal's edits first, give exam"):
        load_checkpoint(tmp_path / "c", mlp())
    fresh = mlp()
    load_checkpoint(tmp_path / "c", fresh, example=example)
    assert same(model, fresh)


def test_an_optimizer_that_does_not_fit_leaves_the_model_at_its_start(tmp_path: Path) -> None:
    model, optimizer, journal, example = evolved("mlp")
    save_checkpoint(tmp_path / "c", model, optimizer=optimizer, journal=journal, example=example)
    fresh = mlp()
    wrong = torch.optim.SGD(fresh.parameters(), lr=0.1, momentum=0.9)
    steps(fresh, wrong, example, 2)
    moments = copy.deepcopy(wrong.state_dict())

    def attempt() -> None:
        with pytest.raises(CheckpointError, match="the state of a Adam; got a SGD"):
            load_checkpoint(tmp_path / "c", fresh, optimizer=wrong)

    untouched(fresh, attempt)
    after = wrong.state_dict()
    assert after["param_groups"] == moments["param_groups"]
    for number, state in moments["state"].items():
        assert torch.equal(after["state"][number]["momentum_buffer"], state["momentum_buffer"])


def test_a_save_brings_an_optimizer_up_to_date_that_was_not_told_of_an_edit(
    tmp_path: Path,
) -> None:
    model = mlp()
    optimizer = torch.optim.Adam(model.parameters())
    steps(model, optimizer, FLAT, 2)
    apply(model, AddNeurons("0", 2), FLAT)
    save_checkpoint(tmp_path / "c", model, optimizer=optimizer)
    state = optimizer.state[model.get_parameter("0.weight")]
    assert state["exp_avg"].shape == (10, 6)
