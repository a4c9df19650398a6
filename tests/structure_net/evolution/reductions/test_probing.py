from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from structure_net.evolution import Need, NetworkContext, observe
from structure_net.evolution.components import StandardExtremaAnalyzer
from structure_net.evolution.reductions import BatchSeen, Probe, Reservoir
from structure_net.evolution.system import ComposableEvolutionSystem

EXACT = {"rtol": 1e-12, "atol": 1e-12}
PROBE = frozenset({Need.PROBE})


class Net(nn.Module):
    """A convolution, a flattened layer and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.fc, self.head = nn.Conv2d(1, 3, 3), nn.Linear(48, 5), nn.Linear(5, 2)

    def stages(self, x: Tensor) -> dict[str, Tensor]:
        a = torch.relu(self.conv(x))
        b = torch.tanh(self.fc(a.flatten(1)))
        return {"conv": a.mean((2, 3)), "fc": b, "head": self.head(b)}

    def forward(self, x: Tensor) -> Tensor:
        return self.stages(x)["head"]


def data(batches: int, size: int = 7) -> list[tuple[Tensor, Tensor]]:
    """Sample ``i`` has the target ``i``, so that it is known which samples were drawn."""
    generator = torch.Generator().manual_seed(0)
    return [
        (
            torch.randn(size, 1, 6, 6, generator=generator, dtype=torch.float64),
            torch.arange(number * size, (number + 1) * size),
        )
        for number in range(batches)
    ]


@pytest.fixture
def network() -> Net:
    torch.manual_seed(0)
    return Net().double().eval()


def probed(network: nn.Module, batches: Any, size: int, seed: int = 0) -> Probe:
    found = observe(network, batches, needs=PROBE, probe_size=size, seed=seed).probe
    assert found is not None
    return found


@pytest.mark.parametrize(("size", "held"), [(5, 5), (20, 20), (21, 21), (1000, 21)])
def test_all_layers_hold_the_same_samples(network: Net, size: int, held: int) -> None:
    batches = data(3)
    probe = probed(network, batches, size)
    assert probe.size == held == len(set(probe.targets.tolist()))
    inputs = torch.cat([x for x, _ in batches])[probe.targets]
    assert torch.equal(probe.inputs, inputs)
    with torch.no_grad():
        stages = network.stages(inputs)
    for layer, values in probe.values.items():
        torch.testing.assert_close(values, stages[layer], **EXACT)
    torch.testing.assert_close(probe.outputs, stages["head"], **EXACT)
    assert list(probe.values) == ["conv", "fc", "head"]
    assert not probe.absent


def test_the_same_seed_draws_the_same_samples_and_another_one_others(network: Net) -> None:
    drawn = [probed(network, data(3), 6, seed).targets.tolist() for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]


def test_the_sample_does_not_depend_on_how_the_data_come_in_batches(network: Net) -> None:
    whole = [(torch.cat([x for x, _ in data(3)]), torch.arange(21))]
    assert torch.equal(probed(network, whole, 6).targets, probed(network, data(3), 6).targets)


def test_the_beginning_of_a_probe_is_the_probe_of_that_size(network: Net) -> None:
    large, small = probed(network, data(4), 17), probed(network, data(4), 5)
    first = large.first(5)
    assert first.size == 5
    assert torch.equal(first.targets, small.targets)
    assert torch.equal(first.inputs, small.inputs)
    for layer in small.values:
        assert torch.equal(first.values[layer], small.values[layer])
    assert large.first(17) is large


def drawn_once(seed: int, batches: int, size: int) -> list[int]:
    reservoir = Reservoir(size, seed)
    for number in range(batches):
        rows = torch.arange(number * 5, number * 5 + 5)
        reservoir.batch(BatchSeen(None, rows, None, 5, {}))
    drawn: list[int] = reservoir.result({}).targets.tolist()
    return drawn


def test_every_sample_is_as_likely_as_any_other_at_every_place() -> None:
    draws, size, of = 4000, 4, 20
    places = torch.zeros(size, of)
    for seed in range(draws):
        for place, sample in enumerate(drawn_once(seed, 4, size)):
            places[place, sample] += 1
    # Chi-square of each place over 19 degrees of freedom: 44 is beyond one in a thousand.
    expected = draws / of
    assert ((places - expected).square() / expected).sum(1).max() < 44


class Several(nn.Module):
    """Takes a mapping with a flag and a mask, gives a mapping with a loss in front."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.head = nn.Linear(3, 4), nn.Linear(4, 2)

    def forward(self, x: Tensor, mask: Tensor, scale: float) -> dict[str, Any]:
        hidden = torch.relu(self.embed(x)) * scale
        return {"loss": hidden.sum(), "logits": self.head(hidden * mask)}


