from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from structure_net.evolution.metrics import (
    LabelInformation,
    NoisyInformation,
    Unavailable,
    gaussian_channel,
    gaussian_kernel,
    label_information,
    noisy_information,
    renyi_entropy,
    renyi_information,
)


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def noisy(samples: Tensor, noise: float, **options: int) -> NoisyInformation:
    found = noisy_information(samples, noise, generator=torch.Generator().manual_seed(9), **options)
    assert isinstance(found, NoisyInformation)
    return found


def labelled(samples: Tensor, targets: Tensor) -> LabelInformation:
    found = label_information(samples, targets)
    assert isinstance(found, LabelInformation)
    return found


def test_label_information_is_that_of_a_cross_validated_logistic_regression() -> None:
    """Of scikit-learn, with the same folds, on the digits; our mixing costs 1.44 / n bits."""
    from sklearn.datasets import load_digits
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import PredefinedSplit, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    values, labels = (part[:300] for part in load_digits(return_X_y=True))
    found = labelled(torch.tensor(values), torch.tensor(labels))
    order = torch.argsort(torch.tensor(labels), stable=True)
    fold = torch.empty(300, dtype=torch.int64)
    fold[order] = torch.arange(300) % 4
    probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=200))
    splits = PredefinedSplit(fold.numpy())
    q = torch.tensor(cross_val_predict(probe, values, labels, cv=splits, method="predict_proba"))
    chosen = q[torch.arange(300), torch.tensor(labels)]
    assert found.cross_entropy_bits == pytest.approx(-float(chosen.log2().mean()), abs=0.02)
    assert found.accuracy == pytest.approx(float((q.argmax(1).numpy() == labels).mean()))
    assert 3.3 < found.entropy_bits < math.log2(10)
    assert found.bits == pytest.approx(found.entropy_bits - found.cross_entropy_bits)


def test_labels_that_can_be_read_off_are_told_whole() -> None:
    targets = torch.arange(400) % 4
    found = labelled(10 * torch.nn.functional.one_hot(targets).double(), targets)
    assert found.entropy_bits == pytest.approx(2.0, abs=1e-12)
    assert found.bits == pytest.approx(2.0, abs=0.05)
    assert found.accuracy == 1.0


def test_labels_that_are_independent_are_not_told() -> None:
    targets = torch.randint(3, (300,), generator=torch.Generator().manual_seed(1))
    assert labelled(drawn(300, 5), targets).bits < 0.02


def test_label_information_of_a_gaussian_pair_is_the_integral() -> None:
    """Two classes at -1 and 1 with unit variance: I(T; Y) = .4860 bits (numerical integral)."""
    x = torch.linspace(-12, 12, 200_001, dtype=torch.float64)
    logits = 2 * x
    density = torch.exp(-((x - 1) ** 2) / 2) / math.sqrt(2 * math.pi)
    conditional = float((density * torch.nn.functional.softplus(-logits)).sum() * (x[1] - x[0]))
    truth = 1 - conditional / math.log(2)
    targets = torch.arange(4000) % 2
    samples = drawn(4000, 1) + (2 * targets - 1).unsqueeze(1)
    assert truth == pytest.approx(0.4860, abs=1e-4)
    # Standard error of a mean of 4000 log-losses of deviation below 1.
    assert labelled(samples, targets).bits == pytest.approx(truth, abs=3 / math.sqrt(4000))


def test_a_class_that_no_fold_but_one_has_costs_a_finite_number_of_bits() -> None:
    targets = torch.tensor([0] * 20 + [1] * 20 + [7])
    found = labelled(drawn(41, 3), targets)
    assert math.isfinite(found.cross_entropy_bits)


def test_what_has_no_label_information_says_why() -> None:
    samples = drawn(20, 3)
    for targets, reason in (
        (torch.zeros(20), "class indices"),
        (torch.zeros(20, 2, dtype=torch.int64), "class indices"),
        (torch.zeros(20, dtype=torch.int64), "one class"),
    ):
        found = label_information(samples, targets)
        assert isinstance(found, Unavailable)
        assert reason in found.reason
    few = label_information(samples[:5], torch.arange(5))
    assert isinstance(few, Unavailable)
    with pytest.raises(ValueError, match="folds"):
        label_information(samples, torch.arange(20), folds=1)


