from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from structure_net.core import create_standard_network
from structure_net.errors import StructureNetError
from structure_net.evolution import Need, observe
from tests.zoo import ZOO

# Sums of float64 values in another order: a few hundred roundings of 1e-16.
EXACT = {"rtol": 1e-12, "atol": 1e-12}


class Functional(nn.Module):
    """Activations as functions and methods, in place, behind a normalisation, and on a sum."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.second = nn.Conv2d(4, 4, 3, padding=1)
        self.hidden = nn.Linear(4 * 36, 8)
        self.gate = nn.Linear(8, 5)
        self.head = nn.Linear(5, 3)

    def stages(self, x: Tensor) -> dict[str, Tensor]:
        a = F.relu(self.norm(self.conv(x)))
        b = torch.relu(self.second(a) + a)
        c = torch.tanh(self.hidden(b.flatten(1)))
        d = self.gate(c).sigmoid()
        return {"conv": a, "second": b, "hidden": c, "gate": d, "head": self.head(d)}

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.norm(self.conv(x)), inplace=True)
        y = self.second(x)
        y += x
        y = torch.relu_(y)
        h = torch.tanh(self.hidden(y.flatten(1)))
        out: Tensor = self.head(self.gate(h).sigmoid())
        return out


class Mixture(nn.Module):
    """A leaf activation of one's own."""

    def forward(self, x: Tensor) -> Tensor:
        return 0.5 * x + 0.5 * torch.relu(x)


def data(batches: int, *shape: int, seed: int = 0) -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(seed)
    return [
        (
            torch.randn(7, *shape, generator=generator, dtype=torch.float64),
            torch.randint(3, (7,), generator=generator),
        )
        for _ in range(batches)
    ]


def by_unit(values: list[Tensor]) -> Tensor:
    rows = [v.movedim(1, -1).reshape(-1, v.size(1)) for v in values]
    return torch.cat(rows)


@pytest.fixture
def network() -> Functional:
    torch.manual_seed(0)
    return Functional().double().eval()


def test_statistics_are_those_of_the_value_after_the_activation(network: Functional) -> None:
    batches = data(3, 1, 6, 6)
    with torch.no_grad():
        stages = [network.stages(x) for x, _ in batches]
    seen = observe(network, batches)
    for name in ("conv", "second", "hidden", "gate", "head"):
        values = by_unit([stage[name] for stage in stages])
        layer = seen.layers[name]
        assert layer.count == len(values)
        expected = {
            "minimum": values.amin(0),
            "maximum": values.amax(0),
            "mean": values.mean(0),
            "second_moment": values.square().mean(0),
            "firing_rate": (values > 0).double().mean(0),
            "variance": values.var(0, correction=0),
        }
        for statistic, value in expected.items():
            torch.testing.assert_close(getattr(layer, statistic), value, **EXACT)
    assert (seen.batches, seen.samples) == (3, 21)


def test_the_activation_and_the_readers_of_each_layer_are_found(network: Functional) -> None:
    layers = observe(network, data(1, 1, 6, 6)).layers
    activations = {name: layer.activation for name, layer in layers.items()}
    assert activations == {
        "conv": "relu",
        "second": "relu",
        "hidden": "tanh",
        "gate": "sigmoid",
        "head": None,
    }
    readers = {name: layer.readers for name, layer in layers.items()}
    # `hidden` reads flattened pixels, not the units of `second` one by one.
    assert readers == {
        "conv": ("second",),
        "second": (),
        "hidden": ("gate",),
        "gate": ("head",),
        "head": (),
    }


def test_slopes_are_the_derivatives_of_bounded_activations(network: Functional) -> None:
    batches = data(2, 1, 6, 6)
    with torch.no_grad():
        stages = [network.stages(x) for x, _ in batches]
    layers = observe(network, batches).layers
    tanh, sigmoid = (torch.cat([s[name] for s in stages]) for name in ("hidden", "gate"))
    assert layers["conv"].slope is None
    torch.testing.assert_close(layers["hidden"].slope, (1 - tanh**2).mean(0), **EXACT)
    expected = (4 * sigmoid * (1 - sigmoid)).mean(0)
    torch.testing.assert_close(layers["gate"].slope, expected, **EXACT)


