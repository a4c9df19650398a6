"""A checkpoint brings a network and its training back bit for bit, or says why it does not."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, LRScheduler, MultiStepLR, SequentialLR

from structure_net.core import SparseLayer, create_standard_network
from structure_net.errors import CheckpointError
from structure_net.surgery.applying import apply
from structure_net.surgery.checkpoint import load_checkpoint, read_header, save_checkpoint
from structure_net.surgery.edits import AddConnections
from structure_net.surgery.entries import EditEntry, EventEntry
from structure_net.surgery.journal import Journal


class Menagerie(nn.Module):
    """Tensors of every kind that models hold."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 2).bfloat16()
        self.scale = nn.Parameter(torch.tensor(1.5, dtype=torch.float64))
        self.empty = nn.Parameter(torch.empty(0, 4))
        self.strided = nn.Parameter(torch.arange(6.0).reshape(2, 3).t())
        self.register_buffer("mask", torch.tensor([True, False, True]))
        self.register_buffer("count", torch.tensor(2**40 + 1))
        self.register_buffer("phase", torch.tensor([1 + 2j, -1j]))
        self.register_buffer("bytes", torch.arange(5, dtype=torch.uint8))
        self.register_buffer("rounded", torch.tensor([0.1, float("nan"), -0.0]).half())
        self.register_buffer("cache", torch.zeros(2), persistent=False)


class Tied(nn.Module):
    def __init__(self, tie: bool = True) -> None:
        super().__init__()
        self.embedding = nn.Embedding(5, 4)
        self.head = nn.Linear(4, 5, bias=False)
        if tie:
            self.head.weight = self.embedding.weight


def dropout_net() -> nn.Module:
    torch.manual_seed(3)
    return nn.Sequential(
        nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 2)
    )


def bits(tensor: Tensor) -> bytes:
    return tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


def assert_same_state(one: nn.Module, other: nn.Module) -> None:
    a, b = one.state_dict(), other.state_dict()
    assert list(a) == list(b)
    for name, tensor in a.items():
        assert tensor.dtype == b[name].dtype
        assert tensor.shape == b[name].shape
        assert bits(tensor) == bits(b[name]), name


def train(
    model: nn.Module, optimizer: Optimizer, steps: int, scheduler: LRScheduler | None = None
) -> None:
    def closure() -> float:
        optimizer.zero_grad()
        loss = model(torch.randn(16, 6)).square().mean()
        loss.backward()
        return float(loss.item())

    for _ in range(steps):
        optimizer.step(closure)
        if scheduler is not None:
            scheduler.step()


def test_every_kind_of_tensor_comes_back_bit_for_bit(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = Menagerie()
    save_checkpoint(tmp_path / "c", model)
    torch.manual_seed(1)
    fresh = Menagerie()
    with torch.no_grad():
        for tensor in fresh.state_dict().values():
            tensor.zero_()
    loaded = load_checkpoint(tmp_path / "c", fresh)
    assert loaded.model is fresh
    assert_same_state(model, fresh)
    assert "cache" not in loaded.header.shapes


def test_parameters_stay_the_same_objects(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "c", dropout_net())
    fresh = dropout_net()
    before = list(fresh.parameters())
    load_checkpoint(tmp_path / "c", fresh)
    assert all(a is b for a, b in zip(before, fresh.parameters(), strict=True))


def test_tied_weights_are_stored_once_and_stay_tied(tmp_path: Path) -> None:
    model, fresh = Tied(), Tied()
    save_checkpoint(tmp_path / "c", model, optimizer=torch.optim.SGD(model.parameters()))
    header = load_checkpoint(tmp_path / "c", fresh).header
    assert list(header.shapes) == ["embedding.weight"]
    assert fresh.head.weight is fresh.embedding.weight
    assert_same_state(model, fresh)


@pytest.mark.parametrize(("saved", "given"), [(True, False), (False, True)])
def test_a_model_that_is_tied_otherwise_is_refused(
    tmp_path: Path, saved: bool, given: bool
) -> None:
    save_checkpoint(tmp_path / "c", Tied(saved))
    with pytest.raises(CheckpointError, match=r"'head.weight' shares .*: tie the model's tensors"):
        load_checkpoint(tmp_path / "c", Tied(given))


OPTIMIZERS: dict[str, Callable[[Any], Optimizer]] = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True),
    "plain sgd": lambda p: torch.optim.SGD(p, lr=0.1),
    "adam": lambda p: torch.optim.Adam(p, lr=0.01),
    "fused adamw": lambda p: torch.optim.AdamW(p, lr=0.01, amsgrad=True, fused=True),
    "tensor rate": lambda p: torch.optim.Adam(p, lr=torch.tensor(0.01)),
    "rmsprop": lambda p: torch.optim.RMSprop(p, lr=0.01, centered=True, momentum=0.5),
    "adagrad": lambda p: torch.optim.Adagrad(p, lr=0.1),
    "nadam": torch.optim.NAdam,
    "adafactor": torch.optim.Adafactor,
    "lbfgs": lambda p: torch.optim.LBFGS(p, lr=0.1, max_iter=3),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_training_that_was_interrupted_equals_training_that_was_not(
    tmp_path: Path, name: str
) -> None:
    model = dropout_net()
    optimizer = OPTIMIZERS[name](model.parameters())
    torch.manual_seed(5)
    train(model, optimizer, 5)
    save_checkpoint(tmp_path / "c", model, optimizer=optimizer)
    train(model, optimizer, 4)

    fresh = dropout_net()
    resumed = OPTIMIZERS[name](fresh.parameters())
    checkpoint = load_checkpoint(tmp_path / "c", fresh, optimizer=resumed)
    torch.manual_seed(99)
    checkpoint.restore_random_states()
    train(fresh, resumed, 4)
    assert_same_state(model, fresh)


