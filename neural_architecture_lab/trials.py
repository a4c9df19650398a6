"""The trials of a hypothesis: which arm at which point of the factors, which seed, which order.

The design is paired. A seed is a block: every arm is run with it at every point, so that data order
and initial weights are shared where they exist, and what is tested are differences within a seed.
Blocks follow each other, so that after any of them the seeds so far are complete; within a block
the order is drawn at random, so that nothing that drifts (a warming machine) falls on one arm.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import math
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from itertools import product
from typing import Any, Final

import numpy as np

from neural_architecture_lab.errors import DesignError
from neural_architecture_lab.hypothesis import Experiment, Hypothesis
from neural_architecture_lab.levels import Range, Setting
from neural_architecture_lab.outcomes import Outcome
from neural_architecture_lab.recipes import recipe_of
from neural_architecture_lab.statistics import seeds_needed

LEAST_SEEDS: Final = 5
MOST_TRIALS: Final = 1_000_000
"""More are not laid out: their records would take days to write, and gigabytes to hold."""
APART: Final = 100_000
"""How far fresh seeds lie from those that were seen before."""
_PACKAGES: Final = ("structure-net", "torch", "numpy", "scipy")


@dataclass(frozen=True, slots=True)
class Trial:
    """One run of an experiment.

    Args:
        hypothesis: The id of the hypothesis.
        arm: The name of the arm.
        seed: What all randomness of the trial follows from.
        settings: What the arm and the point of the factors say; plain data.
        point: Which point of the factors, counted from 0.
        factors: The level of each factor at that point.
        place: The trial's place in the order of running, counted from 0.
    """

    hypothesis: str
    arm: str
    seed: int
    settings: Mapping[str, Setting]
    point: int = 0
    factors: Mapping[str, Setting] = field(default_factory=dict)
    place: int = 0

    @property
    def id(self) -> str:
        """What no other trial of the lab is called: hypothesis, arm, point and seed."""
        return f"{self.hypothesis}/{self.arm}/{self.point}/{self.seed}"


@dataclass(frozen=True, slots=True)
class FreshSeeds:
    """An experiment whose seeds are counted from somewhere else.

    Args:
        experiment: Runs the trial.
        first_seed: Is added to the trial's seed.
    """

    experiment: Experiment
    first_seed: int

    @property
    def __wrapped__(self) -> Experiment:
        """What really runs: its source is what is hashed."""
        return self.experiment

    def __call__(self, trial: Trial, *, device: str) -> Mapping[str, Any] | Outcome:
        """The metrics of the trial with the other seed."""
        return self.experiment(self.moved(trial), device=device)

    def moved(self, trial: Trial) -> Trial:
        """The trial with the other seed."""
        return replace(trial, seed=trial.seed + self.first_seed)


@dataclass(frozen=True, slots=True)
class Design:
    """All trials of a hypothesis, fixed before the first of them.

    Args:
        trials: In the order in which they are to be run.
        seeds: The planned number of seeds.
        looks: The numbers of seeds at which one looks; the last is ``seeds``.
        why: Where the number of seeds comes from, in words.
        statement: All that was fixed, as plain data: question, arms, predictions, seeds, code.
    """

    trials: tuple[Trial, ...]
    seeds: int
    looks: tuple[int, ...]
    why: str
    statement: Mapping[str, Any]

    def __repr__(self) -> str:
        return f"Design({len(self.trials)} trials, {self.seeds} seeds, hash {self.hash[:12]})"

    @property
    def hash(self) -> str:
        """SHA-256 of the `statement`, in hexadecimal digits."""
        return hash_of(self.statement)

    def of_seeds(self, first: int, last: int) -> tuple[Trial, ...]:
        """The trials of the seeds from ``first`` up to but not including ``last``."""
        return tuple(trial for trial in self.trials if first <= trial.seed < last)


def design(hypothesis: Hypothesis, *, seeds: int | None = None, order: int = 0) -> Design:
    """Lays out the trials of a hypothesis.

    Args:
        hypothesis: Complete: with an experiment, arms and predictions.
        seeds: How many seeds; the hypothesis's own number, or what its power asks for, if None.
        order: What the order within blocks, and points that are drawn, are drawn with.

    Raises:
        DesignError: The hypothesis is not complete, a factor overrides what tells arms apart, or
            there would be too many trials.
    """
    _check_complete(hypothesis)
    _check_apart(hypothesis)
    planned, why = (seeds, "as asked") if seeds is not None else planned_seeds(hypothesis)
    points = points_of(hypothesis, order)
    count = planned * len(hypothesis.arms) * len(points)
    if count > MOST_TRIALS:
        raise DesignError(
            f"{hypothesis.name!r} would have {count:,} trials ({planned:,} seeds of"
            f" {len(hypothesis.arms)} arms at {len(points)} points), and {MOST_TRIALS:,} are the"
            " most; ask for fewer seeds or points, or assume a larger effect."
        )
    generator = np.random.default_rng(order)
    trials: list[Trial] = []
    for seed in range(planned):
        block = list(product(hypothesis.arms, enumerate(points)))
        for place in generator.permutation(len(block)):
            arm, (point, levels) = block[place]
            settings = {**arm.settings, **levels}
            trials.append(
                Trial(hypothesis.id, arm.name, seed, settings, point, levels, len(trials))
            )
    looks = _looks(hypothesis, planned)
    statement = statement_of(hypothesis, planned, looks, points)
    return Design(tuple(trials), planned, looks, why, statement)


def planned_seeds(hypothesis: Hypothesis) -> tuple[int, str]:
    """How many seeds a hypothesis needs, and why, in words.

    Its own number where it names one. Else the fewest with which the paired t test finds the
    assumed effect with the wanted power, at a level that its predictions share.

    Raises:
        DesignError: More seeds than can be meant would be needed.
    """
    if hypothesis.seeds is not None:
        return hypothesis.seeds, "as the hypothesis says"
    tests = max(len(hypothesis.predictions), 1)
    effect, alpha = abs(hypothesis.assumed_effect), hypothesis.alpha / tests
    try:
        needed = max(seeds_needed(effect, alpha=alpha, power=hypothesis.power), LEAST_SEEDS)
    except ValueError as error:  # more than can be meant
        raise DesignError(
            f"No number of seeds serves {hypothesis.name!r}: {error} Assume a larger effect, or"
            " say seeds=."
        ) from error
    shared = f" shared by {tests} predictions" if tests > 1 else ""
    return needed, (
        f"finds an effect of {effect:g} standard deviations with power {hypothesis.power:g} at"
        f" level {hypothesis.alpha:g}{shared}"
    )


def points_of(hypothesis: Hypothesis, order: int = 0) -> tuple[dict[str, Setting], ...]:
    """The points of the factors: one empty point where there are none.

    Raises:
        DesignError: A grid has more points than trials are allowed.
    """
    factors = hypothesis.factors
    if not factors:
        return ({},)
    if hypothesis.layout == "grid":
        levels = [list(_listed(factor)) for factor in factors.values()]
        if (count := math.prod(map(len, levels))) > MOST_TRIALS:
            raise DesignError(
                f"The grid of {hypothesis.name!r} has {count:,} points, and {MOST_TRIALS:,} trials"
                " are the most; take layout='latin-hypercube' and points=."
            )
        return tuple(dict(zip(factors, point, strict=True)) for point in product(*levels))
    generator = np.random.default_rng(order + 1)
    fractions = _fractions(hypothesis, generator)
    return tuple(
        {
            name: _level(factor, float(fraction))
            for (name, factor), fraction in zip(factors.items(), row, strict=True)
        }
        for row in fractions
    )


def statement_of(
    hypothesis: Hypothesis,
    seeds: int,
    looks: Sequence[int],
    points: Sequence[Mapping[str, Setting]] = ({},),
) -> dict[str, Any]:
    """What a hypothesis claims and how it will be tested, as plain data: what is hashed.

    Where its experiment can be made again elsewhere the ``recipe`` says how.
    """
    more = {"layout": _laid_out(hypothesis)} if hypothesis.factors else {}
    recipe = recipe_of(hypothesis.experiment)
    if recipe is not None:
        more["recipe"] = recipe
    return {
        "id": hypothesis.id,
        "category": hypothesis.category.value,
        "question": hypothesis.question,
        "prediction": hypothesis.prediction,
        "predictions": [
            {
                "metric": prediction.metric,
                "direction": prediction.direction,
                "smallest_effect": prediction.smallest_effect,
                "arms": list(hypothesis.sides(prediction)),
            }
            for prediction in hypothesis.predictions
        ],
        "arms": {arm.name: dict(arm.settings) for arm in hypothesis.arms},
        "control": hypothesis.control.name,
        "points": [dict(point) for point in points],
        "alpha": hypothesis.alpha,
        "power": hypothesis.power,
        "seeds": seeds,
        "looks": list(looks),
        "spending": hypothesis.stopping.spending if hypothesis.stopping else None,
        "supplied": list(hypothesis.supplied),
        "code": code_of(hypothesis.experiment),
        **more,
    }


def _laid_out(hypothesis: Hypothesis) -> dict[str, Any]:
    factors = {
        name: asdict(levels) if isinstance(levels, Range) else list(levels)
        for name, levels in hypothesis.factors.items()
    }
    return {"kind": hypothesis.layout, "points": hypothesis.points, "factors": factors}


def code_of(experiment: Any) -> dict[str, str]:
    """Which code runs: the experiment's name, the hash of its source, versions of packages.

    Of a ``partial`` and of an object the hash of what it holds is part of it (``made_with``). What
    an experiment that is made of another says of itself (``first_seed``, ``measured``) is part of
    it, and so is what one is made of that describes its trials (``described``).
    """
    first, measured = getattr(experiment, "first_seed", 0), getattr(experiment, "measured", "")
    experiment = inspect.unwrap(experiment)
    state = _state_of(experiment)
    if isinstance(experiment, partial):
        experiment = inspect.unwrap(experiment.func)
    function = experiment if inspect.isroutine(experiment) else type(experiment)
    try:
        source = inspect.getsource(function)
    except (OSError, TypeError):  # typed into an interpreter
        source = ""
    found = {
        "experiment": f"{function.__module__}.{function.__qualname__}",
        "source": hashlib.sha256(source.encode()).hexdigest(),
        "python": platform.python_version(),
    }
    if first:
        found["first_seed"] = str(first)
    if described := getattr(experiment, "described", None):
        found["described"] = str(described)
    if state:
        found["made_with"] = hash_of(state)
    if measured:
        found["measured"] = str(measured)
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _state_of(experiment: Any) -> dict[str, Any]:
    """What an experiment that is no plain function holds, as plain data; of the rest its type."""
    if isinstance(experiment, partial):
        held: dict[str, Any] = {"args": list(experiment.args), **experiment.keywords}
    elif inspect.isroutine(experiment):
        return {}
    elif is_dataclass(experiment):
        held = {one.name: getattr(experiment, one.name) for one in fields(experiment)}
    else:
        held = dict(getattr(experiment, "__dict__", {}))
    return {name: _told(value) for name, value in held.items()}


def _told(value: Any) -> Any:
    if value is None or isinstance(value, str | bool | int | float):
        return value
    if isinstance(value, Mapping):
        return {str(name): _told(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_told(item) for item in value]
    kind = value if inspect.isroutine(value) or inspect.isclass(value) else type(value)
    name = f"{kind.__module__}.{kind.__qualname__}"
    held: dict[str, Any] = {}
    if isinstance(value, partial):
        held = {"of": _told(value.func), **_state_of(value)}
    elif kind is not value and is_dataclass(kind):
        held = _state_of(value)
    elif kind is not value and hasattr(kind, "tolist"):  # an array, or a tensor
        held = {"entries": _told(value.tolist())}
    return {"kind": name, **held} if held else name


def hash_of(statement: Mapping[str, Any]) -> str:
    """SHA-256 of plain data in one canonical form, in hexadecimal digits."""
    text = json.dumps(statement, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _check_complete(hypothesis: Hypothesis) -> None:
    absent = [
        name for name in ("experiment", "arms", "predictions") if not getattr(hypothesis, name)
    ]
    if absent:
        raise DesignError(
            f"{hypothesis.name!r} has no {' and no '.join(absent)}; give them, or register it with"
            " a lab, whose categories supply them."
        )


def _check_apart(hypothesis: Hypothesis) -> None:
    """Refuses factors that override what tells arms apart."""
    for name in hypothesis.factors:
        told = [arm.settings[name] for arm in hypothesis.arms if name in arm.settings]
        if any(value != told[0] for value in told):
            raise DesignError(
                f"The arms of {hypothesis.name!r} differ in {name!r}, which is a factor as well,"
                " and a trial can be told one only: take it out of the arms or of the factors."
            )


def _looks(hypothesis: Hypothesis, seeds: int) -> tuple[int, ...]:
    stopping = hypothesis.stopping
    if stopping is None:
        return (seeds,)
    if stopping.looks is None:
        quarters = sorted({max(LEAST_SEEDS, round(seeds * part / 4)) for part in (1, 2, 3, 4)})
        return (*(look for look in quarters if look < seeds), seeds)
    return (*(look for look in stopping.looks if look < seeds), seeds)


def _fractions(hypothesis: Hypothesis, generator: np.random.Generator) -> Any:
    count, dimensions = hypothesis.points or 0, len(hypothesis.factors)
    if hypothesis.layout == "random":
        return generator.random((count, dimensions))
    from scipy.stats import qmc

    return qmc.LatinHypercube(dimensions, rng=generator).random(count)


def _listed(factor: Sequence[Setting] | Range) -> Sequence[Setting]:
    assert not isinstance(factor, Range)  # refused where the hypothesis is made
    return factor


def _level(factor: Sequence[Setting] | Range, fraction: float) -> Setting:
    if isinstance(factor, Range):
        return factor.at(fraction)
    return factor[min(int(fraction * len(factor)), len(factor) - 1)]
