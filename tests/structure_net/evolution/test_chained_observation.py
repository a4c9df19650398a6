"""A look at layers that run as a chain says what a look at them one by one says."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import fields
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from structure_net import create_standard_network
from structure_net.core.chaining import Onlooker, look_away, looked_at_by, through
from structure_net.core.layers import StandardSparseLayer
from structure_net.core.noting import Chain, ChainNotes, Picked
from structure_net.core.sparse_chains import chained_and_summed
from structure_net.core.undoing import Undoing
from structure_net.evolution import Need, Observation, observe
from structure_net.evolution.calls import RELU, Call, KnownChain
from structure_net.evolution.reductions.means import Summed
from structure_net.evolution.reductions.reduction import Noted, Reduction
from structure_net.evolution.reductions.values import Samples, Values
from structure_net.evolution.tracking import ActivationTracker
from structure_net.evolution.unit_layers import is_own_leaf
from tests.observations import compare

NOTED = frozenset({Need.ACTIVATIONS, Need.PROBE_VALUES})
NEEDS = frozenset({Need.ACTIVATIONS, Need.PROBE, Need.COACTIVATION})
BATCHES = 3


class Wrapped(nn.Module):
    """A sparse network whose outputs something else reads, with or without a ReLU."""

    def __init__(self, *, rectified: bool) -> None:
        super().__init__()
        self.body = create_standard_network([12, 9, 7, 5], density=0.5, seed=0)
        self.head = nn.Linear(5, 3)
        self.rectified = rectified

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.body(x)
        found: Tensor = self.head(torch.relu(hidden) if self.rectified else hidden)
        return found


class Bare(nn.Module):
    """Layers in a row without an activation between, then one."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.layers = nn.ModuleList(
            StandardSparseLayer(i, o, density=0.6, generator=generator)
            for i, o in ((12, 8), (8, 8), (8, 3))
        )
        self.last = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return through(zip(self.layers, (None, None, self.last), strict=True), x)


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "standard": lambda: create_standard_network([12, 9, 7, 3], density=0.5, seed=0),
    "tanh": lambda: create_standard_network([12, 9, 3], density=0.5, activation="tanh", seed=0),
    "wrapped": lambda: Wrapped(rectified=False),
    "rectified": lambda: Wrapped(rectified=True),
    "bare": Bare,
}


def _data() -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(1)
    return [
        (
            torch.randn(20, 12, generator=generator, dtype=torch.float64),
            torch.randint(3, (20,), generator=generator),
        )
        for _ in range(BATCHES)
    ]


def _seen(network: nn.Module) -> Observation:
    return observe(network, _data(), needs=NEEDS, probe_size=25)


pytestmark = pytest.mark.usefixtures("live_storage")