def test_an_optimizer_made_after_the_load_resumes_as_well(tmp_path: Path) -> None:
    model = dropout_net()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    train(model, optimizer, 3)
    save_checkpoint(tmp_path / "c", model, optimizer=optimizer)
    train(model, optimizer, 2)

    checkpoint = load_checkpoint(tmp_path / "c", dropout_net())
    resumed = torch.optim.Adam(checkpoint.model.parameters(), lr=0.5)
    checkpoint.restore_optimizer(resumed)
    checkpoint.restore_random_states()
    train(checkpoint.model, resumed, 2)
    assert_same_state(model, checkpoint.model)


def test_moments_keep_a_finer_type_than_their_parameter(tmp_path: Path) -> None:
    model = nn.Linear(2, 2).bfloat16()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    moment = torch.rand(2, 2, dtype=torch.float32)
    optimizer.state[model.weight]["momentum_buffer"] = moment
    save_checkpoint(tmp_path / "c", model, optimizer=optimizer)
    fresh = nn.Linear(2, 2).bfloat16()
    resumed = torch.optim.SGD(fresh.parameters(), lr=0.1, momentum=0.9)
    load_checkpoint(tmp_path / "c", fresh, optimizer=resumed)
    back = resumed.state[fresh.weight]["momentum_buffer"]
    assert back.dtype == torch.float32
    assert torch.equal(back, moment)


def test_groups_come_back_with_their_parameters_and_options(tmp_path: Path) -> None:
    def groups(model: nn.Module) -> list[dict[str, Any]]:
        vectors = [p for p in model.parameters() if p.dim() == 1]
        matrices = [p for p in model.parameters() if p.dim() > 1]
        return [{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "lr": 0.5}]

    model, fresh = dropout_net(), dropout_net()
    optimizer = torch.optim.AdamW(groups(model), lr=0.01)
    train(model, optimizer, 2)
    save_checkpoint(tmp_path / "c", model, optimizer=optimizer)
    resumed = torch.optim.AdamW(groups(fresh), lr=0.3)
    load_checkpoint(tmp_path / "c", fresh, optimizer=resumed)
    assert [group["lr"] for group in resumed.param_groups] == [0.01, 0.5]
    assert [group["weight_decay"] for group in resumed.param_groups] == [0.1, 0.01]
    assert resumed.param_groups[0]["betas"] == (0.9, 0.999)
    assert read_header(tmp_path / "c").optimizer == {
        "class": "AdamW",
        "groups": [
            {**{k: v for k, v in g.items() if k != "params"}, "params": names}
            for g, names in zip(
                optimizer.param_groups,
                [["0.weight", "4.weight"], ["0.bias", "1.weight", "1.bias", "4.bias"]],
                strict=True,
            )
        ],
    }


SCHEDULERS: dict[str, Callable[[Optimizer], LRScheduler]] = {
    "multi-step": lambda o: MultiStepLR(o, [2, 4, 4, 6], gamma=0.5),
    "cosine": lambda o: CosineAnnealingLR(o, 9),
    "sequence": lambda o: SequentialLR(
        o, [MultiStepLR(o, [1]), CosineAnnealingLR(o, 5)], milestones=[3]
    ),
    "one cycle": lambda o: torch.optim.lr_scheduler.OneCycleLR(o, 0.1, total_steps=12),
}


@pytest.mark.parametrize("name", SCHEDULERS)
def test_a_schedule_goes_on_where_it_was(tmp_path: Path, name: str) -> None:
    model, fresh = dropout_net(), dropout_net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    scheduler = SCHEDULERS[name](optimizer)
    train(model, optimizer, 3, scheduler)
    save_checkpoint(tmp_path / "c", model, optimizer=optimizer, scheduler=scheduler)
    train(model, optimizer, 5, scheduler)

    resumed = torch.optim.SGD(fresh.parameters(), lr=0.1, momentum=0.9)
    again = SCHEDULERS[name](resumed)
    load_checkpoint(
        tmp_path / "c", fresh, optimizer=resumed, scheduler=again
    ).restore_random_states()
    train(fresh, resumed, 5, again)
    assert_same_state(model, fresh)
    assert again.get_last_lr() == scheduler.get_last_lr()