def test_inputs_are_reduced_per_input_unit(network: Functional) -> None:
    batches = data(2, 1, 6, 6)
    layers = observe(network, batches).layers
    pixels = torch.cat([x for x, _ in batches]).reshape(-1, 1)
    torch.testing.assert_close(layers["conv"].input_mean, pixels.mean(0), **EXACT)
    expected = pixels.square().mean(0)
    torch.testing.assert_close(layers["conv"].input_second_moment, expected, **EXACT)
    assert layers["hidden"].input_mean is not None
    assert layers["hidden"].input_mean.shape == (144,)


class Overwriting(nn.Module):
    """Writes into the activation before the next layer reads it."""

    def __init__(self, times: float | None) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, 6), nn.Linear(6, 2)
        self.times = times

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.first(x))
        if self.times is None:
            x[:, 0] = 7.0
        else:
            x *= self.times
        out: Tensor = self.second(x)
        return out


@pytest.mark.parametrize("times", [None, 3.0, 1.0])
def test_the_input_of_a_layer_is_what_it_reads_not_what_was_written_before(
    times: float | None,
) -> None:
    torch.manual_seed(0)
    network = Overwriting(times).double()
    ((x, y),) = data(1, 4)
    with torch.no_grad():
        written = torch.relu(network.first(x))
        read = written * (times or 1.0)
        if times is None:
            read[:, 0] = 7.0
    layers = observe(network, [(x, y)]).layers
    torch.testing.assert_close(layers["first"].mean, written.mean(0), **EXACT)
    torch.testing.assert_close(layers["second"].input_mean, read.mean(0), **EXACT)
    moment = layers["second"].input_second_moment
    torch.testing.assert_close(moment, read.square().mean(0), **EXACT)


def test_gradients_are_those_of_the_loss_at_the_units(network: Functional) -> None:
    batches = data(2, 1, 6, 6)
    found = []
    for x, y in batches:
        stages = network.stages(x)
        (gradient,) = torch.autograd.grad(F.cross_entropy(stages["head"], y), [stages["second"]])
        found.append(gradient)
    values = by_unit(found)
    needs = frozenset({Need.ACTIVATIONS, Need.GRADIENTS})
    layer = observe(network, batches, needs=needs, loss=F.cross_entropy).layers["second"]
    torch.testing.assert_close(layer.gradient_mean, values.mean(0), **EXACT)
    torch.testing.assert_close(layer.gradient_second_moment, values.square().mean(0), **EXACT)
    assert all(parameter.grad is None for parameter in network.parameters())


def test_the_output_of_a_leaf_activation_of_ones_own_counts() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(4, 6), Mixture(), nn.Linear(6, 2)).double()
    ((x, y),) = data(1, 4)
    with torch.no_grad():
        values = network[:2](x)
    layer = observe(network, [(x, y)]).layers["0"]
    torch.testing.assert_close(layer.mean, values.mean(0), **EXACT)
    assert layer.activation == "relu"
    assert layer.readers == ("2",)


def test_sequences_count_every_position() -> None:
    torch.manual_seed(0)
    network = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, activation="gelu").double()
    layers = observe(network, data(2, 5, 8)).layers
    assert layers["linear1"].count == 2 * 7 * 5
    assert layers["linear1"].activation == "gelu"
    assert layers["linear1"].readers == ("linear2",)


def test_a_layer_that_is_called_twice_gathers_both_calls() -> None:
    torch.manual_seed(0)
    layer = nn.Linear(4, 4).double()
    network = nn.Sequential(layer, nn.ReLU(), layer)
    ((x, y),) = data(1, 4)
    seen = observe(network, [(x, y)]).layers["0"]
    with torch.no_grad():
        first = layer(x).relu()
        expected = torch.cat([first, layer(first)])
    assert seen.count == 14
    torch.testing.assert_close(seen.mean, expected.mean(0), **EXACT)


