"""What a morphogenesis can be told: the keys of its configuration, checked when it is made."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, Self, get_args

from structure_net.core.arguments import check_number, check_whole
from structure_net.evolution.metrics.performance import PERFORMANCE_MEASURES, check_measures

DivisionStrategy = Literal["gradient_based", "activation_based", "hybrid"]


@dataclass(frozen=True, slots=True)
class DNMConfiguration:
    """The configuration of a `DNMFramework`; its fields are the keys.

    Args:
        morphogenesis_interval: Every so many epochs it is checked whether to change.
        max_morphogenesis_per_epoch: At most so many changes are made at one check.
        performance_improvement_threshold: A check triggers when the validation accuracy improved by
            less than this since the last one.
        neuron_division_strategy: Which units of a layer divide: those with the largest gradients,
            with the most varied activations, or by the mean of both.
        division_noise_scale: What tells the two halves apart: a standard deviation, relative to
            that of the layer's weights. 0 keeps the function exactly.
        progressive_activation_epochs: Over so many epochs a new half takes over its share of the
            connections behind it; 0: at once.
        bottleneck_detection_metrics: What the layers are ranked by: names of
            `PERFORMANCE_MEASURES`.
        rollback_enabled: Whether a change is taken back when the accuracy drops behind it.
        performance_drop_threshold: How far below the accuracy before the change it may fall.
        max_architecture_changes: At most so many changes in all, those taken back included.
        division_fraction: The share of a layer's units that divides at one change.
        connection_growth: Whether connections grow, too.
        seed: What all random choices follow from.

    Raises:
        TypeError: A value is of the wrong kind.
        ValueError: A value is out of range or unknown.
    """

    morphogenesis_interval: int = 3
    max_morphogenesis_per_epoch: int = 1
    performance_improvement_threshold: float = 0.01
    neuron_division_strategy: DivisionStrategy = "hybrid"
    division_noise_scale: float = 0.1
    progressive_activation_epochs: int = 5
    bottleneck_detection_metrics: tuple[str, ...] = PERFORMANCE_MEASURES
    rollback_enabled: bool = True
    performance_drop_threshold: float = 0.05
    max_architecture_changes: int = 10
    division_fraction: float = 0.25
    connection_growth: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in _WHOLE.items():
            check_whole(least, **{name: getattr(self, name)})
        for name in _AT_LEAST_ZERO:
            _check_number(name, getattr(self, name))
        for name in ("rollback_enabled", "connection_growth"):
            if not isinstance(getattr(self, name), bool):
                raise TypeError(f"{name} must be True or False; got {getattr(self, name)!r}.")
        if not 0 < self.division_fraction <= 1:
            raise ValueError(f"division_fraction must be in (0, 1]; got {self.division_fraction}.")
        if self.neuron_division_strategy not in get_args(DivisionStrategy):
            near = nearest(str(self.neuron_division_strategy), get_args(DivisionStrategy))
            raise ValueError(
                f"neuron_division_strategy must be one of {', '.join(get_args(DivisionStrategy))};"
                f" got {self.neuron_division_strategy!r}.{near}"
            )
        self._settle_measures()

    def _settle_measures(self) -> None:
        given: object = self.bottleneck_detection_metrics
        if isinstance(given, str) or not isinstance(given, Iterable):
            raise TypeError(f"bottleneck_detection_metrics must be a list of names; got {given!r}.")
        measures = tuple(given)
        if not measures:
            raise ValueError("bottleneck_detection_metrics must name one measure or more.")
        check_measures(measures)
        object.__setattr__(self, "bottleneck_detection_metrics", measures)

    @classmethod
    def of(cls, given: Mapping[str, Any] | Self | None) -> Self:
        """The configuration that a mapping describes; keys that it leaves out have their defaults.

        Raises:
            ValueError: A key is unknown, or see the class; the message names the nearest known key.
            TypeError: ``given`` is no mapping, or see the class.
        """
        if given is None:
            return cls()
        if isinstance(given, cls):
            return given
        if not isinstance(given, Mapping):
            raise TypeError(f"config must be a mapping of keys to values; got {given!r:.80}.")
        known = [field.name for field in fields(cls)]
        for key in given:
            if key not in known:
                raise ValueError(
                    f"config has the unknown key {key!r}.{nearest(str(key), known)}"
                    f" Known keys: {', '.join(known)}."
                )
        return cls(**given)


def nearest(name: str, known: Iterable[str]) -> str:
    """A sentence that names what ``name`` may have been meant for; empty if nothing is near."""
    near = difflib.get_close_matches(name, list(known), n=1)
    return f" The nearest is {near[0]!r}." if near else ""


_WHOLE: Mapping[str, int] = {
    "morphogenesis_interval": 1,
    "max_morphogenesis_per_epoch": 1,
    "progressive_activation_epochs": 0,
    "max_architecture_changes": 0,
    "seed": 0,
}
_AT_LEAST_ZERO = (
    "performance_improvement_threshold",
    "division_noise_scale",
    "performance_drop_threshold",
    "division_fraction",
)


def _check_number(name: str, value: float) -> None:
    if isinstance(value, float) and not 0 <= value < float("inf"):
        raise ValueError(f"{name} must be 0 or more, and finite; got {value}.")
    check_number(0, **{name: value})
