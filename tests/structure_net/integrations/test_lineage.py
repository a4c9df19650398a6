"""A state dict that holds the lineage leads a model to the architecture that it was saved at."""

from __future__ import annotations

import io
import pickle
from copy import deepcopy

import pytest
import torch
from torch import Tensor, nn

from structure_net import create_standard_network
from structure_net.core import StandardSparseLayer
from structure_net.errors import CheckpointError
from structure_net.evolution import EpochRecord
from structure_net.integrations import Lineage, carry_lineage, lineage_of
from structure_net.surgery import (
    AddConnections,
    AddNeurons,
    Edit,
    EditEntry,
    InsertLayer,
    SplitNeurons,
    apply,
)
from structure_net.surgery.entries import EventEntry
from tests.structure_net.integrations.growing import network, shapes

EXAMPLE = torch.randn(2, 4, generator=torch.Generator().manual_seed(1))


def grow(model: nn.Module, *edits: Edit, optimizer: torch.optim.Optimizer | None = None) -> None:
    lineage = carry_lineage(model)
    lineage.example = EXAMPLE
    for edit in edits:
        seed = len(lineage.journal)
        applied = apply(model, edit, EXAMPLE, optimizer=optimizer, seed=seed)
        lineage.journal.append(EditEntry(applied.edit, seed=seed))


def through_a_file(state: dict[str, Tensor]) -> dict[str, Tensor]:
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    loaded: dict[str, Tensor] = torch.load(file, weights_only=True)
    return loaded


def test_a_new_model_becomes_the_saved_one() -> None:
    model = network()
    grow(model, AddNeurons("0", 3), InsertLayer("0"), SplitNeurons("0", (1,)))
    again = network(seed=1)
    carry_lineage(again)
    again.load_state_dict(through_a_file(model.state_dict()))
    assert torch.equal(again(EXAMPLE), model(EXAMPLE))
    assert carry_lineage(again).journal == carry_lineage(model).journal


def test_a_grown_model_goes_back_to_an_earlier_state() -> None:
    model = network()
    grow(model, AddNeurons("0", 3))
    early, output = deepcopy(model.state_dict()), model(EXAMPLE)
    parameters = dict(model.named_parameters())
    grow(model, InsertLayer("0"), SplitNeurons("0", (1,)))
    model.load_state_dict(early)
    assert torch.equal(model(EXAMPLE), output)
    assert dict(model.named_parameters()).keys() == parameters.keys()
    assert all(p is parameters[name] for name, p in model.named_parameters())
    assert model[0].out_features == 11
    assert len(carry_lineage(model).journal.edits) == 1


def test_a_grown_model_goes_back_to_its_birth_and_grows_again() -> None:
    model = network()
    grow(model)
    birth = deepcopy(model.state_dict())
    grow(model, AddNeurons("0", 3), InsertLayer("2"))
    model.load_state_dict(birth)
    assert shapes(model) == shapes(network())
    grow(model, AddNeurons("0", 1))
    assert model[0].out_features == 9


def test_a_sparse_network_goes_back_to_the_pattern_it_had() -> None:
    model = create_standard_network([4, 6, 2], density=0.3, seed=0)
    grow(model)
    layer = next(m for m in model.modules() if isinstance(m, StandardSparseLayer))
    name = next(n for n, m in model.named_modules() if m is layer)
    birth, pattern = deepcopy(model.state_dict()), layer.pattern
    free = (~pattern.mask()).nonzero().tolist()
    grow(model, AddConnections(name, tuple(map(tuple, free[:2]))), AddNeurons(name, 2))
    model.load_state_dict(birth)
    assert layer.pattern.shape == pattern.shape
    assert torch.equal(layer.pattern.mask(), pattern.mask())


def test_an_optimizer_goes_on_after_its_model_was_led_elsewhere() -> None:
    model = network()
    optimizer = torch.optim.Adam(model.parameters())
    grow(model, AddNeurons("0", 3))
    early = deepcopy(model.state_dict())
    carry_lineage(model).optimizers.add(optimizer)
    model(EXAMPLE).sum().backward()
    optimizer.step()
    grow(model, InsertLayer("0"), optimizer=optimizer)
    model.load_state_dict(early)
    optimizer.zero_grad()
    model(EXAMPLE).sum().backward()
    before = deepcopy(early)
    optimizer.step()
    assert len(optimizer.param_groups[0]["params"]) == 4
    changed = [n for n, p in model.named_parameters() if not torch.equal(p, before[n])]
    assert changed == ["0.weight", "0.bias", "2.weight", "2.bias"]


