"""A search as it runs: ask, run the trials, store them, tell, until enough has been tried.

Every choice and every end of one is a record beside the trials, in the order in which it happened.
So a search that was killed goes on: what ended is told again, and only what is missing is run.
"""

from __future__ import annotations

import math
import re
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from neural_architecture_lab.choosing import check_described, choose_runner
from neural_architecture_lab.configuration import LabConfig, usable_device
from neural_architecture_lab.errors import SearchError, StoreError
from neural_architecture_lab.levels import Setting
from neural_architecture_lab.outcomes import mean_of
from neural_architecture_lab.progress import OnResult
from neural_architecture_lab.recipes import folders_of, recipe_of
from neural_architecture_lab.run_settings import keep_run_settings
from neural_architecture_lab.runners.protocol import Job, Result, Runner, headline
from neural_architecture_lab.searching.asking import Asked, Asker, Told
from neural_architecture_lab.searching.probing import check_space, probes_of
from neural_architecture_lab.searching.reading import searched
from neural_architecture_lab.searching.result import SearchResult
from neural_architecture_lab.searching.search import MAY_CHANGE, Search
from neural_architecture_lab.store import Store, deviations
from neural_architecture_lab.trials import Design, Trial, hash_of
from structure_net.logging import Sink

ARM = "setting"
_Status: TypeAlias = Literal["asked", "reported", "complete", "pruned", "failed"]


@dataclass(frozen=True, slots=True)
class _Step:
    """What is run of a setting before the pruner looks: an arm, its seeds, what it sets besides."""

    number: int
    arm: str
    seeds: range
    settings: Mapping[str, Setting]


@dataclass(slots=True)
class _Open:
    """A setting that has not ended."""

    asked: Asked
    step: int = 0
    values: dict[str, tuple[float, ...]] = field(default_factory=dict)  # by trial
    error: str = ""  # of the last that failed


def run_search(
    search: Search,
    config: LabConfig,
    *,
    sinks: Sequence[Sink] = (),
    on_result: OnResult | None = None,
) -> SearchResult:
    """Searches, or goes on with a search of that name in the same folder.

    Args:
        search: What for.
        config: How; where results go.
        sinks: Who else is told of every record.
        on_result: Is told of each result, how many settings ended, and how many are planned.

    Returns:
        What came of it.

    Raises:
        ImportError: The extra ``optuna`` is not installed.
        LabError: A level of the space cannot be run, or nothing of it can on the runner that was
            asked for. Nothing is written then.
        SearchError: An objective is no metric of the experiment, or the space cannot be asked.
        StoreError: The folder cannot be written, or holds another search of that name.
    """
    device = usable_device(config.device)
    asker = Asker(search)
    chosen, probes = choose_runner(config, _outline(search)), probes_of(search)
    check_described(config, search.experiment, probes)
    check_space(search, probes, device=device, elsewhere=chosen.runner.elsewhere)
    with Store(config.folder, sinks) as store:
        _begin(store, search)
        keep_run_settings(
            config, folders_of([recipe_of(search.experiment), recipe_of(search.space)])
        )
        with closing(chosen.runner) as runner:
            workers = getattr(runner, "workers", None) or config.max_parallel_experiments
            carrying = _Carrying(search, store, asker, device, 2 * workers + 1)
            carrying.go_on()
            carrying.run(runner, on_result or (lambda result, ended, of: None))
        store.flush()
        found = searched(store, search.id)
        return SearchResult(search, found, chosen.runner.name, chosen.why)


def _begin(store: Store, search: Search) -> None:
    from structure_net.logging import records

    statement = search.statement
    before = store.searches().get(search.id)
    changed: tuple[str, ...] = ()
    if before is not None:
        changed = deviations(before.statement, statement)
        wrong = [line for line in changed if re.split(r"[ .]", line)[0] not in MAY_CHANGE]
        if wrong:
            raise StoreError(
                f"{store.folder} holds another search named {search.name!r} ({wrong[0]}), whose"
                " numbers would not compare; give this one another name or another folder."
            )
        if not changed and before.tries == search.tries:
            return
        changed = (*before.changed, *changed)
    store.begin(
        records.Search(
            search=search.id,
            name=search.name,
            question=search.question,
            objectives=dict(search.objectives),
            tries=search.tries,
            seeds=tuple(range(search.seeds)),
            statement=statement,
            digest=hash_of(statement),
            changed=changed,
        )
    )


def _steps(search: Search) -> tuple[_Step, ...]:
    seeds = range(search.seeds)
    if search.rungs is not None:
        name = search.rungs.setting
        return tuple(
            _Step(level, f"{name}={level}", seeds, {name: level}) for level in search.rungs.levels
        )
    if search.pruner is None:
        return (_Step(0, ARM, seeds, {}),)
    return tuple(_Step(seed, ARM, range(seed, seed + 1), {}) for seed in seeds)


def _outline(search: Search) -> Design:
    """How much there is to run, for whoever chooses a runner."""
    trials = tuple(
        Trial(search.id, ARM, seed, search.settings, number)
        for number in range(search.tries)
        for seed in range(search.seeds)
    )
    why = "as the search says"
    return Design(trials, search.seeds, (search.seeds,), why, search.statement)


