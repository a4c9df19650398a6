"""What is searched for, said beforehand: an experiment, a space of settings, what is better.

    Search(name, experiment, space, objectives) -> Optuna asks -> trials of the lab -> it is told

Optuna chooses the settings; the lab runs them, on any of its runners, and keeps them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from neural_architecture_lab.errors import SearchError
from neural_architecture_lab.hypothesis import Experiment
from neural_architecture_lab.levels import Range, Setting, checked_levels, plain
from neural_architecture_lab.naming import check_experiment, check_name, id_of
from neural_architecture_lab.recipes import recipe_of
from neural_architecture_lab.trials import code_of

if TYPE_CHECKING:
    import optuna

Better: TypeAlias = Literal["higher", "lower"]
Suggest: TypeAlias = "Callable[[optuna.trial.BaseTrial], Mapping[str, Any]]"
Space: TypeAlias = "Mapping[str, Sequence[Setting] | Range] | Suggest"


@dataclass(frozen=True, slots=True)
class Rungs:
    """A setting that says how much a trial costs, and the levels at which one looks.

    Every setting of the search is tried at the first level; those that the pruner leaves go on to
    the next, where their trials begin anew.

    Args:
        setting: Its name, such as ``"epochs"``.
        levels: Ascending, two or more.

    Raises:
        SearchError: The levels are fewer, not whole, or do not ascend from 0 on.
    """

    setting: str
    levels: Sequence[int]

    def __post_init__(self) -> None:
        levels = tuple(self.levels)
        whole = all(isinstance(one, int) and not isinstance(one, bool) for one in levels)
        if not whole or len(levels) < 2 or list(levels) != sorted(set(levels)) or levels[0] < 0:
            raise SearchError(
                "The levels of rungs must be two whole numbers or more, ascending from 0 on; got"
                f" {list(levels)}."
            )
        object.__setattr__(self, "levels", levels)


@dataclass(frozen=True)
class Search:
    """A search for settings that do well.

    Args:
        name: A short name; the `id` is made of it.
        experiment: What runs a trial: a function at the top of a module, as of a hypothesis.
        space: What may be chosen: levels or a `Range` by name of the setting; or a function that
            asks an Optuna trial, ``suggest(trial) -> settings``.
        objectives: Which metrics count, and which direction is better. With several of them the
            search looks for a Pareto front.
        settings: What every trial is told besides; plain data.
        tries: How many settings are tried.
        seeds: With how many seeds each is tried; the mean counts.
        seed: What the default sampler is seeded with.
        first: What is tried first: parameters by name, as the space names them.
        sampler: One of Optuna's; by default TPE, and NSGA-II for several objectives.
        pruner: One of Optuna's; none by default. It looks after each seed, or at each rung.
        rungs: A setting that makes trials dearer step by step.
        question: What is asked, in words, for the report.

    Raises:
        SearchError: An argument cannot be meant as it is given.
    """

    name: str
    experiment: Experiment
    space: Space
    objectives: Mapping[str, Better]
    settings: Mapping[str, Setting] = field(default_factory=dict)
    tries: int = 20
    seeds: int = 1
    seed: int = 0
    first: Sequence[Mapping[str, Any]] = ()
    sampler: optuna.samplers.BaseSampler | None = None
    pruner: optuna.pruners.BasePruner | None = None
    rungs: Rungs | None = None
    question: str = ""

    def __post_init__(self) -> None:
        check_name("A search's name", self.name)
        check_experiment(self.experiment)
        settle = object.__setattr__
        settle(self, "space", _checked_space(self.space))
        settle(self, "objectives", _checked_objectives(self.objectives))
        settle(self, "settings", plain(self.settings, "settings"))
        settle(self, "first", tuple(plain(one, "first") for one in self.first))
        for name in ("tries", "seeds"):
            count = getattr(self, name)
            if isinstance(count, bool) or not isinstance(count, int) or count < 1:
                raise SearchError(f"{name} must be a whole number from 1 on; got {count!r}.")
        _check_first(self)
        _check_pruning(self)

    @property
    def id(self) -> str:
        """The name in lower case, with underscores: how the lab knows the search."""
        return id_of("A search's name", self.name)

    @property
    def statement(self) -> dict[str, Any]:
        """What is searched and how, as plain data: what is hashed."""
        return {
            "id": self.id,
            "question": self.question,
            "objectives": dict(self.objectives),
            "space": _described(self.space),
            "settings": dict(self.settings),
            "seeds": self.seeds,
            "seed": self.seed,
            "first": [dict(one) for one in self.first],
            "sampler": _class_of(self.sampler),
            "pruner": _class_of(self.pruner),
            "rungs": None
            if self.rungs is None
            else {"setting": self.rungs.setting, "levels": list(self.rungs.levels)},
            "code": code_of(self.experiment),
            "recipe": recipe_of(self.experiment),
            "suggest_recipe": recipe_of(self.space) if callable(self.space) else None,
        }


MAY_CHANGE = frozenset(
    {"question", "seed", "sampler", "pruner", "code", "recipe", "suggest_recipe"}
)
"""What of the statement may differ when a search goes on: the numbers still mean the same."""


def _checked_space(space: Any) -> Space:
    if callable(space):
        found: Suggest = space
        return found
    if not isinstance(space, Mapping) or not space:
        raise SearchError(
            "space must name what may be chosen, each with its levels or a Range, or be a function"
            f" suggest(trial) -> settings; got {space!r}."
        )
    return {
        str(name): levels if isinstance(levels, Range) else checked_levels(name, levels)
        for name, levels in space.items()
    }


def _checked_objectives(objectives: Any) -> dict[str, Better]:
    fine = isinstance(objectives, Mapping) and objectives
    if not fine or not all(way in ("higher", "lower") for way in objectives.values()):
        raise SearchError(
            "objectives must say for each metric that counts which direction is better, such as"
            f" {{'accuracy': 'higher'}}; got {objectives!r}."
        )
    return dict(objectives)


def _check_first(search: Search) -> None:
    if callable(search.space):
        return  # only a trial of Optuna's can say what it asks for
    for params in search.first:
        for name, value in params.items():
            levels = search.space.get(name)
            if levels is None or not _among(value, levels):
                raise SearchError(
                    f"first names {name}={value!r}, which is not in the space of {search.name!r}."
                )


def _among(value: Any, levels: Sequence[Setting] | Range) -> bool:
    if isinstance(levels, Range):
        return isinstance(value, int | float) and levels.low <= value <= levels.high
    return value in levels


def _check_pruning(search: Search) -> None:
    if search.pruner is None:
        if search.rungs is not None:
            raise SearchError("rungs are where a pruner looks: give pruner= as well.")
        return
    if len(search.objectives) > 1:
        raise SearchError(
            "Optuna prunes by one objective only; leave pruner= out, or all objectives but one."
        )
    if search.rungs is None and search.seeds == 1:
        raise SearchError(
            "A pruner looks after each seed, or at each rung, and here is one seed only: give"
            " seeds= from 2 on, or rungs=Rungs('epochs', (2, 4, 8))."
        )


def _described(space: Any) -> Any:
    if callable(space):
        said = code_of(space)
        name = getattr(space, "__qualname__", type(space).__qualname__)
        held = {"made_with": said["made_with"]} if "made_with" in said else {}
        return {"suggest": name, "source": said["source"], **held}
    return {name: _described_levels(levels) for name, levels in space.items()}


def _described_levels(levels: Sequence[Setting] | Range) -> Any:
    if isinstance(levels, Range):
        return {"low": levels.low, "high": levels.high, "log": levels.log, "whole": levels.whole}
    return list(levels)


def _class_of(part: object) -> str:
    return "" if part is None else f"{type(part).__module__}.{type(part).__qualname__}"