def test_the_state_of_an_optimizer_that_was_loaded_before_its_model_stays() -> None:
    model = network()
    optimizer = torch.optim.Adam(model.parameters())
    grow(model, AddNeurons("0", 3))
    model(EXAMPLE).sum().backward()
    optimizer.step()
    again = network(seed=1)
    follower = torch.optim.Adam(again.parameters())
    carry_lineage(again).optimizers.add(follower)
    follower.load_state_dict(optimizer.state_dict())
    again.load_state_dict(model.state_dict())
    for one, other in zip(model.parameters(), again.parameters(), strict=True):
        assert torch.equal(optimizer.state[one]["exp_avg"], follower.state[other]["exp_avg"])


def test_history_and_steps_travel() -> None:
    model = network()
    lineage = carry_lineage(model)
    lineage.history.append(EpochRecord(1, 0, 7, {"loss": 0.5}, parameters=3, connections=2))
    lineage.done = (9, 90)
    again = network()
    carry_lineage(again)
    again.load_state_dict(model.state_dict())
    assert carry_lineage(again).history == lineage.history
    assert carry_lineage(again).done == (9, 90)


def test_tokens_travel_as_the_example() -> None:
    class Tokens(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = nn.Embedding(5, 4)
            self.head = nn.Linear(4, 2)

        def forward(self, tokens: Tensor) -> Tensor:
            output: Tensor = self.head(self.table(tokens))
            return output

    model, tokens = Tokens(), torch.tensor([[0, 4], [3, 1]])
    lineage = carry_lineage(model)
    lineage.example = {"tokens": tokens}
    apply(model, AddNeurons("table", 2), lineage.example)
    lineage.journal.append(EditEntry(AddNeurons("table", 2)))
    again = Tokens()
    carry_lineage(again)
    again.load_state_dict(model.state_dict())
    assert torch.equal(carry_lineage(again).example["tokens"], tokens)
    assert torch.equal(again(tokens), model(tokens))


def test_a_model_inside_another_is_led_too() -> None:
    outer, again = nn.ModuleDict({"net": network()}), nn.ModuleDict({"net": network(1)})
    grow(outer["net"], AddNeurons("0", 3))
    carry_lineage(again["net"])
    again.load_state_dict(outer.state_dict())
    assert torch.equal(again["net"](EXAMPLE), outer["net"](EXAMPLE))


@pytest.mark.parametrize("copy", [deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_a_copy_carries_a_lineage_of_its_own(copy) -> None:  # type: ignore[no-untyped-def]
    model = network()
    grow(model, AddNeurons("0", 3))
    birth = network()
    carry_lineage(birth)
    twin = copy(model)
    twin.load_state_dict(birth.state_dict())
    assert shapes(twin) == shapes(birth)
    assert shapes(model) != shapes(birth)
    assert len(carry_lineage(model).journal) == 1


def test_a_model_learns_it_once() -> None:
    model = network()
    assert lineage_of(model) is None
    lineage = carry_lineage(model)
    assert carry_lineage(model) is lineage is lineage_of(model)
    assert isinstance(lineage, Lineage)


def test_a_state_dict_without_lineage_loads_as_ever() -> None:
    model, plain = network(), network(1)
    carry_lineage(model)
    model.load_state_dict(plain.state_dict())
    assert torch.equal(model(EXAMPLE), plain(EXAMPLE))


def test_a_lineage_of_another_model_is_refused_and_nothing_changes() -> None:
    model, other = network(), nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 3), nn.Linear(3, 2))
    grow(model, AddNeurons("0", 3))
    grow(other, AddNeurons("1", 3))
    output, early = model(EXAMPLE), shapes(model)
    with pytest.raises(CheckpointError, match="cannot be followed"):
        model.load_state_dict(other.state_dict())
    assert shapes(model) == early
    assert torch.equal(model(EXAMPLE), output)


def test_a_change_by_hand_is_refused() -> None:
    model = network()
    grow(model, AddNeurons("0", 3))
    carry_lineage(model).journal.append(EventEntry("opaque", 0, "Somebody"))
    again = network()
    carry_lineage(again)
    with pytest.raises(CheckpointError, match="by hand"):
        again.load_state_dict(model.state_dict())


def test_edits_without_an_example_are_refused() -> None:
    model, again = network(), network()
    grow(model, AddNeurons("0", 3))
    carry_lineage(model).example = None
    carry_lineage(again)
    with pytest.raises(CheckpointError, match="no example"):
        again.load_state_dict(model.state_dict())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"no json", "damaged"),
        (b'{"format": "other"}', "not one that was written here"),
        (
            b'{"format": "structure_net_lineage", "version": 9, "journal": 0, "history": 0,'
            b' "done": 0, "example": 0}',
            "version 9",
        ),
    ],
)
def test_what_is_no_lineage_is_refused(text: bytes, message: str) -> None:
    model = network()
    carry_lineage(model)
    state = model.state_dict()
    state["structure_net_lineage"] = torch.frombuffer(bytearray(text), dtype=torch.uint8)
    with pytest.raises(CheckpointError, match=message):
        model.load_state_dict(state)
