from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from structure_net.core.expansion import gradmax_expansion, natural_expansion, tiny_expansion
from structure_net.errors import StructureNetError
from structure_net.evolution import ComposableEvolutionSystem, NetworkContext, observe
from structure_net.evolution.components import GradientAnalyzer
from structure_net.evolution.components.analyzers.gradients import NewbornShare, PlaceScores
from structure_net.evolution.editing import Proposal, carry_out
from structure_net.evolution.metrics import Unavailable, mean_pairwise_cosine
from structure_net.surgery import AddNeurons
from structure_net.testing import check_analyzer, example_context

BATCHES, BATCH = 6, 8


def _drawn(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _data(*shape: int) -> list[tuple[Tensor, Tensor]]:
    """Three classes that the inputs tell."""
    draw = _drawn()
    inputs = torch.randn(BATCHES, BATCH, *shape, generator=draw, dtype=torch.float64)
    targets = inputs.flatten(2)[:, :, :3].argmax(2)
    return list(zip(inputs, targets, strict=True))


def _dense() -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layers = [nn.Linear(5, 6), nn.ReLU(), nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 3)]
        return nn.Sequential(*layers).double()


def _analysis(context: NetworkContext, **options: Any) -> Any:
    return ComposableEvolutionSystem([GradientAnalyzer(**options)]).analyze(context)


def test_the_gradient_of_a_layer_is_that_of_all_its_parameters() -> None:
    network, data = _dense(), _data(5)
    found = _analysis(NetworkContext(network, data))
    inputs, targets = (torch.cat(parts) for parts in zip(*data, strict=True))
    loss = F.cross_entropy(network(inputs), targets)
    for name in ("0", "2", "4"):
        layer = network.get_submodule(name)
        weight, bias = torch.autograd.grad(loss, tuple(layer.parameters()), retain_graph=True)
        norm = float(torch.cat([weight.flatten(), bias]).norm())
        assert found["gradient_norm"][name] == pytest.approx(norm, rel=1e-10)
        units = found["gradient_units"][name]
        torch.testing.assert_close(units, weight.norm(dim=1), atol=1e-12, rtol=0)
    assert found["gradient_batch_size"] == BATCH


def test_noise_between_batches_tells_the_variance_of_samples() -> None:
    """By definition: batches of one, whose plain unbiased variance is computed beside it."""
    network = _dense()
    data = [(x[i : i + 1], y[i : i + 1]) for x, y in _data(5) for i in range(BATCH)]
    found = _analysis(NetworkContext(network, data), max_batches=len(data))
    single = torch.stack([_gradient_of(network, "0", x, y) for x, y in data])
    variance = float(single.var(0).sum())
    assert found["gradient_variance"]["0"] == pytest.approx(variance, rel=1e-10)
    square = float(single.mean(0).square().sum()) - variance / len(data)
    assert found["gradient_noise_scale"]["0"] == pytest.approx(variance / square, rel=1e-8)
    assert found["gradient_signal_to_noise"]["0"] == pytest.approx((square / variance) ** 0.5)
    cosine = mean_pairwise_cosine(single)
    assert found["gradient_cosine"]["0"] == pytest.approx(cosine, abs=1e-10)
    diversity = float(single.square().sum(1).mean() / single.mean(0).square().sum())
    assert found["gradient_diversity"]["0"] == pytest.approx(diversity, rel=1e-10)


def _gradient_of(network: nn.Module, layer: str, inputs: Tensor, targets: Tensor) -> Tensor:
    parameters = tuple(network.get_submodule(layer).parameters())
    found = torch.autograd.grad(F.cross_entropy(network(inputs), targets), parameters)
    return torch.cat([part.flatten() for part in found])


def test_one_batch_says_why_there_is_no_noise_scale() -> None:
    found = _analysis(NetworkContext(_dense(), _data(5)), max_batches=1)
    for key in ("gradient_variance", "gradient_noise_scale", "gradient_signal_to_noise"):
        assert all(isinstance(value, Unavailable) for value in found[key].values())
    assert isinstance(found["gradient_network_noise_scale"], Unavailable)


