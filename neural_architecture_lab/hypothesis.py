"""What is claimed, before anything runs: a question, arms to compare, predictions in numbers.

`Hypothesis(name, category, question, prediction)` is enough; its category then supplies experiment,
arms and predictions (`neural_architecture_lab.experiments`). In full it says all of it itself.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Literal, Protocol, TypeAlias, TypeVar

from neural_architecture_lab.errors import HypothesisError
from neural_architecture_lab.levels import Layout, Range, Setting, checked_factors, is_number, plain
from neural_architecture_lab.naming import check_experiment, check_name, id_of
from neural_architecture_lab.outcomes import Outcome

PredictedDirection: TypeAlias = Literal["higher", "lower", "same"]
_Kind = TypeVar("_Kind")


class HypothesisCategory(StrEnum):
    """What a hypothesis is about; each category has an experiment of its own."""

    ARCHITECTURE = "architecture"
    TRAINING = "training"
    GROWTH_DYNAMICS = "growth_dynamics"
    SPARSITY = "sparsity"
    OPTIMIZATION = "optimization"
    REGULARIZATION = "regularization"
    INFORMATION = "information"
    TOPOLOGY = "topology"


@dataclass(frozen=True, slots=True)
class Arm:
    """One of the things that are compared.

    Args:
        name: Unlike that of any other arm of the hypothesis.
        settings: What the experiment reads from `Trial.settings`: plain data.
        control: Whether predictions that name no other arm compare with this one.
    """

    name: str
    settings: Mapping[str, Setting] = field(default_factory=dict)
    control: bool = False

    def __post_init__(self) -> None:
        check_name("An arm's name", self.name)
        object.__setattr__(self, "settings", plain(self.settings, f"settings of {self.name!r}"))


@dataclass(frozen=True, slots=True)
class Prediction:
    """What will be found, in numbers, said beforehand.

    Args:
        metric: A name among the metrics that the experiment returns.
        direction: How ``arm`` compares with ``versus``: higher, lower, or the same.
        smallest_effect: The smallest mean difference that would matter, in the metric's own unit.
            Differences that are surely below it count as none. Above 0 for ``"same"``.
        arm: The arm that the prediction is about; the only one beside the control if None.
        versus: The arm that it is compared with; the control if None.

    Raises:
        HypothesisError: The metric is no name, the direction is unknown, or the effect is no number
            that it can have.
    """

    metric: str
    direction: PredictedDirection
    smallest_effect: float = 0.0
    arm: str | None = None
    versus: str | None = None

    def __post_init__(self) -> None:
        check_name("A prediction's metric", self.metric)
        if self.direction not in ("higher", "lower", "same"):
            raise HypothesisError(
                f"direction must be 'higher', 'lower' or 'same'; got {self.direction!r}."
            )
        size = self.smallest_effect
        if isinstance(size, bool) or not isinstance(size, int | float):
            raise HypothesisError(f"smallest_effect must be a number; got {size!r}.")
        if not (math.isfinite(size) and size >= 0):
            raise HypothesisError(f"smallest_effect must be 0 or more; got {size}.")
        if self.direction == "same" and size == 0:
            raise HypothesisError(
                f"That {self.metric!r} is the same needs a smallest_effect above 0: the difference"
                " up to which two arms count as the same."
            )

    def __str__(self) -> str:
        arm, versus = self.arm or "the treated arm", self.versus or "the control"
        if self.direction == "same":
            return f"{self.metric} of {arm} is within {self.smallest_effect:g} of that of {versus}"
        by = f" by {self.smallest_effect:g} or more" if self.smallest_effect else ""
        return f"{self.metric} of {arm} is {self.direction} than that of {versus}{by}"


@dataclass(frozen=True, slots=True)
class Stopping:
    """When one may look and stop early, said beforehand.

    Args:
        looks: The numbers of seeds at which one looks; the last is the planned number. Made of the
            planned seeds where None: a quarter, a half, three quarters, all.
        spending: How the level is spent over the looks: hardly anything early, or evenly.

    Raises:
        HypothesisError: The looks do not ascend from 2 on, or the spending is unknown.
    """

    looks: tuple[int, ...] | None = None
    spending: Literal["obrien-fleming", "pocock"] = "obrien-fleming"

    def __post_init__(self) -> None:
        looks = self.looks
        if looks is not None:
            whole = isinstance(looks, Sequence) and all(type(one) is int for one in looks)
            if not whole or not looks or looks[0] < 2 or list(looks) != sorted(set(looks)):
                raise HypothesisError(
                    f"looks must be numbers of seeds from 2 on, ascending; got {looks!r}."
                )
            object.__setattr__(self, "looks", tuple(looks))
        if self.spending not in ("obrien-fleming", "pocock"):
            raise HypothesisError(
                f"spending must be 'obrien-fleming' or 'pocock'; got {self.spending!r}."
            )


class Experiment(Protocol):
    """What runs one trial: a function at the top of a module, so that workers find it by name.

    The same trial gives the same metrics wherever it runs: all randomness follows from
    ``trial.seed``, and ``trial.settings`` is all that tells arms apart.
    """

    def __call__(self, trial: Any, *, device: str) -> Mapping[str, Any] | Outcome:
        """The metrics of ``trial``, by name; or an `Outcome`, with curves and more."""


@dataclass(frozen=True)
class Hypothesis:
    """A claim about architectures that can turn out wrong.

    Args:
        name: A short name; the `id` is made of it.
        category: What it is about.
        question: What is asked, as a sentence.
        prediction: What is expected, as a sentence.
        experiment: What runs a trial: a function at the top of a module. The category's if None.
        arms: What is compared, one of them the control. The category's if empty.
        factors: Further settings by name, each with its levels or a `Range`; every arm is run at
            every point of them.
        layout: How points are chosen: all combinations of levels, at random, or as a Latin
            hypercube.
        points: How many points a random layout or a Latin hypercube has.
        predictions: What will be found, in numbers. The category's if empty.
        alpha: The chance of a false claim that is borne, in (0, 1/2).
        power: The chance of finding an effect that is there, in (0, 1).
        seeds: How many seeds each arm runs; planned from power and the assumed effect if None.
        assumed_effect: The standardised effect that the plan assumes (mean difference in standard
            deviations of the paired differences).
        stopping: When one may look and stop early; never if None.
        supplied: What of these its category supplied, by name; `with_defaults` says so.

    Raises:
        HypothesisError: An argument cannot be meant as it is given.
    """

    name: str
    category: HypothesisCategory
    question: str
    prediction: str
    experiment: Experiment | None = None
    arms: Sequence[Arm] = ()
    factors: Mapping[str, Sequence[Setting] | Range] = field(default_factory=dict)
    layout: Layout = "grid"
    points: int | None = None
    predictions: Sequence[Prediction] = ()
    alpha: float = 0.05
    power: float = 0.8
    seeds: int | None = None
    assumed_effect: float = 1.0
    stopping: Stopping | None = None
    supplied: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_name("A hypothesis's name", self.name)
        _settle(self, "category", _category(self.category))
        _settle(self, "arms", _checked_arms(self.arms))
        _settle(self, "predictions", _listed("predictions", self.predictions, Prediction))
        _settle(self, "factors", checked_factors(self.factors, self.layout, self.points))
        check_experiment(self.experiment)
        for name, most in (("alpha", 0.5), ("power", 1)):
            value = getattr(self, name)
            if not is_number(value) or not 0 < value < most:
                raise HypothesisError(f"{name} must lie between 0 and {most}; got {value!r}.")
        if self.seeds is not None and (type(self.seeds) is not int or self.seeds < 2):
            raise HypothesisError(
                "seeds must be a whole number from 2 on, since differences over seeds are tested;"
                f" got {self.seeds!r}."
            )
        if not isinstance(self.stopping, Stopping | None):
            raise HypothesisError(f"stopping must be a Stopping(...); got {self.stopping!r}.")
        if not self.assumed_effect or not is_number(self.assumed_effect):
            raise HypothesisError(
                "assumed_effect must be a number other than 0, which no number of seeds finds; got"
                f" {self.assumed_effect!r}."
            )
        if self.arms and self.predictions:
            for prediction in self.predictions:
                self.sides(prediction)

    @property
    def id(self) -> str:
        """The name in lower case, with underscores: how the lab knows the hypothesis."""
        return id_of("A hypothesis's name", self.name)

    @property
    def control(self) -> Arm:
        """The arm that predictions compare with where they name none.

        Raises:
            HypothesisError: The arms are the category's still.
        """
        if not self.arms:
            raise HypothesisError(f"{self.name!r} has no arms yet; its category supplies them.")
        return next(arm for arm in self.arms if arm.control)

    def sides(self, prediction: Prediction) -> tuple[str, str]:
        """The names of the two arms that a prediction compares: its own, and the other.

        Raises:
            HypothesisError: It names an arm that there is not, the same arm twice, or leaves open
                which of several it means.
        """
        names = [arm.name for arm in self.arms]
        other = prediction.versus or self.control.name
        rest = [name for name in names if name != other]
        if prediction.arm is None and len(rest) != 1:
            raise HypothesisError(
                f"The prediction about {prediction.metric!r} must name its arm, since there are"
                f" several: {', '.join(rest)}."
            )
        own = prediction.arm or rest[0]
        for name in (own, other):
            if name not in names:
                raise HypothesisError(
                    f"The prediction about {prediction.metric!r} names the arm {name!r}; there are"
                    f" {', '.join(names)}."
                )
        if own == other:
            raise HypothesisError(
                f"The prediction about {prediction.metric!r} compares {own!r} with itself; name"
                " another arm or another versus."
            )
        return own, other

    def with_defaults(self, other: Hypothesis) -> Hypothesis:
        """This hypothesis with what it leaves open taken from ``other``."""
        named = ("experiment", "arms", "factors", "predictions")
        supplied = tuple(name for name in named if getattr(other, name) and not getattr(self, name))
        return replace(
            self,
            supplied=supplied,
            experiment=self.experiment or other.experiment,
            arms=self.arms or other.arms,
            factors=self.factors or other.factors,
            layout=self.layout if self.factors else other.layout,
            points=self.points if self.factors else other.points,
            predictions=self.predictions or other.predictions,
            seeds=self.seeds or other.seeds,
            stopping=self.stopping or other.stopping,
        )


def _listed(name: str, values: Any, kind: type[_Kind]) -> tuple[_Kind, ...]:
    if isinstance(values, Sequence) and all(isinstance(one, kind) for one in values):
        return tuple(values)
    raise HypothesisError(
        f"{name} must be a list of {kind.__name__}(...), even of one; got {values!r:.80}."
    )


def _settle(hypothesis: Hypothesis, name: str, value: object) -> None:
    object.__setattr__(hypothesis, name, value)


def _category(category: object) -> HypothesisCategory:
    try:
        return HypothesisCategory(str(category))
    except ValueError as error:
        known = ", ".join(member.name for member in HypothesisCategory)
        raise HypothesisError(f"category must be one of {known}; got {category!r}.") from error


def _checked_arms(arms: Sequence[Arm]) -> tuple[Arm, ...]:
    arms = _listed("arms", arms, Arm)
    if not arms:
        return arms
    names = [arm.name for arm in arms]
    if len(arms) < 2 or len(set(names)) < len(names):
        raise HypothesisError(
            f"A comparison needs two arms or more, of different names; got {names}."
        )
    if sum(arm.control for arm in arms) != 1:
        raise HypothesisError(
            "One arm must be the control, Arm(..., control=True); got"
            f" {[arm.name for arm in arms if arm.control]}."
        )
    return arms