def test_inputs_and_outputs_keep_their_structure() -> None:
    torch.manual_seed(0)
    x, mask = torch.randn(9, 3), torch.ones(4)
    batch = {"x": x, "mask": mask, "scale": 2.0}
    probe = probed(Several(), [(batch, torch.arange(9)), (batch, torch.arange(9))], 6)
    assert set(probe.inputs) == {"x", "mask", "scale"}
    assert torch.equal(probe.inputs["x"], x[probe.targets])
    assert torch.equal(probe.inputs["mask"], mask)
    assert probe.inputs["scale"] == 2.0
    assert probe.outputs.shape == (6, 2)
    assert probe.first(2).inputs["x"].shape == (2, 3)


def test_samples_of_different_lengths_leave_the_inputs_out_and_the_layers_in() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    batches = [(torch.randn(6, length, 3), torch.arange(6)) for length in (2, 5)]
    probe = probed(network, batches, 8)
    assert probe.inputs is None
    assert probe.values["0"].shape == (8, 4)


def test_steps_in_front_of_samples_are_told_by_the_inputs() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)).double()
    # Eight steps of four samples: the first axis could hold them, too.
    x = torch.randn(8, 4, 3, dtype=torch.float64)
    probe = probed(network, [(x, torch.arange(4))], 4)
    with torch.no_grad():
        expected = torch.relu(network[0](x)).mean(0)[probe.targets]
    torch.testing.assert_close(probe.values["0"], expected, **EXACT)


class Folded(nn.Module):
    """Folds positions into the samples, and has a layer that never sees a sample."""

    def __init__(self) -> None:
        super().__init__()
        self.places, self.inner, self.head = nn.Linear(3, 4), nn.Linear(4, 5), nn.Linear(5, 2)

    def forward(self, x: Tensor) -> Tensor:
        grid = self.places(torch.ones(5, 3, dtype=x.dtype))
        flat = (x + grid[0]).flatten(0, 1)
        out: Tensor = self.head(torch.relu(self.inner(flat)).unflatten(0, (len(x), -1)).mean(1))
        return out


def test_folded_positions_are_unfolded_and_what_is_of_no_sample_is_absent() -> None:
    torch.manual_seed(0)
    network = Folded().double()
    x = torch.randn(7, 3, 4, dtype=torch.float64)
    probe = probed(network, [(x, torch.arange(7))], 7)
    with torch.no_grad():
        inner = torch.relu(network.inner(x + network.places(torch.ones(3).double())))
    torch.testing.assert_close(probe.values["inner"], inner.mean(1)[probe.targets], **EXACT)
    assert probe.absent == {"places": "its values do not belong to single samples"}


class Sometimes(nn.Module):
    """Calls a layer twice, and another one only where the inputs are positive."""

    def __init__(self) -> None:
        super().__init__()
        self.twice, self.rare, self.head = nn.Linear(3, 3), nn.Linear(3, 3), nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.tanh(self.twice(torch.tanh(self.twice(x))))
        out: Tensor = self.head(self.rare(x) if float(x.sum()) > 0 else x)
        return out


def test_calls_of_one_layer_count_as_positions_and_missing_calls_as_absence() -> None:
    torch.manual_seed(0)
    network = Sometimes().double()
    x = torch.randn(5, 3, dtype=torch.float64)
    with torch.no_grad():
        once = torch.tanh(network.twice(x))
        twice = torch.tanh(network.twice(once))
    batches = [(x, torch.arange(5)), (x, torch.arange(5))]
    probe = probed(network, batches, 10)
    mean = (once + twice) / 2
    torch.testing.assert_close(probe.values["twice"], mean[probe.targets], **EXACT)
    signed = [(sign * torch.full_like(x, 50.0), torch.arange(5)) for sign in (1.0, -1.0)]
    with torch.no_grad():
        network.twice.weight.copy_(torch.eye(3))
        network.twice.bias.zero_()
    assert probed(network, signed, 10).absent == {"rare": "it was not called in every batch"}


def test_a_probe_without_a_size_is_refused(network: Net) -> None:
    with pytest.raises(ValueError, match="size of 1 or more; got 0"):
        observe(network, data(1), needs=PROBE)


def test_the_system_takes_the_largest_probe_that_is_asked_for(network: Net) -> None:
    sizes = []

    class Reads(StandardExtremaAnalyzer):
        def analyze(self, context: NetworkContext) -> Any:
            assert context.observation is not None
            assert context.observation.probe is not None
            sizes.append(context.observation.probe.size)
            return {}

    small, large = Reads(), StandardExtremaAnalyzer()
    small.probe_size, large.probe_size = 3, 12
    context = NetworkContext(network, data(4))
    ComposableEvolutionSystem([small]).analyze(context)
    ComposableEvolutionSystem([large, small]).analyze(context)
    assert sizes == [3, 12]