def test_newborn_units_have_a_share_of_the_gradient() -> None:
    network, data = _dense(), _data(5)
    context = NetworkContext(network, data, iteration=3)
    carry_out(context, [Proposal(AddNeurons("0", 2))], component="test")
    found = _analysis(replace(context, iteration=4))["gradient_newborn"]
    # Nothing reads the newborn units yet, so that their own incoming weights have no gradient.
    assert found == {"0": NewbornShare(2, 0.25, 0.0)}
    with torch.no_grad():
        network.get_parameter("2.weight")[:, 6:] = 1.0
    share = _analysis(replace(context, iteration=4))["gradient_newborn"]["0"].share
    assert 0 < share < 1
    assert _analysis(replace(context, iteration=5))["gradient_newborn"] == {}
    longer = _analysis(replace(context, iteration=5), newborn_for=2)
    assert longer["gradient_newborn"]["0"].units == 2


def test_expansion_scores_are_those_of_the_places_moments() -> None:
    context = NetworkContext(_dense(), _data(5))
    analyzer = GradientAnalyzer()
    system = ComposableEvolutionSystem([analyzer])
    found = system.analyze(context)
    seen = observe(context.network, context.data_loader, needs=analyzer.needs, loss=context.loss)
    for layer, reader in (("0", "2"), ("2", "4")):
        (scores,) = found["gradient_expansion"][layer]
        (place,) = seen.places[layer]
        assert isinstance(scores, PlaceScores)
        assert scores.reader == reader
        torch.testing.assert_close(scores.gradmax, gradmax_expansion(place).gains)
        torch.testing.assert_close(scores.tiny, tiny_expansion(place).gains)
        torch.testing.assert_close(scores.natural, natural_expansion(place).gains)
        assert scores.present > 0
        assert scores.bottleneck > 0
    *_, (last, reason) = found["gradient_ranking"].items()
    assert last == "4"
    assert "gives the output" in reason.reason
    ranking = {name: found["gradient_ranking"][name] for name in ("0", "2")}
    assert list(ranking.values()) == sorted(ranking.values(), reverse=True)
    assert ranking["0"] == float(found["gradient_expansion"]["0"][0].natural[0])


def test_a_bottleneck_of_one_unit_offers_the_largest_gain() -> None:
    """A linear teacher needs three directions; the second layer lets one through."""
    draw = _drawn()
    inputs = torch.randn(256, 6, generator=draw, dtype=torch.float64)
    targets = inputs @ torch.randn(6, 3, generator=draw, dtype=torch.float64)
    network = nn.Sequential(nn.Linear(6, 12), nn.Linear(12, 1), nn.Linear(1, 12), nn.Linear(12, 3))
    context = NetworkContext(network.double(), [(inputs, targets)] * 2, loss=F.mse_loss)
    ranking = _analysis(context)["gradient_ranking"]
    assert next(iter(ranking)) == "1"


def test_layers_without_a_place_say_so_where_others_are_ranked() -> None:
    network = nn.Sequential(
        nn.Conv2d(4, 4, 1, groups=4),
        nn.ReLU(),
        nn.Conv2d(4, 3, 1),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
    )
    found = _analysis(NetworkContext(network.double(), _data(4, 3, 3)))
    assert isinstance(found["gradient_expansion"]["0"], Unavailable)
    assert found["gradient_ranking"]["0"] == found["gradient_expansion"]["0"]
    assert not any(found["gradient_ranking"].values())
    assert "flattening" in found["gradient_ranking"]["2"].reason
    assert set(found["gradient_cosine"]) == {"0", "2"}


def test_it_keeps_the_promises_of_an_analyzer() -> None:
    check_analyzer(GradientAnalyzer(), prefix="gradient_")


def test_without_an_observation_it_says_what_to_do() -> None:
    with pytest.raises(StructureNetError, match="ComposableEvolutionSystem"):
        GradientAnalyzer().analyze(example_context())


@pytest.mark.parametrize("options", [{"max_batches": 0}, {"newborn_for": 0}, {"damping": -1.0}])
def test_arguments_out_of_range_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        GradientAnalyzer(**options)
