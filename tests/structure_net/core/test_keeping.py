"""Networks and layers whose loading of a state is refused are as they were, and go on training."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from structure_net.core import SparseConv2d, StandardNetwork, StandardSparseLayer
from structure_net.core.changes import assign as write
from structure_net.core.crossover import Storage, set_crossover
from structure_net.core.keeping import Kept, all_or_nothing, by_name
from structure_net.core.optimizers import Adam
from structure_net.core.patches import TemporaryPatchLayer

State = dict[str, Tensor]
STORAGES: tuple[Storage, ...] = ("live", "masked")
SHAPES = {"linear": (3, 8), "convolution": (3, 8, 4, 4), "patch": (3, 8), "network": (3, 8)}


def made(kind: str, storage: Storage, seed: int) -> nn.Module:
    """What is loaded into, or a state comes from."""
    set_crossover(storage)
    try:
        generator = torch.Generator().manual_seed(seed)
        if kind == "network":
            return StandardNetwork([8, 6, 4], density=0.5, seed=seed)
        if kind == "convolution":
            return SparseConv2d(8, 6, 3, padding=1, density=0.3, generator=generator)
        layer = StandardSparseLayer(8, 6, density=0.3, generator=generator)
        if kind == "linear":
            return layer
        absent = (~layer.pattern.mask()).nonzero()[: 3 + seed]
        return TemporaryPatchLayer(layer, absent, scale=1.0, generator=generator)
    finally:
        set_crossover(None)


def first(state: State, name: str) -> str:
    """The first tensor of that name."""
    return next(key for key in state if key.rpartition(".")[2] == name)


def _damage(state: State) -> None:
    place = "columns" if any(key.endswith("columns") for key in state) else "mask"
    key = first(state, place)
    if place == "mask":
        state[key] = state[key][:-1]
    else:
        state[key][0] = 99


def _lack(state: State) -> None:
    del state[first(state, "weight")]


def _exceed(state: State) -> None:
    state["another"] = torch.ones(1)


def _reshape_the_last(state: State) -> None:
    key = [key for key in state if key.endswith("bias")][-1]
    state[key] = torch.ones(17)


def _retype(state: State) -> None:
    state[first(state, "weight")] = "no tensor"  # type: ignore[assignment]  # that is refused


def train(module: nn.Module, optimizer: torch.optim.Optimizer, inputs: Tensor) -> None:
    optimizer.zero_grad()
    module(inputs).square().mean().backward()
    optimizer.step()


SPOILS = (_damage, _lack, _exceed, _reshape_the_last, _retype)


@pytest.mark.parametrize("assign", [False, True])
@pytest.mark.parametrize("spoil", SPOILS)
@pytest.mark.parametrize("theirs", STORAGES)
@pytest.mark.parametrize("ours", STORAGES)
@pytest.mark.parametrize("kind", list(SHAPES))
def test_what_refuses_a_state_is_as_it_was_and_goes_on_training(
    kind: str, ours: Storage, theirs: Storage, spoil: Callable[[State], None], assign: bool
) -> None:
    inputs = torch.randn(SHAPES[kind], generator=torch.Generator().manual_seed(5))
    own, twin = made(kind, ours, 0), made(kind, ours, 0)
    optimizers = [Adam(one.parameters(), 0.1) for one in (own, twin)]
    for one, optimizer in zip((own, twin), optimizers, strict=True):
        train(one, optimizer, inputs)
    parameters = list(own.parameters())
    memory = [one.data_ptr() for one in (*own.parameters(), *own.buffers())]
    state = {name: one.clone() for name, one in made(kind, theirs, 1).state_dict().items()}
    spoil(state)
    with pytest.raises(RuntimeError, match="in loading state_dict"):
        own.load_state_dict(state, assign=assign)
    assert all(a is b for a, b in zip(own.parameters(), parameters, strict=True))
    assert [one.data_ptr() for one in (*own.parameters(), *own.buffers())] == memory
    for _ in range(2):
        for (name, a), (_, b) in zip(own.named_buffers(), twin.named_buffers(), strict=True):
            assert torch.equal(a, b), name
        for a, b in zip(own.parameters(), twin.parameters(), strict=True):
            assert torch.equal(a, b)
            assert a.grad is not None
            assert b.grad is not None
            assert torch.equal(a.grad, b.grad)
        for one, optimizer in zip((own, twin), optimizers, strict=True):
            train(one, optimizer, inputs)


@pytest.mark.parametrize("ours", STORAGES)
@pytest.mark.parametrize("lacking", ["weight", "columns", "offsets", "column_offsets"])
def test_a_list_with_gaps_is_refused_even_where_gaps_are_let_pass(
    ours: Storage, lacking: str
) -> None:
    own, twin = made("linear", ours, 0), made("linear", ours, 0)
    state = made("linear", "live", 1).state_dict()
    del state[lacking]
    with pytest.raises(RuntimeError, match=lacking if ours == "live" else "size mismatch"):
        own.load_state_dict(state, strict=False)
    for name, one in twin.state_dict().items():
        assert torch.equal(own.state_dict()[name], one)


@pytest.mark.parametrize("ours", STORAGES)
def test_a_gap_beside_the_layers_own_connections_passes(ours: Storage) -> None:
    own = made("linear", ours, 0)
    assert isinstance(own, StandardSparseLayer)
    assert own.bias is not None
    before = own.weight.detach().clone()
    state = own.state_dict()
    del state["weight"]
    own.load_state_dict({**state, "bias": torch.ones(6)}, strict=False)
    assert torch.equal(own.weight, before)
    assert torch.equal(own.bias, torch.ones(6))


@pytest.mark.parametrize("theirs", STORAGES)
def test_a_layer_of_somebody_elses_network_is_loaded_whole_or_not_at_all(theirs: Storage) -> None:
    last = nn.Linear(6, 2)
    own = nn.Sequential(made("linear", "live", 0), nn.ReLU(), last)
    before = own(torch.eye(8)).detach()
    state = nn.Sequential(made("linear", theirs, 1), nn.ReLU(), nn.Linear(6, 2)).state_dict()
    state["0.bias"] = torch.ones(5)
    state["2.weight"], state["2.bias"] = last.weight.detach(), last.bias.detach()
    with pytest.raises(RuntimeError, match=r"size mismatch for 0\.bias"):
        own.load_state_dict(state)
    assert torch.equal(own(torch.eye(8)), before)


def test_what_is_kept_is_put_back_after_any_error() -> None:
    own = nn.Linear(3, 2)
    weight, before = own.weight, own.weight.detach().clone()

    def fail() -> None:
        with all_or_nothing(own), torch.no_grad():
            own.weight.zero_()
            own.weight = nn.Parameter(torch.ones(5, 5))
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert own.weight is weight
    assert torch.equal(own.weight, before)


def test_a_buffer_that_repeats_one_number_is_put_back_too() -> None:
    own = StandardNetwork([6, 5, 3], density=0.5, seed=0)
    own.register_buffer("repeated", torch.ones(1).expand(4), persistent=False)
    before = {name: value.clone() for name, value in own.state_dict().items()}
    with pytest.raises(RuntimeError, match=r"Unexpected key\(s\) in state_dict: \"other\""):
        own.load_state_dict(
            {**StandardNetwork([6, 5, 3], density=0.5, seed=1).state_dict(), "other": torch.ones(1)}
        )
    assert all(torch.equal(value, before[name]) for name, value in own.state_dict().items())
    assert torch.equal(own.get_buffer("repeated"), torch.ones(4))


def test_a_buffer_that_is_computed_from_weights_is_loaded_without_a_warning() -> None:
    own = StandardNetwork([6, 5, 3], density=0.5, seed=0)
    own.register_buffer("computed", own.get_parameter("layers.0.bias") * 2)
    state = {
        name: value.detach() + 1
        for name, value in own.state_dict().items()
        if value.is_floating_point()
    }
    own.load_state_dict(state, strict=False)
    assert torch.equal(own.get_buffer("computed"), state["computed"])


class Copies(TorchDispatchMode):
    """Counts the bytes of all copies that are made."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch's
        self.bytes: int = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        made = func(*args, **(kwargs or {}))
        if func is torch.ops.aten.clone.default:
            self.bytes += made.numel() * made.element_size()
        return made