def test_matrix_entropy_counts_groups_in_bits() -> None:
    """64 distinct samples hold 6 bits, equal ones none, four equal clusters two."""
    assert renyi_entropy(torch.eye(64)) == pytest.approx(6.0, abs=1e-9)
    assert renyi_entropy(torch.ones(64, 64)) == pytest.approx(0.0, abs=1e-9)
    clusters = torch.block_diag(*[torch.ones(16, 16)] * 4)
    for alpha in (0.5, 1.0, 1.01, 2.0):
        assert renyi_entropy(clusters, alpha) == pytest.approx(2.0, abs=1e-6)


def test_matrix_entropy_nears_the_von_neumann_entropy() -> None:
    kernel = gaussian_kernel(drawn(40, 3))
    near, limit = renyi_entropy(kernel, 1 + 1e-7), renyi_entropy(kernel, 1.0)
    assert float(near) == pytest.approx(float(limit), abs=1e-5)


def test_matrix_information_of_a_representation_with_itself_is_its_entropy() -> None:
    clusters = torch.block_diag(*[torch.ones(16, 16)] * 4)
    assert renyi_information(clusters, clusters) == pytest.approx(2.0, abs=1e-6)
    crossed = torch.ones(4, 4).kron(torch.eye(16))
    assert renyi_information(clusters, crossed) == pytest.approx(0.0, abs=1e-6)


def test_kernels_that_are_none_are_refused() -> None:
    with pytest.raises(ValueError, match="alpha"):
        renyi_entropy(torch.eye(3), 0.0)
    with pytest.raises(ValueError, match="shape"):
        renyi_entropy(torch.ones(3, 2))
    with pytest.raises(ValueError, match="same samples"):
        renyi_information(torch.eye(3), torch.eye(4))
    assert isinstance(renyi_entropy(torch.zeros(3, 3)), Unavailable)
    assert isinstance(renyi_information(torch.zeros(3, 3), torch.eye(3)), Unavailable)


@pytest.mark.parametrize("units", [1, 2])
def test_noisy_information_of_a_gaussian_is_that_of_its_channel(units: int) -> None:
    """C / 2 log2(1 + 1 / s^2) bits, between the estimate and its upper bound."""
    samples, noise = drawn(2000, units, seed=units), 0.5
    truth = units / 2 * math.log2(1 + 1 / noise**2)
    found = noisy(samples, noise)
    # 2000 samples of log-ratios whose deviation is about 1 bit, and the sample's own variance.
    assert found.bits == pytest.approx(truth, abs=0.1)
    assert found.bits <= found.upper_bits
    assert found.upper_bits == pytest.approx(truth, abs=0.1)
    assert found.gaussian_bits == pytest.approx(truth, abs=0.1)


def test_the_gaussian_channel_is_its_closed_form() -> None:
    covariance = torch.diag(torch.tensor([3.0, 15.0]))
    assert gaussian_channel(covariance, 1.0) == pytest.approx(3.0, abs=1e-12)
    assert gaussian_channel(4 * covariance, 2.0) == pytest.approx(3.0, abs=1e-12)


def test_two_far_points_hold_one_bit_whatever_the_dimension() -> None:
    sides = (torch.arange(600) % 2).double().unsqueeze(1)
    for units in (1, 30):
        found = noisy(sides.expand(600, units) * 100, 1.0)
        assert found.bits == pytest.approx(1.0, abs=1e-3)


def test_noisy_information_never_exceeds_that_of_a_gaussian() -> None:
    # In expectation; the slack is the error of 500 samples and 4 draws.
    for seed in range(4):
        samples = drawn(500, 3, seed=seed).relu()
        found = noisy(samples, 0.7)
        assert found.bits <= found.gaussian_bits + 0.1


def test_a_point_holds_no_information() -> None:
    assert noisy(torch.ones(50, 3), 0.1).bits == pytest.approx(0.0, abs=1e-12)


def test_noise_that_tells_all_samples_apart_is_a_reason_and_no_number() -> None:
    samples = drawn(100, 20)
    found = noisy_information(samples, 0.01, generator=torch.Generator().manual_seed(0))
    assert isinstance(found, Unavailable)
    assert "their number" in found.reason
    assert isinstance(noisy_information(samples[:1], 1.0, generator=torch.Generator()), Unavailable)


def test_the_estimate_does_not_depend_on_how_it_is_cut_for_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    samples = drawn(60, 3)
    whole = noisy(samples, 0.8)
    monkeypatch.setattr("structure_net.evolution.metrics.information.MEMORY", 60 * 7)
    assert noisy(samples, 0.8).bits == pytest.approx(whole.bits, abs=1e-10)


def test_noise_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="noise"):
        noisy(drawn(5, 2), 0.0)
    with pytest.raises(ValueError, match="draws"):
        noisy(drawn(5, 2), 1.0, draws=0)
