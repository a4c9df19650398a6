from __future__ import annotations

from typing import Any

import pytest

from structure_net.dnm import DNMConfiguration, DNMFramework
from structure_net.dnm.checks import ImprovementChecks
from tests.structure_net.dnm.loops import SmallCNN

SEED: dict[str, Any] = {
    "morphogenesis_interval": 3,
    "max_morphogenesis_per_epoch": 1,
    "performance_improvement_threshold": 0.01,
    "neuron_division_strategy": "hybrid",
    "division_noise_scale": 0.1,
    "progressive_activation_epochs": 5,
    "bottleneck_detection_metrics": [
        "gradient_variance",
        "activation_diversity",
        "information_flow",
        "performance_sensitivity",
    ],
    "rollback_enabled": True,
    "performance_drop_threshold": 0.05,
    "max_architecture_changes": 10,
}


def test_what_is_left_out_has_the_value_that_the_advanced_configuration_writes() -> None:
    assert DNMConfiguration.of(SEED) == DNMConfiguration() == DNMConfiguration.of(None)
    given = DNMConfiguration(seed=3)
    assert DNMConfiguration.of(given) is given


@pytest.mark.parametrize(
    ("key", "near"),
    [
        ("morphogenesis_intervall", "morphogenesis_interval"),
        ("rollback", "rollback_enabled"),
        ("division_noise", "division_noise_scale"),
    ],
)
def test_an_unknown_key_is_an_error_that_names_the_nearest(key: str, near: str) -> None:
    with pytest.raises(ValueError, match=f"unknown key '{key}'. The nearest is '{near}'. Known"):
        DNMFramework(SmallCNN(), {key: 1})


@pytest.mark.parametrize(
    ("key", "value", "kind", "said"),
    [
        ("morphogenesis_interval", 0, ValueError, "must be 1 or more; got 0"),
        ("morphogenesis_interval", 1.5, TypeError, "must be a whole number; got 1.5"),
        ("max_architecture_changes", True, TypeError, "must be a whole number"),
        ("division_noise_scale", -0.1, ValueError, "must be 0 or more"),
        ("division_noise_scale", "much", TypeError, "must be a number"),
        ("performance_drop_threshold", float("nan"), ValueError, "must be 0 or more, and finite"),
        ("rollback_enabled", 1, TypeError, "must be True or False"),
        ("division_fraction", 1.2, ValueError, r"must be in \(0, 1\]"),
        ("neuron_division_strategy", "gradient", ValueError, "The nearest is 'gradient_based'"),
        ("bottleneck_detection_metrics", "information_flow", TypeError, "a list of names"),
        ("bottleneck_detection_metrics", [], ValueError, "one measure or more"),
        ("bottleneck_detection_metrics", ["flow"], ValueError, "got flow"),
    ],
)
def test_a_value_out_of_range_is_refused(
    key: str, value: object, kind: type[Exception], said: str
) -> None:
    with pytest.raises(kind, match=said):
        DNMConfiguration.of({key: value})


def test_a_configuration_that_is_no_mapping_is_refused() -> None:
    with pytest.raises(TypeError, match="config must be a mapping"):
        DNMConfiguration.of(["morphogenesis_interval"])  # type: ignore[arg-type]


def test_an_improvement_of_just_the_threshold_is_enough() -> None:
    checks = ImprovementChecks(1, 0.25)
    assert checks.reason(1, 0.5, None) is None
    assert checks.reason(2, 0.75, None) is None
    assert checks.reason(3, 0.875, None) is not None
    assert checks.reason(4, 0.5, None) == (
        "validation accuracy 0.5000 is -0.3750 since epoch 3, less than +0.25"
    )