def copied(own: nn.Module, state: State, *, assign: bool = False) -> int:
    copies = Copies()
    with copies:
        own.load_state_dict(state, assign=assign)
    return copies.bytes


def size(own: nn.Module, *names: str) -> int:
    held = {**dict(own.named_parameters()), **dict(own.named_buffers())}
    return sum(held[name].numel() * held[name].element_size() for name in names)


@pytest.mark.parametrize("ours", STORAGES)
def test_only_what_a_load_writes_in_place_is_copied_and_only_once(ours: Storage) -> None:
    own, other = made("linear", ours, 0), made("linear", ours, 1)
    state = {name: one.clone() for name, one in own.state_dict().items()}
    index = ("mask",) if ours == "masked" else ("offsets", "columns", "column_offsets")
    assert copied(own, state) == size(own, "weight", "bias")
    assert copied(own, other.state_dict()) == size(own, "weight", "bias", *index)
    assert copied(own, state, assign=True) == 0
    network, twin = (nn.Sequential(made("linear", ours, seed)) for seed in (1, 0))
    assert copied(network, twin.state_dict()) == size(own, "weight", "bias", *index)


def test_a_list_of_another_length_is_kept_without_a_copy() -> None:
    own = made("linear", "live", 0)
    assert isinstance(own, StandardSparseLayer)
    assert copied(own, made("linear", "masked", 1).state_dict()) == size(own, "bias")
    own, fewer = made("linear", "live", 0), made("linear", "live", 1)
    assert isinstance(fewer, StandardSparseLayer)
    set_crossover("live")
    try:
        write(fewer, fewer.disconnected(fewer.pattern.pairs[:2]))
    finally:
        set_crossover(None)
    assert fewer.storage == "live"
    assert copied(own, fewer.state_dict()) == size(own, "bias", "offsets", "column_offsets")


