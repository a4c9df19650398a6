"""What takes a number says so when it is given something else, before anything is grown."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping
from types import ModuleType
from typing import Any, Final

import pytest

from structure_net import den, dnm, evolution
from structure_net.core.activations import check_activation
from structure_net.den.growth_strategy import GrowthStrategy as DENGrowth
from structure_net.evolution import (
    Acceptance,
    GrowthStrategy,
    Trigger,
    adaptive_learning_rates,
    components,
    triggers,
)
from structure_net.evolution.adaptive_learning_rates import RateRule
from structure_net.evolution.components import (
    DepthGrowthStrategy,
    ResidualBlockGrowthStrategy,
    WidthGrowthStrategy,
)

ROLES: Final = (GrowthStrategy, Trigger, Acceptance, RateRule, DENGrowth, dnm.DNMNet2Net)
NEEDED: Final[Mapping[str, Any]] = {
    "budget": {"parameters": 100},
    "strategies": [WidthGrowthStrategy(), DepthGrowthStrategy()],
    "strategy": den.LossBasedGrowth(),
    "example": None,
    "trigger": triggers.EveryNEpochs(1),
    "metric": "validation_loss",
    "threshold": 0.5,
    "limit": 3,
    "n": 3,
}
WRONG: Final[Mapping[str, tuple[Any, ...]]] = {
    "int": ("many", 1.5, True, float("nan")),
    "float": ("much", [0.5], True, float("nan")),
}


def parts() -> Iterator[type]:
    """The strategies, triggers, policies and rates that are exported."""
    modules: tuple[ModuleType, ...] = (
        components,
        triggers,
        evolution,
        adaptive_learning_rates,
        den,
        dnm,
    )
    found = {
        part.__qualname__: part
        for module in modules
        for name in module.__all__
        if inspect.isclass(part := getattr(module, name))
        if issubclass(part, ROLES) and not inspect.isabstract(part) and part is not RateRule
    }
    yield from (found[name] for name in sorted(found))


def numbers() -> Iterator[tuple[type, str, str]]:
    """Each of their arguments that is a number, with its kind."""
    for part in parts():
        for one in inspect.signature(part).parameters.values():
            kind = str(one.annotation).removesuffix(" | None")
            if kind in WRONG:
                yield part, one.name, kind


@pytest.mark.parametrize(
    ("part", "name", "kind"),
    [pytest.param(*one, id=f"{one[0].__name__}-{one[1]}") for one in numbers()],
)
def test_what_is_no_number_is_refused_by_its_name(part: type, name: str, kind: str) -> None:
    asked = inspect.signature(part).parameters.values()
    given = {
        one.name: NEEDED[one.name]
        for one in asked
        if one.default is one.empty and one.name in NEEDED
    }
    part(**given)
    for wrong in WRONG[kind]:
        with pytest.raises(
            (TypeError, ValueError), match=rf"{name}\b.* must be .*; got {re.escape(repr(wrong))}"
        ):
            part(**{**given, name: wrong})


def test_the_tables_are_about_something() -> None:
    assert len(list(parts())) > 30
    assert len(list(numbers())) > 80


@pytest.mark.parametrize("part", [DepthGrowthStrategy, ResidualBlockGrowthStrategy])
def test_an_unknown_activation_is_refused_before_anything_is_grown(part: Any) -> None:
    check_activation("relu")
    with pytest.raises(ValueError, match=r"activation must be one of relu, .*; got 'swish'"):
        part(activation="swish")