@pytest.mark.parametrize("needs", [{Need.ACTIVATIONS}, {Need.ACTIVATIONS, Need.GRADIENTS}])
def test_observing_leaves_the_network_as_it_was(needs: set[Need]) -> None:
    torch.manual_seed(0)
    network = Functional().double().train()
    network.second.eval()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    observe(network, data(2, 1, 6, 6), needs=needs, loss=F.cross_entropy)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert [m.training for m in network.children()] == [True, True, False, True, True, True]
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in network.modules())


def test_hooks_are_removed_when_the_pass_raises(network: Functional) -> None:
    def broken() -> Iterator[tuple[Tensor, Tensor]]:
        yield from data(1, 1, 6, 6)
        raise RuntimeError("the disk is gone")

    with pytest.raises(RuntimeError, match="disk"):
        observe(network, broken())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in network.modules())
    # Functions are no longer watched either.
    assert torch.relu(torch.tensor(-1.0)) == 0


def test_no_activation_outlives_the_pass() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 2)).double()
    alive: list[weakref.ref[Tensor]] = []
    handle = network[0].register_forward_hook(
        lambda module, args, output: alive.append(weakref.ref(output))
    )
    counts = []

    def watched() -> Iterator[tuple[Tensor, Tensor]]:
        for batch in data(6, 4):
            gc.collect()
            counts.append(sum(ref() is not None for ref in alive))
            yield batch

    seen = observe(network, watched())
    handle.remove()
    gc.collect()
    assert seen.batches == 6
    assert not any(ref() is not None for ref in alive)
    # While the pass runs, at most the newest batch's value is there.
    assert max(counts) <= 1


def test_sparse_networks_are_observed_by_their_own_layers() -> None:
    network = create_standard_network([6, 8, 5, 3], density=0.5, seed=0).double()
    layers = observe(network, data(1, 6)).layers
    assert list(layers) == ["layers.0", "layers.1", "layers.2"]
    assert [layer.readers for layer in layers.values()] == [("layers.1",), ("layers.2",), ()]


class Own(nn.Module):
    """A layer of a user's own, with its weight stored as inputs by outputs."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.matrix = nn.Parameter(torch.randn(inputs, outputs, dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.matrix


class Scale(nn.Module):
    """One factor per unit: no layer, though its parameter is a matrix."""

    def __init__(self, units: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(1, units, dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gain


def test_layers_of_a_users_own_are_observed_and_scales_are_passed_through() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(Own(4, 6), Scale(6), nn.ReLU(), Own(6, 3))
    ((x, y),) = data(1, 4)
    layers = observe(network, [(x, y)]).layers
    assert list(layers) == ["0", "3"]
    assert layers["0"].readers == ("3",)
    with torch.no_grad():
        expected = torch.relu(x @ network[0].matrix).mean(0)
    torch.testing.assert_close(layers["0"].mean, expected, **EXACT)


@pytest.mark.parametrize("name", [name for name, case in ZOO.items() if case.laws])
def test_every_model_of_the_zoo_is_observed_and_left_alone(name: str) -> None:
    case = ZOO[name]
    network = case.build(0)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    seen = observe(network, [(case.inputs(3, seed), torch.zeros(3)) for seed in range(2)])
    assert seen.layers
    assert all(torch.isfinite(layer.mean).all() for layer in seen.layers.values())
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


def test_nothing_runs_when_nothing_is_needed() -> None:
    def never(x: Tensor) -> Tensor:
        raise AssertionError

    network = nn.Linear(1, 1)
    network.forward = never  # type: ignore[method-assign]
    assert not observe(network, data(1, 1), needs=frozenset()).layers


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda n: observe(n, data(1, 1, 6, 6), needs={Need.GRADIENTS}), "loss=None"),
        (lambda n: observe(n, []), "no batch to observe"),
    ],
)
def test_impossible_observations_are_refused(
    network: Functional, call: Callable[[nn.Module], object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        call(network)


def test_activations_that_are_not_finite_are_refused_with_their_layer() -> None:
    network = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
    broken = torch.tensor([[float("nan"), 1.0]])
    with pytest.raises(StructureNetError, match="3 of 3 units of '0' had activations that are NaN"):
        observe(network, [(broken, torch.zeros(1))])