@pytest.fixture
def chains(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The lengths of the chains that were looked at."""
    lengths: list[int] = []

    def counted(inputs: Tensor, parameters: Any, links: Any) -> Any:
        lengths.append(len(links))
        return chained_and_summed(inputs, parameters, links)

    monkeypatch.setattr("structure_net.core.chaining.chained_and_summed", counted)
    return lengths


@pytest.mark.parametrize(
    ("kind", "length"), [("standard", 3), ("wrapped", 3), ("rectified", 3), ("bare", 3)]
)
def test_a_look_at_a_chain_is_a_look_at_its_layers(
    kind: str, length: int, chains: list[int]
) -> None:
    network = NETWORKS[kind]().double()
    found = _seen(network)
    assert chains == [length] * BATCHES
    layers = [one for one in network.modules() if isinstance(one, StandardSparseLayer)]
    hooks = [one.register_forward_hook(lambda *_: None) for one in layers]
    expected = _seen(network)
    assert chains == [length] * BATCHES
    assert all(hook.id in layer._forward_hooks for hook, layer in zip(hooks, layers, strict=True))
    compare(found, expected, near=1e-12)


@pytest.mark.parametrize(("kind", "noted"), [("standard", 5), ("wrapped", 4), ("rectified", 0)])
@pytest.mark.parametrize("needs", [NOTED, NOTED | {Need.PROBE}], ids=["values", "probe"])
def test_what_is_noted_of_a_chain_is_what_its_layers_tell(
    kind: str, noted: int, needs: frozenset[Need], monkeypatch: pytest.MonkeyPatch
) -> None:
    runs: list[int] = []

    def run(notes: ChainNotes, chain: Chain, picked: Picked | None) -> Tensor:
        runs.append(len(chain.links))
        return run_notes(notes, chain, picked)

    run_notes = ChainNotes.run
    monkeypatch.setattr(ChainNotes, "run", run)
    network = NETWORKS[kind]().double()
    data = [*_data(), *[(x[:13], y[:13]) for x, y in _data()[:2]]]
    found = observe(network, data, needs=needs, probe_size=30)
    assert len(runs) == noted
    layers = [one for one in network.modules() if isinstance(one, StandardSparseLayer)]
    for layer in layers:
        layer.register_forward_hook(lambda *_: None)
    expected = observe(network, data, needs=needs, probe_size=30)
    assert len(runs) == noted
    compare(found, expected, near=1e-12)
    assert found.probe is not None
    assert (found.probe.inputs is not None) == (Need.PROBE in needs)


@pytest.mark.parametrize("rectified", [True, False])
def test_layers_may_run_in_inference_mode(rectified: bool) -> None:
    class Frozen(Wrapped):
        def forward(self, x: Tensor) -> Tensor:
            with torch.inference_mode():
                return super().forward(x)

    frozen, plain = (one(rectified=rectified).double() for one in (Frozen, Wrapped))
    plain.load_state_dict(frozen.state_dict())
    compare(_seen(frozen), _seen(plain), near=1e-12)


class Wayward(Bare):
    """The same layer twice in a row, and an activation behind the last in the third batch alone."""

    passes = 0

    def forward(self, x: Tensor) -> Tensor:
        self.passes += 1
        first, middle, last = self.layers
        found = through([(first, None), (middle, self.last), (middle, None), (last, None)], x)
        return torch.relu(found) if self.passes == 3 else found


def test_what_is_noted_does_not_depend_on_what_other_batches_do() -> None:
    found = observe(Wayward().double(), _data(), needs=NOTED, probe_size=25)
    network = Wayward().double()
    for layer in network.layers:
        layer.register_forward_hook(lambda *_: None)
    compare(found, observe(network, _data(), needs=NOTED, probe_size=25), near=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["single", "double"])
@pytest.mark.parametrize(("width", "batch"), [(12, 20), (12, 37), (1, 37), (33, 300)])
def test_sums_are_the_same_bits_whoever_else_looks(
    width: int, batch: int, dtype: torch.dtype
) -> None:
    network = create_standard_network([width, 9, 7, 3], density=0.5, seed=0).to(dtype)
    generator = torch.Generator().manual_seed(1)
    inputs = torch.randn(3, batch, width, generator=generator, dtype=dtype)
    data = [(x, torch.zeros(batch, dtype=torch.int64)) for x in inputs]
    noted = observe(network, data)
    for need in (Need.COACTIVATION, Need.GRADIENTS):  # layers as a chain, and one by one
        needs, loss = {Need.ACTIVATIONS, need}, nn.functional.cross_entropy
        for name, layer in observe(network, data, needs=needs, loss=loss).layers.items():
            for one in fields(layer):
                here, there = getattr(noted.layers[name], one.name), getattr(layer, one.name)
                assert not isinstance(here, Tensor) or torch.equal(here, there), one.name


def test_a_layer_that_is_exchanged_during_a_look_is_looked_at_as_it_is() -> None:
    def data(network: Any) -> Iterator[tuple[Tensor, Tensor]]:
        for number, batch in enumerate([*_data(), *_data()]):
            if number == 3:
                with torch.no_grad():
                    network.layers[0].weight.mul_(2)
                network.layers[1] = NETWORKS["standard"]().double().get_submodule("layers.1")
            yield batch

    looked, layered = NETWORKS["standard"]().double(), NETWORKS["standard"]().double()
    found = observe(looked, data(looked), needs=NOTED, probe_size=25).layers
    for layer in (layered.get_submodule(f"layers.{number}") for number in range(3)):
        layer.register_forward_hook(lambda *_: None)
    expected = observe(layered, data(layered), needs=NOTED, probe_size=25).layers
    for name in ("layers.0", "layers.2"):
        compare(found[name].mean, expected[name].mean, near=1e-12)


def test_what_no_chain_can_hold_is_looked_at_by_layers(chains: list[int]) -> None:
    network = NETWORKS["tanh"]().double()
    seen = _seen(network)
    assert [layer.activation for layer in seen.layers.values()] == ["tanh", None]
    assert chains == [1] * BATCHES


def test_hooks_of_users_see_what_they_saw(chains: list[int]) -> None:
    network = NETWORKS["standard"]().double()
    taken: list[Tensor] = []
    middle = network.get_submodule("layers.1")
    middle.register_forward_hook(lambda module, args, output: taken.append(args[0]))
    _seen(network)
    assert len(taken) == BATCHES
    assert chains == [1, 1] * BATCHES
    with torch.no_grad():
        layers, relu = network.get_submodule("layers"), torch.relu
        first = network.get_submodule("layers.0")
        expected = [relu(first(x)) for x, _ in _data()]
    assert isinstance(layers, nn.ModuleList)
    for one, other in zip(taken, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)


def test_gradients_and_empty_batches_are_looked_at_by_layers(chains: list[int]) -> None:
    network = NETWORKS["standard"]().double()
    loss = nn.functional.cross_entropy
    observe(network, _data(), needs={Need.GRADIENTS}, loss=loss)
    with looked_at_by(_Refusing()), torch.no_grad():
        assert network(torch.zeros(0, 12, dtype=torch.float64)).shape == (0, 3)
    assert not chains


def test_a_chain_outside_of_a_look_is_told_to_nobody(chains: list[int]) -> None:
    network = NETWORKS["standard"]().double()
    _seen(network)
    del chains[:]
    with torch.no_grad():
        network(_data()[0][0])
    network(_data()[0][0])
    assert not chains
    assert all(not one._forward_hooks for one in network.modules())


def test_a_failing_look_leaves_nothing_behind(chains: list[int]) -> None:
    network = NETWORKS["standard"]().double()

    class Failing(_Refusing):
        chains = True

        def read(self, *values: Any) -> None:
            raise ValueError("read")

    with torch.no_grad(), Undoing() as undo:
        tracker = ActivationTracker(network, Failing())
        tracker.open(undo)
        with pytest.raises(ValueError, match="read"), tracker.watching():
            network(_data()[0][0])
    assert chains == [3]
    assert torch._C._len_torch_function_stack() == 0
    with torch.no_grad():
        network(_data()[0][0])
    assert chains == [3]


def test_who_looked_away_hears_of_no_chain() -> None:
    network, onlooker = NETWORKS["standard"]().double(), _Refusing()
    with looked_at_by(onlooker), torch.no_grad():
        look_away(_Refusing())
        with pytest.raises(AssertionError):
            network(_data()[0][0])
        look_away(onlooker)
        assert network(_data()[0][0]).isfinite().all()


class _Refusing:
    """Looks, and can tell of nothing."""

    chains = False

    def pause(self) -> bool:
        return True

    def resume(self) -> None: ...

    def follows(self, module: nn.Module) -> bool:
        return True

    def passed(self, stages: Any, values: Any, sums: Any) -> None:
        raise AssertionError

    def note(self, *values: Any) -> None: ...

    def read(self, *values: Any) -> None: ...

    def wrote(self, *values: Any) -> None: ...

    def settled(self, *values: Any) -> None: ...


def _is_onlooker(one: Onlooker) -> Onlooker:
    return one


def test_a_chain_is_known_by_its_modules_and_not_by_what_they_are_equal_to() -> None:
    stages = [(nn.Linear(2, 2), nn.ReLU()), (nn.Linear(2, 2), None)]
    calls = tuple(Call(str(n), layer, -1, n) for n, (layer, _) in enumerate(stages))
    known = KnownChain.of(stages, calls)
    assert known.is_of(stages)
    assert known.activations == (RELU, None)
    assert (known.reads, known.ends) == ((0, 1), (1, 2))
    assert not known.is_of(stages[:1])
    assert not known.is_of([stages[0], (nn.Linear(2, 2), None)])


def test_nothing_is_noted_where_nobody_says_so() -> None:
    class Silent(Reduction):
        def result(self, readers: Any) -> None: ...

    stage = nn.Linear(2, 2), nn.ReLU()
    call = Call("0", stage[0], -1, 0)
    silent, values = Silent(), torch.zeros(2, 3)
    assert not silent.notes
    assert silent.ready((call,), torch.float32)
    assert silent.pick((call,), 4, torch.float32) is None
    silent.noted(call, Noted(Summed(values, None, 4), Summed(torch.zeros(6, 3), None, 4), RELU))
    silent.sample(Values(call, values, Samples(2)))


def test_who_looks_on_has_what_a_chain_asks_for() -> None:
    assert _is_onlooker(_Refusing()).follows(nn.ReLU())


def test_only_leaves_of_users_are_watched_as_a_whole() -> None:
    class Swish(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x * torch.sigmoid(x)

    assert is_own_leaf(Swish())
    assert not is_own_leaf(nn.ReLU())
    assert not is_own_leaf(nn.Sequential(Swish()))
