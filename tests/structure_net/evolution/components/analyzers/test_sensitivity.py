from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from structure_net.data import load_dataset
from structure_net.evolution import ComposableEvolutionSystem, NetworkContext
from structure_net.evolution.components import SensitivityAnalyzer
from structure_net.evolution.metrics import Unavailable
from structure_net.testing import check_analyzer


def _drawn(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _network(*layers: nn.Module) -> nn.Sequential:
    network = nn.Sequential(*layers).double()
    draw = _drawn(1)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.normal_(generator=draw).mul_(0.5)
    return network


def _data(batches: int = 4) -> list[tuple[Tensor, Tensor]]:
    draw = _drawn()
    inputs = torch.randn(batches, 8, 5, generator=draw, dtype=torch.float64)
    return list(zip(inputs, inputs[:, :, :3].argmax(2), strict=True))


def _linear_loss(outputs: Tensor, targets: Tensor) -> Tensor:
    return (outputs * F.one_hot(targets, 3)).sum() / len(outputs)


def _analysis(network: nn.Module, data: Any, loss: Any, **options: Any) -> Any:
    context = NetworkContext(network, data, loss=loss)
    return ComposableEvolutionSystem([SensitivityAnalyzer(**options)]).analyze(context)


def _spearman(one: Tensor, other: Tensor) -> float:
    ranks = [values.argsort().argsort().double() for values in (one, other)]
    return float(torch.corrcoef(torch.stack(ranks))[0, 1])


def _ablated(analysis: Any) -> Tensor:
    rises = analysis["sensitivity_unit_ablation"]["0"].values()
    return torch.tensor(list(rises), dtype=torch.float64)


def _without(network: nn.Module, units: list[int], data: list[tuple[Tensor, Tensor]]) -> float:
    """The rise of the loss where layer 2 does not read some units."""
    inputs, targets = (torch.cat(parts) for parts in zip(*data, strict=True))
    without = deepcopy(network)
    with torch.no_grad():
        without.get_parameter("2.weight")[:, units] = 0
        rise = F.cross_entropy(without(inputs), targets) - F.cross_entropy(network(inputs), targets)
    return float(rise)


def test_ablation_is_the_loss_of_a_network_without_the_unit() -> None:
    network, data = _network(nn.Linear(5, 6), nn.Sigmoid(), nn.Linear(6, 3)), _data()
    found = _analysis(network, data, F.cross_entropy)
    for unit, risen in found["sensitivity_unit_ablation"]["0"].items():
        assert risen == pytest.approx(_without(network, [unit], data), abs=1e-10)
    whole = _without(network, list(range(6)), data)
    assert found["sensitivity_layer_ablation"] == {"0": pytest.approx(whole, abs=1e-10)}


def test_the_taylor_importance_of_units_is_exact_where_the_loss_is_linear_in_them() -> None:
    network, data = _network(nn.Linear(5, 6), nn.Tanh(), nn.Linear(6, 3)), _data(1)
    single = [[(x[None], y[None])] for x, y in zip(*data[0], strict=True)]
    rises = [_ablated(_analysis(network, one, _linear_loss)) for one in single]
    found = _analysis(network, data, _linear_loss)["sensitivity_unit_taylor"]["0"]
    torch.testing.assert_close(found, torch.stack(rises).abs().mean(0), atol=1e-10, rtol=0)


def test_taylor_and_fisher_rank_units_of_a_trained_net_as_true_ablation_does() -> None:
    data = load_dataset("digits").flattened().train
    network = nn.Sequential(nn.Linear(64, 24), nn.ReLU(), nn.Linear(24, 10))
    draw = _drawn()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.normal_(generator=draw).mul_(0.1)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
    for chosen in torch.randint(len(data.inputs), (150, 64), generator=draw):
        optimizer.zero_grad()
        F.cross_entropy(network(data.inputs[chosen]), data.targets[chosen]).backward()
        optimizer.step()
    found = _analysis(network, data.batches(128), F.cross_entropy, probe_size=1024)
    true = _ablated(found)
    # Of 24 units; the 99.9 % point of no relation at all is .61.
    for key in ("sensitivity_unit_taylor", "sensitivity_unit_fisher"):
        assert _spearman(found[key]["0"], true) > 0.7


def test_connections_have_the_importance_of_their_gradient() -> None:
    network, data = _network(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3)), _data()
    found = _analysis(network, data, F.cross_entropy)
    inputs, targets = (torch.cat(parts) for parts in zip(*data, strict=True))
    weight = network.get_parameter("0.weight")
    (gradient,) = torch.autograd.grad(F.cross_entropy(network(inputs), targets), weight)
    taylor = found["sensitivity_taylor"]["0.weight"]
    torch.testing.assert_close(taylor, (weight * gradient).abs().detach(), atol=1e-12, rtol=0)
    assert set(found["sensitivity_fisher"]) == set(found["sensitivity_taylor"])
    assert bool((found["sensitivity_fisher"]["0.weight"] >= 0).all())
    once = _analysis(network, data, F.cross_entropy, max_batches=1)["sensitivity_fisher"]
    assert all(isinstance(value, Unavailable) for value in once.values())