def test_what_was_given_comes_back(tmp_path: Path) -> None:
    journal = Journal([EventEntry("epoch", 2, detail={"loss": 0.5})])
    history: list[dict[str, Any]] = [
        {"epoch": 1, "loss": float("inf"), "by_class": (1, 2)},
        {"epoch": 2},
    ]
    metadata = {"name": "run", "scale": torch.tensor([1.0, 2.0])}
    generator = torch.Generator().manual_seed(4)
    save_checkpoint(
        tmp_path / "c",
        nn.Linear(2, 2),
        journal=journal,
        history=history,
        iteration=7,
        generators={"data": generator},
        metadata=metadata,
    )
    drawn = torch.rand(3, generator=generator)
    loaded = load_checkpoint(tmp_path / "c", nn.Linear(2, 2))
    assert (loaded.journal, loaded.history, loaded.iteration) == (journal, history, 7)
    assert loaded.metadata["name"] == "run"
    fresh = torch.Generator()
    loaded.restore_random_states({"data": fresh})
    assert torch.equal(torch.rand(3, generator=fresh), drawn)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_network_of_ours_comes_back_from_the_file_alone(
    tmp_path: Path, dtype: torch.dtype
) -> None:
    network = create_standard_network([12, 9, 5], density=0.4, seed=1, activation="tanh")
    network.to(dtype).eval()
    network.layers[0].bias.requires_grad_(False)
    save_checkpoint(tmp_path / "c", network)
    loaded = load_checkpoint(tmp_path / "c").model
    assert_same_state(network, loaded)
    assert not loaded.training
    assert [p.requires_grad for p in loaded.parameters()] == [
        p.requires_grad for p in network.parameters()
    ]
    inputs = torch.randn(3, 12, dtype=dtype)
    assert torch.equal(network(inputs), loaded(inputs))


def test_connections_come_back_without_a_replay(tmp_path: Path) -> None:
    network = create_standard_network([12, 9, 5], density=0.2, seed=1)
    layer = network.get_submodule("layers.0")
    assert isinstance(layer, SparseLayer)
    absent = (~layer.pattern.mask()).nonzero()[:4].tolist()
    edit = AddConnections("layers.0", tuple((row, column) for row, column in absent))
    apply(network, edit, None, seed=3)
    save_checkpoint(tmp_path / "c", network, journal=Journal([EditEntry(edit, seed=3)]))
    loaded = load_checkpoint(tmp_path / "c").model.get_submodule("layers.0")
    assert isinstance(loaded, SparseLayer)
    assert loaded.pattern == layer.pattern


def test_an_epsilon_that_an_edit_changed_comes_back(tmp_path: Path) -> None:
    norm = nn.LayerNorm(4)
    norm.eps = 7e-6
    save_checkpoint(tmp_path / "c", nn.Sequential(norm))
    fresh = nn.Sequential(nn.LayerNorm(4))
    load_checkpoint(tmp_path / "c", fresh)
    assert fresh[0].eps == 7e-6


def test_a_wrapped_model_is_saved_and_loaded_as_what_is_inside(tmp_path: Path) -> None:
    model, fresh = dropout_net(), dropout_net()
    with torch.no_grad():
        fresh.get_parameter("0.weight").zero_()
    compiled = torch.compile(model, backend="eager")
    assert isinstance(compiled, nn.Module)
    optimizer = torch.optim.SGD(compiled.parameters(), momentum=0.9)
    save_checkpoint(tmp_path / "c", compiled, optimizer=optimizer)
    assert load_checkpoint(tmp_path / "c", nn.DataParallel(fresh)).model is fresh
    assert_same_state(model, fresh)


def test_extra_state_comes_back(tmp_path: Path) -> None:
    class Counting(nn.Module):
        def __init__(self, seen: int) -> None:
            super().__init__()
            self.seen = seen

        def get_extra_state(self) -> dict[str, Any]:
            return {"seen": self.seen, "scale": torch.tensor([0.5])}

        def set_extra_state(self, state: dict[str, Any]) -> None:
            self.seen = state["seen"]
            self.scale = state["scale"]

    save_checkpoint(tmp_path / "c", Counting(3))
    fresh = Counting(0)
    load_checkpoint(tmp_path / "c", fresh)
    assert fresh.seen == 3
    assert fresh.scale.tolist() == [0.5]


def test_loading_runs_no_pickle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("something was unpickled")

    network = create_standard_network([4, 3], seed=0)
    save_checkpoint(tmp_path / "c", network, optimizer=torch.optim.Adam(network.parameters()))
    for module, name in [(pickle, "load"), (pickle, "loads"), (pickle, "Unpickler")]:
        monkeypatch.setattr(module, name, refuse)
    monkeypatch.setattr(torch, "load", refuse)
    load_checkpoint(tmp_path / "c")


def test_the_same_state_gives_the_same_bytes(tmp_path: Path) -> None:
    network = create_standard_network([4, 3], seed=0)
    torch.manual_seed(0)
    save_checkpoint(tmp_path / "a", network)
    save_checkpoint(tmp_path / "b", network)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
