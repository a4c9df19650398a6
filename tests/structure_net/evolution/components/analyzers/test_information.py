from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from structure_net.evolution import ComposableEvolutionSystem, NetworkContext, observe
from structure_net.evolution.components import SimpleInformationFlowAnalyzer
from structure_net.evolution.components.analyzers import information
from structure_net.evolution.memory import AnalysisMemory
from structure_net.evolution.metrics import (
    LabelInformation,
    NoisyInformation,
    Unavailable,
    cka,
    effective_rank,
    gaussian_kernel,
    renyi_entropy,
    spectrum,
)
from structure_net.surgery import AddNeurons


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def analyzed(network: nn.Module, inputs: Tensor, targets: Tensor, **options: Any) -> Any:
    context = NetworkContext(network, [(inputs, targets)])
    return ComposableEvolutionSystem([SimpleInformationFlowAnalyzer(**options)]).analyze(context)


def narrow() -> tuple[nn.Sequential, Tensor, Tensor]:
    """A network whose second layer passes on two directions of twelve."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = nn.Sequential(
            nn.Linear(12, 12), nn.Tanh(), nn.Linear(12, 2), nn.Tanh(), nn.Linear(2, 12), nn.Tanh()
        )
        network.append(nn.Linear(12, 4))
    inputs = drawn(300, 12)
    return network, inputs, (inputs[:, 0] > 0).long() + 2 * (inputs[:, 1] > 0).long()


def test_where_to_widen_is_what_lies_furthest_below_what_it_gets_and_is_asked_for() -> None:
    network, inputs, targets = narrow()
    found = analyzed(network, inputs, targets)
    ranks = found["information_effective_rank"]
    given = float(effective_rank(spectrum(inputs)))
    classes = nn.functional.one_hot(targets).double()
    asked = float(effective_rank(spectrum(classes)))
    expected = {
        "0": (given * ranks["2"]) ** 0.5 / ranks["0"],
        "2": (ranks["0"] * ranks["4"]) ** 0.5 / ranks["2"],
        "4": (ranks["2"] * asked) ** 0.5 / ranks["4"],
    }
    assert asked == pytest.approx(3.0, abs=0.05)
    assert found["information_ranking"] == pytest.approx(expected, rel=1e-5)
    assert next(iter(found["information_ranking"])) == "2"
    pressures = list(found["information_ranking"].values())
    assert pressures == sorted(pressures, reverse=True)
    assert next(iter(found["information_bottlenecks"])) == "2"
    narrowest = found["information_bottlenecks"]["2"]
    assert narrowest.pressure == pytest.approx(found["information_ranking"]["2"])
    assert narrowest.units == 2
    assert narrowest.width > 2


def test_a_narrow_last_layer_is_not_excused_by_the_outputs_that_it_starves() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(4)
        network = nn.Sequential(nn.Linear(12, 12), nn.Tanh(), nn.Linear(12, 2), nn.Tanh())
    network.append(nn.Linear(2, 12))
    inputs = drawn(300, 12)
    starved = analyzed(network, inputs, torch.arange(300) % 12)
    assert next(iter(starved["information_bottlenecks"])) == "2"
    # The twelve classes ask for eleven directions.
    given = starved["information_effective_rank"]["0"]
    target = starved["information_bottlenecks"]["2"].target_rank
    assert target == pytest.approx((given * 11) ** 0.5, rel=1e-6)


def test_regression_asks_for_the_rank_of_its_targets() -> None:
    network, inputs, _ = narrow()
    targets = drawn(300, 1, seed=5) * torch.tensor([1.0, -1.0, 2.0, 0.5])
    context = NetworkContext(network, [(inputs, targets)], loss=nn.functional.mse_loss)
    found = ComposableEvolutionSystem([SimpleInformationFlowAnalyzer()]).analyze(context)
    ranks = found["information_effective_rank"]
    expected = (ranks["2"] * 1.0) ** 0.5 / ranks["4"]
    assert found["information_ranking"]["4"] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("targets", [torch.zeros(300), torch.zeros(300, 7)])
def test_targets_that_do_not_tell_leave_the_rank_of_the_outputs(targets: Tensor) -> None:
    network, inputs, _ = narrow()

    def loss(output: Tensor, _: Tensor) -> Tensor:
        return output.square().mean()

    context = NetworkContext(network, [(inputs, targets)], loss=loss)
    found = ComposableEvolutionSystem([SimpleInformationFlowAnalyzer()]).analyze(context)
    ranks = found["information_effective_rank"]
    expected = (ranks["2"] * ranks["6"]) ** 0.5 / ranks["4"]
    assert found["information_ranking"]["4"] == pytest.approx(expected, rel=1e-5)


def test_widening_to_the_width_that_is_named_lifts_the_bottleneck() -> None:
    network, inputs, targets = narrow()
    before = analyzed(network, inputs, targets)["information_bottlenecks"]["2"]
    wide = nn.Sequential(*network)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        wide[2], wide[4] = nn.Linear(12, before.width), nn.Linear(before.width, 12)
    found = analyzed(wide, inputs, targets)
    assert found["information_effective_rank"]["2"] > before.effective_rank
    left = found["information_bottlenecks"].get("2")
    assert left is None or left.pressure < before.pressure


def test_the_reports_are_the_metrics_of_the_activations() -> None:
    network, inputs, targets = narrow()
    found = analyzed(network, inputs, targets)
    with torch.no_grad():
        first = network[:2](inputs).double()
        second = network[:4](inputs).double()
    assert found["information_samples"] == 300
    rank = effective_rank(spectrum(first))
    assert found["information_effective_rank"]["0"] == pytest.approx(float(rank), abs=1e-5)
    assert found["information_capacity_used"]["0"] == pytest.approx(float(rank) / 12, abs=1e-6)
    alike = found["information_similarity"]
    assert alike["0"]["2"] == pytest.approx(float(cka(first, second)), abs=1e-5)
    assert alike["2"]["0"] == alike["0"]["2"]
    entropy = renyi_entropy(gaussian_kernel(first))
    assert found["information_entropy_bits"]["0"] == pytest.approx(float(entropy), abs=1e-5)
    label, noisy = found["information_label"]["0"], found["information_noisy"]["2"]
    assert isinstance(label, LabelInformation)
    assert label.bits > 1.0
    assert isinstance(noisy, NoisyInformation)
    spread = float(second.var(0, correction=0).sum().sqrt())
    assert noisy.noise == pytest.approx(0.4 * spread, rel=1e-5)


@pytest.mark.parametrize("name", ["stable_rank", "participation_ratio", "cumulative_rank"])
def test_every_rank_is_at_most_the_width(name: str) -> None:
    found = analyzed(*narrow())[f"information_{name}"]
    assert all(1 <= found[layer] <= width for layer, width in (("0", 12), ("2", 2), ("4", 12)))


def test_capacity_is_not_claimed_of_too_few_samples() -> None:
    network, inputs, targets = narrow()
    found = analyzed(network, inputs, targets, probe_size=12)["information_capacity_used"]
    assert isinstance(found["0"], Unavailable)
    assert "probe_size" in found["0"].reason
    assert not isinstance(found["2"], Unavailable)


def test_a_layer_that_does_not_vary_is_a_reason_and_comes_first() -> None:
    _, inputs, targets = narrow()
    first = nn.Linear(12, 12)
    nn.init.constant_(first.bias, -1e3)
    dead = nn.Sequential(nn.Linear(12, 12), nn.Tanh(), first, nn.ReLU(), nn.Linear(12, 5))
    dead.append(nn.ReLU()).append(nn.Linear(5, 4))
    found = analyzed(dead, inputs, targets)
    for name in ("effective_rank", "capacity_used", "noisy"):
        assert isinstance(found[f"information_{name}"]["2"], Unavailable)
    assert next(iter(found["information_ranking"])) == "2"
    assert set(found["information_bottlenecks"]) <= {"0"}
    assert found["information_entropy_bits"]["2"] == pytest.approx(0.0, abs=1e-9)


def test_regression_has_no_label_information() -> None:
    network, inputs, _ = narrow()
    context = NetworkContext(
        network, [(inputs, drawn(300, 4, seed=1))], loss=nn.functional.mse_loss
    )
    found = ComposableEvolutionSystem([SimpleInformationFlowAnalyzer()]).analyze(context)
    assert isinstance(found["information_label"]["0"], Unavailable)
    assert not isinstance(found["information_effective_rank"]["0"], Unavailable)


def test_channels_are_the_units_of_a_convolution() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(2)
        network = nn.Sequential(
            nn.Conv2d(2, 5, 3),
            nn.ReLU(),
            nn.Conv2d(5, 3, 3),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(48, 2),
        )
    inputs = drawn(60, 2, 8, 8)
    found = analyzed(network, inputs, torch.arange(60) % 2)
    with torch.no_grad():
        channels = network[:2](inputs).mean((2, 3))
    rank = float(effective_rank(spectrum(channels)))
    assert found["information_effective_rank"]["0"] == pytest.approx(rank, abs=1e-4)
    assert set(found["information_ranking"]) == {"0", "2"}
    for bottleneck in found["information_bottlenecks"].values():
        assert bottleneck.width > bottleneck.units


def test_flattened_images_count_pixel_by_pixel() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        network = nn.Sequential(nn.Flatten(), nn.Linear(16, 2), nn.Tanh(), nn.Linear(2, 8))
    network.append(nn.Tanh()).append(nn.Linear(8, 2))
    inputs = drawn(100, 1, 4, 4)
    found = analyzed(network, inputs, torch.arange(100) % 2)
    pixels = float(effective_rank(spectrum(inputs.flatten(1))))
    behind = found["information_effective_rank"]["3"]
    target = found["information_bottlenecks"]["1"].target_rank
    assert target == pytest.approx((pixels * behind) ** 0.5, rel=1e-6)


def test_an_edit_recomputes_the_layers_that_it_touched_and_no_others(
    context: NetworkContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    analyzer, memory = SimpleInformationFlowAnalyzer(), AnalysisMemory()
    seen = observe(context.network, context.train_batches(), needs=analyzer.needs, probe_size=64)
    looking = replace(context, observation=seen, memory=memory)
    widths: list[int] = []

    def counting(samples: Tensor) -> Tensor:
        widths.append(samples.size(1))
        return spectrum(samples)

    monkeypatch.setattr(information, "spectrum", counting)

    def look() -> Any:
        widths.clear()
        return analyzer.analyze(looking)["information_effective_rank"].get()

    first = look()
    assert widths == [16, 16, 3]
    assert look() == first
    assert widths == []
    memory.edited(["layers.1"], ["layers.1", "layers.2"])
    assert look() == first
    assert widths == [16, 3]


def test_noise_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="noise"):
        SimpleInformationFlowAnalyzer(noise=0.0)


def test_the_named_width_can_be_asked_of_surgery() -> None:
    bottleneck = analyzed(*narrow())["information_bottlenecks"]["2"]
    change = AddNeurons(bottleneck.layer, bottleneck.width - bottleneck.units)
    assert change.count > 0