class _Carrying:
    def __init__(self, search: Search, store: Store, asker: Asker, device: str, room: int) -> None:
        self._search, self._store, self._asker, self._device = search, store, asker, device
        self._room = room  # what runners collect beyond it, the sampler would choose unseen
        self._steps = _steps(search)
        self._open: dict[int, _Open] = {}
        self._queue: deque[Trial] = deque()
        self._asked = self._ended = 0

    def go_on(self) -> None:
        """Takes up what is stored: settings that ended, and trials of those that did not."""
        events = list(self._store.settings(self._search.id))
        if not events:
            return
        self._asker.retell(events)
        for event in events:
            if event.status == "asked":
                self._asked += 1
                asked = Asked(event.number, event.params, event.settings)
                self._open[event.number] = _Open(asked)
            elif event.status == "reported":
                self._open[event.number].step += 1
            else:
                self._ended += 1
                del self._open[event.number]
        stored = {trial.trial: trial for trial in self._store.trials(self._search.id)}
        for setting in list(self._open.values()):
            ended = [t for t in stored.values() if t.point == setting.asked.number]
            values = {t.trial: self._values(t.status, t.metrics, t.trial) for t in ended}
            setting.values.update(values)
            for one in ended:
                if one.status != "finished":
                    setting.error = _in_a_line(one.trial, one.error or one.status)
            self._enter(setting)

    def run(self, runner: Runner, tell: OnResult) -> None:
        """Runs until all is tried that is to be tried."""
        while self._queue or self._more():
            for result in runner.run(self._jobs()):
                kept = self._store.append(result, runner.name)
                self._take(kept)
                tell(kept, self._ended, self._search.tries)

    def _more(self) -> bool:
        return self._asked < self._search.tries and not self._asker.exhausted

    def _jobs(self) -> Iterator[Job]:
        """Jobs as runners take them: nothing is asked before there is room for it."""
        while True:
            if not self._queue and self._more() and len(self._open) < self._room:
                self._ask()
            if not self._queue:
                return
            yield Job(self._queue.popleft(), self._search.experiment, self._device)

    def _ask(self) -> None:
        asked = self._asker.ask()
        self._asked += 1
        self._open[asked.number] = setting = _Open(asked)
        self._note(asked.number, "asked", params=dict(asked.params), settings=dict(asked.settings))
        self._enter(setting)

    def _take(self, result: Result) -> None:
        trial = result.trial
        setting = self._open.get(trial.point)
        if setting is None:  # it failed already, by another seed
            return
        metrics = result.outcome.metrics if result.outcome is not None else {}
        setting.values[trial.id] = self._values(result.status, metrics, trial.id)
        if result.status != "finished":
            setting.error = _in_a_line(trial.id, result.error or result.status)
        self._look(setting)

    def _values(self, status: str, metrics: Mapping[str, float], trial: str) -> tuple[float, ...]:
        """The objectives of a trial; none of one that failed."""
        if status != "finished":
            return ()
        absent = [name for name in self._search.objectives if name not in metrics]
        if absent:
            raise SearchError(
                f"The search {self._search.name!r} has the objective {absent[0]!r}, but {trial}"
                f" returned {', '.join(metrics)} only. Name one of these."
            )
        return tuple(metrics[name] for name in self._search.objectives)

    def _enter(self, setting: _Open) -> None:
        """Queues what a step lacks."""
        trials = self._trials(setting, setting.step)
        self._queue.extend(trial for trial in trials if trial.id not in setting.values)
        self._look(setting)

    def _look(self, setting: _Open) -> None:
        """Ends a step whose trials are all there, and a setting of which one failed."""
        trials = self._trials(setting, setting.step)
        if any(setting.values.get(trial.id) == () for trial in trials):
            self._end(setting, "failed", reason=setting.error)
        elif all(trial.id in setting.values for trial in trials):
            self._judge(setting)

    def _judge(self, setting: _Open) -> None:
        means, number = self._means(setting), setting.asked.number
        last = setting.step + 1 == len(self._steps)
        at: int | None = None
        pruned = False
        if self._search.pruner is not None:
            at = self._steps[setting.step].number
            pruned = self._asker.report(number, at, means[0])
        if last and any(map(math.isnan, means)):
            self._end(setting, "failed", means, at, "an objective is not a number")
        elif last:
            self._end(setting, "complete", means, at)
        elif pruned:
            self._end(setting, "pruned", means, at, f"by {type(self._search.pruner).__name__}")
        else:
            self._note(number, "reported", step=at, values=means)
            setting.step += 1
            self._enter(setting)

    def _end(
        self,
        setting: _Open,
        state: Told,
        values: tuple[float, ...] = (),
        step: int | None = None,
        reason: str = "",
    ) -> None:
        number = setting.asked.number
        self._asker.tell(number, state, values)
        self._note(number, state, step=step, values=values, reason=reason)
        self._ended += 1
        del self._open[number]
        self._queue = deque(trial for trial in self._queue if trial.point != number)

    def _means(self, setting: _Open) -> tuple[float, ...]:
        """Over the seeds so far; on rungs, over those of this one."""
        first = 0 if self._search.rungs is None else setting.step
        steps = range(first, setting.step + 1)
        trials = [trial for step in steps for trial in self._trials(setting, step)]
        columns = zip(*(setting.values[trial.id] for trial in trials), strict=True)
        return tuple(map(mean_of, columns))

    def _trials(self, setting: _Open, place: int) -> list[Trial]:
        step, asked = self._steps[place], setting.asked
        settings = {**asked.settings, **step.settings}
        return [
            Trial(self._search.id, step.arm, seed, settings, asked.number, asked.params)
            for seed in step.seeds
        ]

    def _note(self, number: int, status: _Status, **more: Any) -> None:
        from structure_net.logging import records

        self._store.note(
            records.Setting(search=self._search.id, number=number, status=status, **more)
        )


def _in_a_line(trial: str, error: str) -> str:
    return f"{trial}: {headline(error) or 'it failed'}"
