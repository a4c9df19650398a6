"""The role of a rule: a reason for a learning rate other than the optimizer's own.

A rule gives factors, never rates, so that rules multiply and any PyTorch scheduler goes on ruling
the optimizer's own rate. Rules keep no state: what they remember lies in the optimizer
(`structure_net.evolution.adaptive_learning_rates.generations`), so that it is forked, saved and
restored together with the moments.
"""

from __future__ import annotations

from abc import ABC
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

Factor = float | Tensor
"""For a whole parameter, or for each entry: broadcastable to the parameter's shape."""


@dataclass(frozen=True, slots=True, eq=False)
class Place:
    """One parameter at one step, as a rule sees it.

    Args:
        name: The parameter's name in the model.
        parameter: Its values before the step.
        depth: The number of weight layers in front of its layer, by the order of registration.
        layers: The number of weight layers.
        age: Steps since each entry was born, the parameter's shape; an int where all are of one
            age. None where no rule asks for ages.
        original: Whether each entry was there when the rates were attached.
        since_growth: Steps since anything was born; None if nothing was.
        matrix: Whether it weighs connections: a matrix, a kernel or a list of live weights.
        step: What the optimizer is about to subtract, divided by its rate; only for rules that
            read it (`RateRule.reads_step`), and only after the optimizer's step.
    """

    name: str
    parameter: Tensor
    depth: int = 0
    layers: int = 1
    age: Tensor | int | None = None
    original: Tensor | bool = True
    since_growth: int | None = None
    matrix: bool = True
    step: Tensor | None = None


class RateRule(ABC):
    """Multiplies learning rates. A rule of one's own overrides what it has to say.

    ``title`` heads its column where rates are explained. ``reads_ages`` and ``reads_step`` say what
    `local` needs to know; both cost memory or time, so that they are off by default.
    """

    title: ClassVar[str]
    reads_ages: bool = False
    reads_step: bool = False

    def overall(self, memory: Mapping[str, Any]) -> float:
        """A factor for everything, from what `after_epoch` remembered."""
        return 1.0

    def local(self, place: Place) -> Factor:
        """A factor for one parameter, or for each of its entries."""
        return 1.0

    def after_epoch(
        self, memory: Mapping[str, Any], metrics: Mapping[str, float], *, grew: bool
    ) -> Mapping[str, Any]:
        """What to remember after an epoch: JSON data, a new mapping.

        Args:
            memory: What was remembered before; empty at first.
            metrics: What was measured in the epoch.
            grew: Whether anything was born since the last epoch.
        """
        return memory