def test_noise_in_a_linear_layer_raises_half_the_squared_error_by_its_variance() -> None:
    """At the least-squares solution E[rise] = noise^2 / 2 * sum_ij w_ij^2 E[x_j^2]."""
    draw = _drawn()
    inputs = torch.randn(64, 5, generator=draw, dtype=torch.float64)
    network = _network(nn.Linear(5, 3, bias=False))
    targets = network(inputs).detach()

    def half(outputs: Tensor, wanted: Tensor) -> Tensor:
        return (outputs - wanted).square().sum() / (2 * len(outputs))

    found = _analysis(network, [(inputs, targets)], half, noise=0.2, draws=400, max_batches=1)
    weight = network.get_parameter("0.weight").detach()
    expected = 0.02 * float((weight.square() * inputs.square().mean(0)).sum())
    # Fifteen squared normals a draw: a relative deviation of at most sqrt(2 / 400) = 7 %.
    assert found["sensitivity_weight_noise"]["0"] == pytest.approx(expected, rel=0.2)
    outputs = float(targets.square().sum(1).mean()) * 0.02
    assert found["sensitivity_activation_noise"]["0"] == pytest.approx(outputs, rel=0.1)


def test_what_is_drawn_is_the_same_every_time() -> None:
    network, data = _network(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3)), _data()
    first, again = (_analysis(network, data, F.cross_entropy) for _ in range(2))
    for key in ("sensitivity_weight_noise", "sensitivity_activation_noise"):
        assert first[key] == again[key]


def test_the_budget_goes_to_the_least_important_units() -> None:
    network, data = _network(nn.Linear(5, 6), nn.Tanh(), nn.Linear(6, 3)), _data()
    found = _analysis(network, data, F.cross_entropy, ablations=2)
    least = found["sensitivity_unit_taylor"]["0"].argsort()[:2].tolist()
    assert set(found["sensitivity_unit_ablation"]["0"]) == set(least)
    none = _analysis(network, data, F.cross_entropy, ablations=0)
    assert none["sensitivity_unit_ablation"] == {"0": {}}


def test_samples_of_different_shapes_cannot_be_tried_and_it_says_so() -> None:
    network = _network(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3))
    draw = _drawn()
    data = [
        (torch.randn(4, steps, 5, generator=draw, dtype=torch.float64), torch.zeros(4).long())
        for steps in (2, 3)
    ]

    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        return F.cross_entropy(outputs.mean(1), targets)

    found = _analysis(network, data, loss)
    assert isinstance(found["sensitivity_layer_ablation"], Unavailable)
    assert set(found["sensitivity_ranking"]) == {"0"}


def test_layers_are_ranked_by_what_their_units_carry() -> None:
    layers = (nn.Linear(5, 6), nn.Tanh(), nn.Linear(6, 4), nn.Tanh(), nn.Linear(4, 3))
    found = _analysis(_network(*layers), _data(), F.cross_entropy)
    ranking = found["sensitivity_ranking"]
    assert set(ranking) == {"0", "2"}
    for name, score in ranking.items():
        assert score == float(found["sensitivity_unit_taylor"][name].mean())


def test_a_convolution_loses_a_channel_at_a_time() -> None:
    layers = (nn.Conv2d(1, 3, 2), nn.ReLU(inplace=True), nn.Conv2d(3, 3, 2))
    network = _network(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())
    inputs = torch.randn(8, 1, 5, 5, generator=_drawn(), dtype=torch.float64)
    data = [(inputs, torch.arange(8) % 3)]
    found = _analysis(network, data, F.cross_entropy, max_batches=1)
    rise = found["sensitivity_unit_ablation"]["0"][1]
    assert rise == pytest.approx(_without(network, [1], data), abs=1e-10)


def test_it_keeps_the_promises_of_an_analyzer() -> None:
    check_analyzer(SensitivityAnalyzer(), prefix="sensitivity_")


@pytest.mark.parametrize(
    "options",
    [{"max_batches": 0}, {"probe_size": 0}, {"draws": 0}, {"noise": 0.0}, {"ablations": -1}],
)
def test_arguments_out_of_range_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        SensitivityAnalyzer(**options)
