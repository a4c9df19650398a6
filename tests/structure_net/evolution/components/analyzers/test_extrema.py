from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from structure_net.evolution import ComposableEvolutionSystem, NetworkContext, observe
from structure_net.evolution.components import StandardExtremaAnalyzer
from structure_net.evolution.metrics import Unavailable
from structure_net.testing import check_analyzer, example_context


def on(network: nn.Module, inputs: Tensor) -> NetworkContext:
    return NetworkContext(network, [(inputs, torch.zeros(len(inputs), dtype=torch.int64))])


def analyzed(context: NetworkContext, **options: Any) -> Any:
    return ComposableEvolutionSystem([StandardExtremaAnalyzer(**options)]).analyze(context)


def diagonal(values: list[float], activation: nn.Module) -> nn.Sequential:
    """Units that see the input times one value each."""
    first = nn.Linear(1, len(values), dtype=torch.float64)
    with torch.no_grad():
        first.weight.copy_(torch.tensor(values, dtype=torch.float64).unsqueeze(1))
        first.bias.zero_()
    return nn.Sequential(first, activation, nn.Linear(len(values), 2, dtype=torch.float64))


ONES = torch.ones(4, 1, dtype=torch.float64)


def test_the_analyzer_keeps_the_promises_of_its_role() -> None:
    check_analyzer(StandardExtremaAnalyzer(), prefix="extrema_")


@pytest.mark.parametrize(
    ("activation", "flat"),
    [(nn.GELU(), -5.0), (nn.SiLU(), -9.0), (nn.ELU(), -6.0), (nn.Softplus(), -6.0)],
)
def test_a_unit_of_a_smooth_rectifier_is_dead_where_the_activation_is_flat(
    activation: nn.Module, flat: float
) -> None:
    # At -0.5 the outputs are negative (or small) and the slopes are not: such a unit is alive.
    network = diagonal([flat, -0.5, 0.0, 3.0], activation)
    found = analyzed(on(network, ONES))
    assert found["extrema_dead"] == {"0": (0,)}
    assert found["extrema_saturated"] == {"0": ()}


def test_the_slope_of_a_smooth_rectifier_is_that_of_its_own_parameters() -> None:
    values = [-2.0, -0.5, 0.3, 2.0]
    network = diagonal(values, nn.Softplus(beta=3.0, threshold=50.0))
    seen = observe(network, [(ONES, torch.zeros(4))]).layers["0"]
    expected = torch.sigmoid(3.0 * torch.tensor(values, dtype=torch.float64))
    torch.testing.assert_close(seen.slope, expected, rtol=1e-12, atol=0)


class InPlace(nn.Module):
    """The activation writes over what it takes."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(3, 5), nn.Linear(5, 2)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.second(F.silu(self.first(x), inplace=True))
        return out


@pytest.mark.parametrize("inside", [False, True])
def test_an_activation_in_place_is_read_before_it_writes(inside: bool) -> None:
    torch.manual_seed(0)
    network = InPlace().double()
    if inside:
        whole: nn.Module = nn.Sequential(network.first, nn.ELU(0.7, inplace=True), network.second)
        function = lambda z: F.elu(z, 0.7)  # noqa: E731 - one expression
    else:
        whole, function = network, F.silu
    x = torch.randn(6, 3, dtype=torch.float64)
    (layer, _) = observe(whole, [(x, torch.zeros(6))]).layers.values()
    z = network.first(x).detach().requires_grad_()
    (slope,) = torch.autograd.grad(function(z).sum(), z)
    torch.testing.assert_close(layer.slope, slope.abs().mean(0), rtol=1e-12, atol=1e-12)


def test_dormant_and_rarely_active_units_are_reported_by_their_own_names() -> None:
    # Unit 0 fires always and hardly, unit 1 at one sample of two hundred, unit 2 always.
    inputs = torch.ones(200, 1, dtype=torch.float64)
    inputs[3] = -1.0
    network = diagonal([0.02, -500.0, 1.0], nn.ReLU())
    found = analyzed(on(network, inputs), dormant_score=0.03)
    assert found["extrema_dormant"] == {"0": (0,)}
    assert found["extrema_rarely_active"] == {"0": (1,)}
    assert found["extrema_dead"] == {"0": ()}
    activity = torch.tensor([0.02 * 199 / 200, 2.5, 199 / 200], dtype=torch.float64)
    expected = activity / (activity.mean() + 1e-9)
    torch.testing.assert_close(found["extrema_dormancy"]["0"], expected, rtol=1e-6, atol=0)


def test_rarely_active_is_not_said_of_an_activation_without_a_point_of_rest() -> None:
    found = analyzed(on(diagonal([1.0], nn.Tanh()), ONES))["extrema_rarely_active"]["0"]
    assert isinstance(found, Unavailable)
    assert "tanh" in found.reason


def test_clones_are_found_on_the_probe_and_refused_on_few_samples() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(6, 12), nn.ReLU(), nn.Linear(12, 3))
    with torch.no_grad():
        network[0].weight[9], network[0].bias[9] = 2 * network[0].weight[4], 2 * network[0].bias[4]
    found = analyzed(on(network, torch.randn(64, 6)))
    assert found["extrema_clones"] == {"0": ((4, 9),)}
    few = analyzed(on(network, torch.randn(8, 6)))["extrema_clones"]["0"]
    assert isinstance(few, Unavailable)


def test_clones_are_not_available_without_a_probe() -> None:
    context = on(diagonal([1.0], nn.ReLU()), ONES)
    seen = observe(context.network, context.train_batches())
    found = StandardExtremaAnalyzer().analyze(replace(context, observation=seen))
    clones = found["extrema_clones"].get()  # type: ignore[attr-defined]
    assert "no probe" in clones["0"].reason


def test_the_confidence_follows_the_samples_seen() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(4, 10), nn.ReLU(), nn.Linear(10, 2))
    found = analyzed(on(network, torch.randn(300, 4)), least_rate=0.02)
    assert found["extrema_samples"] == 300
    assert found["extrema_confidence"]["0"] == pytest.approx(1 - 10 * 0.98**300, rel=1e-12)
    expected = 1 - (0.05 / 10) ** (1 / 300)
    assert found["extrema_detectable_rate"]["0"] == pytest.approx(expected, rel=1e-9)


def test_the_ranking_begins_with_the_layer_that_has_most_extrema() -> None:
    context = example_context()
    found = analyzed(context)
    assert next(iter(found["extrema_ranking"])) == "layers.0"
    assert found["extrema_ranking"] == found["extrema_ratio"]
    scores = list(found["extrema_ranking"].values())
    assert scores == sorted(scores, reverse=True)


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
def test_the_states_of_recurrent_layers_are_judged(kind: Any) -> None:
    torch.manual_seed(0)

    class Reader(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.memory = kind(3, 5, batch_first=True)
            self.head = nn.Linear(5, 2)

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = self.head(self.memory(x)[0][:, -1])
            return out

    network = Reader()
    with torch.no_grad():
        for parameter in network.memory.parameters():
            # Nothing enters the state of unit 2: neither of its gates' rows moves it.
            parameter[2::5] = 0.0
    found = analyzed(on(network, torch.randn(20, 4, 3)))
    assert found["extrema_dead"] == {"memory": (2,)}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dormant_score": -0.1}, "dormant_score must be 0 or more; got -0.1"),
        ({"least_rate": 0.0}, r"least_rate must be in \(0, 1\); got 0.0"),
        ({"clone_correlation": 1.0}, r"clone_correlation must be in \(0, 1\); got 1.0"),
    ],
)
def test_impossible_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        StandardExtremaAnalyzer(**options)