@pytest.mark.parametrize("ours", STORAGES)
def test_a_network_is_copied_once_for_all_of_its_layers(ours: Storage) -> None:
    own = made("network", ours, 0)
    names = [name for name, _ in own.named_parameters()]
    assert copied(own, {k: one.clone() for k, one in own.state_dict().items()}) == size(own, *names)


class Scribbling(StandardSparseLayer):
    """Writes what no state names."""

    def _load_from_state_dict(self, *given: Any) -> None:
        super()._load_from_state_dict(*given)
        with torch.no_grad():
            assert self.bias is not None
            self.bias.fill_(7.0)


def test_what_a_method_or_hook_of_somebody_else_may_write_is_copied_whole() -> None:
    own = Scribbling(8, 6, density=0.3)
    before = {name: one.clone() for name, one in own.state_dict().items()}
    state = {**before, "weight": before["weight"] + 1, "another": torch.ones(1)}
    del state["bias"]
    with pytest.raises(RuntimeError, match="Missing key"):
        own.load_state_dict(state)
    assert all(torch.equal(one, before[name]) for name, one in own.state_dict().items())
    hooked = made("linear", "live", 0)
    names = [name for name, _ in (*hooked.named_parameters(), *hooked.named_buffers())]
    hooked.register_load_state_dict_post_hook(lambda *_: None)
    assert copied(hooked, hooked.state_dict()) == size(hooked, *names)


class Interrupting(Tensor):
    """Is interrupted where it is copied from."""

    @classmethod
    def __torch_function__(
        cls, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if func is Tensor.copy_:
            raise KeyboardInterrupt
        return super().__torch_function__(func, types, args, kwargs or {})  # type: ignore[no-untyped-call]  # torch's


@pytest.mark.parametrize("theirs", STORAGES)
@pytest.mark.parametrize("ours", STORAGES)
@pytest.mark.parametrize("kind", ["linear", "network", "patch"])
def test_an_interrupt_at_the_last_write_takes_back_the_first(
    kind: str, ours: Storage, theirs: Storage
) -> None:
    own = made(kind, ours, 0)
    before = {name: one.clone() for name, one in own.state_dict().items()}
    state = made(kind, theirs, 1).state_dict()
    last = [name for name in state if name.endswith("bias")][-1]
    state[last] = state[last].as_subclass(Interrupting)
    inputs = torch.ones(3, 8)
    outputs = own(inputs)
    with pytest.raises(KeyboardInterrupt):
        own.load_state_dict(state)
    assert list(own.state_dict()) == list(before)
    assert all(torch.equal(one, before[name]) for name, one in own.state_dict().items())
    assert torch.equal(own(inputs), outputs)


def test_within_a_block_a_part_is_put_back_by_itself_and_nothing_is_copied_again() -> None:
    first, second = nn.Linear(2, 2), nn.Linear(2, 2)
    own = nn.Sequential(first, second)
    kept = Kept(own, own.state_dict())
    assert kept.covers(second)
    assert not kept.covers(nn.Linear(2, 2))
    before = [one.detach().clone() for one in own.parameters()]
    with torch.no_grad(), Copies() as copies, all_or_nothing(own):
        around = copies.bytes
        with all_or_nothing(first) as put_back:
            assert copies.bytes == around
            for one in own.parameters():
                one.fill_(9.0)
            put_back()
        assert torch.equal(first.weight, before[0])
        assert set(second.weight.flatten().tolist()) == {9.0}
    kept.put_back(second)
    assert torch.equal(second.weight, before[2])


def test_a_method_is_marked_as_one_that_loads_by_name() -> None:
    def load() -> None:
        """Nothing."""

    assert by_name(load) is load
    assert hasattr(load, "by_name")
