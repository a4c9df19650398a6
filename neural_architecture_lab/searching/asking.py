"""Optuna's side of a search: a study in memory, that is asked for settings and told what came out.

The store is the truth, the study a copy of it. A search that goes on asks the same again and tells
the same again, in the order in which it happened; then sampler and pruner stand where they stood,
and what they choose next is what they would have chosen. Where they choose otherwise (a sampler
without a seed, another one, another version), the study is made of what is stored instead.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from neural_architecture_lab.errors import SearchError
from neural_architecture_lab.levels import Range, Setting, plain
from neural_architecture_lab.searching.search import Search
from structure_net._optional import missing

if TYPE_CHECKING:
    from structure_net.logging.records import Setting as Event

Told: TypeAlias = Literal["complete", "pruned", "failed"]
_ENDS: Mapping[str, Told] = {"complete": "complete", "pruned": "pruned", "failed": "failed"}
_STATES: Mapping[Told, str] = {"complete": "COMPLETE", "pruned": "PRUNED", "failed": "FAIL"}


@dataclass(frozen=True, slots=True)
class Asked:
    """What a sampler chose.

    Args:
        number: Which setting, from 0.
        params: What was chosen, by name.
        settings: What the experiment is told.
    """

    number: int
    params: Mapping[str, Setting]
    settings: Mapping[str, Setting]


class Asker:
    """A study of Optuna's, for one search.

    Args:
        search: What is searched.

    Raises:
        ImportError: The extra ``optuna`` is not installed.
        SearchError: The sampler or the pruner is none of Optuna's.
    """

    def __init__(self, search: Search) -> None:
        try:
            self._optuna: Any = import_module("optuna")
        except ImportError as error:
            raise missing("optuna", "optuna", error) from error
        self._search = search
        self._open: dict[int, Any] = {}
        self.exhausted = False
        self._study = self._new_study()
        self._put_first(search.first)

    def ask(self) -> Asked:
        """What is to be tried next.

        Raises:
            SearchError: The space asks for something that cannot be.
        """
        trial = self._study.ask()
        chosen = suggested(self._search, trial)
        self._open[trial.number] = trial
        return Asked(trial.number, plain(trial.params, "params"), chosen)

    def report(self, number: int, step: int, value: float) -> bool:
        """Says how a setting does so far; whether the pruner would end it."""
        trial = self._open[number]
        trial.report(value, step)
        return bool(trial.should_prune())

    def tell(self, number: int, state: Told, values: Sequence[float] = ()) -> None:
        """Says what came of a setting."""
        told = getattr(self._optuna.trial.TrialState, _STATES[state])
        given = list(values) if state == "complete" else None
        try:
            self._study.tell(self._open.pop(number), given, state=told)
        except RuntimeError as error:
            # How a sampler of a finite space says that it has nothing left.
            if "Study.stop" not in str(error):
                raise
            self.exhausted = True

    def retell(self, events: Sequence[Event]) -> bool:
        """Brings a fresh study to where the stored events lead.

        Returns:
            Whether sampler and pruner chose again what is stored, and so stand where they stood.
        """
        if self._repeat(events):
            return True
        asked = [event for event in events if event.status == "asked"]
        self._open.clear()
        self.exhausted = False
        self._study = self._new_study()
        self._rebuild(asked, events)
        self._put_first(self._search.first[len(asked) :])
        self._study.sampler.reseed_rng()  # or it begins with what it chose at first
        return False

    def _repeat(self, events: Iterable[Event]) -> bool:
        for event in events:
            if event.status != "asked":
                self._retell(event)
                continue
            again = self.ask()
            stored = (event.number, event.params, event.settings)
            if (again.number, again.params, again.settings) != stored:
                return False
        return True

    def _rebuild(self, asked: Sequence[Event], events: Sequence[Event]) -> None:
        for event in asked:
            self._study.enqueue_trial(dict(event.params))
            self._open[event.number] = trial = self._study.ask()
            suggested(self._search, trial)
            for other in events:
                if other.number == event.number and other.status != "asked":
                    self._retell(other)

    def _retell(self, event: Event) -> None:
        if event.step is not None:
            self.report(event.number, event.step, event.values[0])
        end = _ENDS.get(event.status)
        if end is not None:
            self.tell(event.number, end, event.values)

    def _put_first(self, first: Iterable[Mapping[str, Setting]]) -> None:
        for params in first:
            self._study.enqueue_trial(
                {name: _label(self._search.space, name, value) for name, value in params.items()}
            )

    def _new_study(self) -> Any:
        search, optuna = self._search, self._optuna
        ways = {"higher": "maximize", "lower": "minimize"}
        with _quietly(optuna):
            return optuna.create_study(
                sampler=self._sampler(),
                pruner=self._pruner(),
                study_name=search.id,  # Hyperband's brackets are drawn by it
                directions=[ways[way] for way in search.objectives.values()],
            )

    def _sampler(self) -> Any:
        samplers, given = self._optuna.samplers, self._search.sampler
        if given is None:
            several = len(self._search.objectives) > 1
            kind = samplers.NSGAIISampler if several else samplers.TPESampler
            return kind(seed=self._search.seed)
        if not isinstance(given, samplers.BaseSampler):
            raise SearchError(f"sampler must be one of Optuna's; got {given!r}.")
        return copy.deepcopy(given)  # each study begins with one that has chosen nothing

    def _pruner(self) -> Any:
        pruners, given = self._optuna.pruners, self._search.pruner
        if given is None:
            return pruners.NopPruner()
        if not isinstance(given, pruners.BasePruner):
            raise SearchError(f"pruner must be one of Optuna's; got {given!r}.")
        return copy.deepcopy(given)


def suggested(search: Search, trial: Any) -> Mapping[str, Setting]:
    """What a trial of Optuna's chooses, as the settings of a trial of the lab.

    Raises:
        SearchError: The space is a function, and what it returns are no settings.
    """
    space = search.space
    if callable(space):
        chosen: Any = space(trial)
        if not isinstance(chosen, Mapping):
            raise SearchError(
                f"space must return settings, a mapping from names to values; got {chosen!r:.80}."
            )
    else:
        chosen = {name: _chosen(trial, name, levels) for name, levels in space.items()}
    return plain({**search.settings, **chosen}, "settings")


def _chosen(trial: Any, name: str, levels: Sequence[Setting] | Range) -> Setting:
    if isinstance(levels, Range):
        if levels.whole:
            value: int = trial.suggest_int(
                name, round(levels.low), round(levels.high), log=levels.log
            )
            return value
        real: float = trial.suggest_float(name, levels.low, levels.high, log=levels.log)
        return real
    labels = [_label({name: levels}, name, level) for level in levels]
    found: Setting = levels[labels.index(trial.suggest_categorical(name, labels))]
    return found


def _label(space: Any, name: str, level: Setting) -> Any:
    """What Optuna calls a level: itself, or its JSON where some levels are lists or mappings."""
    levels = None if callable(space) else space[name]
    if levels is None or isinstance(levels, Range) or all(map(_simple, levels)):
        return level
    return json.dumps(level, sort_keys=True)


def _simple(level: Setting) -> bool:
    return level is None or isinstance(level, str | int | float)


@contextmanager
def _quietly(optuna: Any) -> Iterator[None]:
    """Without Optuna's line on every study that is made."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(max(before, optuna.logging.WARNING))
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)
