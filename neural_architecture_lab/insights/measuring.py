"""Experiments made of others: what a change does, and how far apart seeds come out.

A prediction compares the means of two arms. These let it be about more than a metric: each trial
runs the inner experiment several times and returns what the runs show together.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from statistics import fmean, median

from neural_architecture_lab.checking import check_trial
from neural_architecture_lab.hypothesis import Experiment
from neural_architecture_lab.levels import Setting
from neural_architecture_lab.outcomes import Outcome, outcome_of
from neural_architecture_lab.trials import FreshSeeds, Trial


@dataclass(frozen=True, slots=True)
class _Repeated:
    """An experiment that runs another one several times in each trial."""

    experiment: Experiment

    @property
    def __wrapped__(self) -> Experiment:
        """What really runs: its source is what is hashed."""
        return self.experiment

    @property
    def first_seed(self) -> int:
        """Where the inner experiment's seeds begin."""
        return int(getattr(self.experiment, "first_seed", 0))


@dataclass(frozen=True, slots=True)
class EffectOf(_Repeated):
    """What going from some settings to others does to each metric, at one seed.

    Args:
        experiment: Runs the trial, twice.
        first: Settings under those of the trial in the first run.
        second: The same in the second one.
    """

    first: Mapping[str, Setting]
    second: Mapping[str, Setting]

    @property
    def measured(self) -> str:
        """What stands in the frozen statement."""
        return f"effect of going from {dict(self.first)} to {dict(self.second)}"

    def __call__(self, trial: Trial, *, device: str) -> Outcome:
        """``effect on METRIC`` for each metric that both runs have: the second minus the first."""
        runs = [
            outcome_of(self.experiment(one, device=device)).metrics for one in self._both(trial)
        ]
        return Outcome(
            {
                f"effect on {name}": runs[1][name] - runs[0][name]
                for name in runs[0].keys() & runs[1]
            }
        )

    def check(self, trial: Trial) -> None:
        """Refuses a trial of which either run cannot be; see `check_trial`."""
        for one in self._both(trial):
            check_trial(self.experiment, one)

    def _both(self, trial: Trial) -> list[Trial]:
        sides = (self.first, self.second)
        return [replace(trial, settings={**side, **trial.settings}) for side in sides]


@dataclass(frozen=True, slots=True)
class SpreadOf(_Repeated):
    """How far apart several seeds come out in each metric.

    Args:
        experiment: Runs the trial, ``runs`` times.
        runs: How many; the trial's seed decides which, and no two trials share one.
    """

    runs: int = 5

    @property
    def measured(self) -> str:
        """What stands in the frozen statement."""
        return f"spread of {self.runs} runs"

    def __call__(self, trial: Trial, *, device: str) -> Outcome:
        """``spread of METRIC`` for each metric: the mean distance of the runs from their median."""
        seeds = range(trial.seed * self.runs, (trial.seed + 1) * self.runs)
        found = [
            outcome_of(self.experiment(replace(trial, seed=seed), device=device)).metrics
            for seed in seeds
        ]
        shared = set.intersection(*(set(metrics) for metrics in found))
        return Outcome(
            {f"spread of {name}": _spread([one[name] for one in found]) for name in sorted(shared)}
        )

    def check(self, trial: Trial) -> None:
        """Refuses a trial whose first run cannot be; see `check_trial`."""
        check_trial(self.experiment, replace(trial, seed=trial.seed * self.runs))


def fresh(experiment: Experiment, apart: int) -> Experiment:
    """An experiment whose seeds lie ``apart`` beyond those it had."""
    if isinstance(experiment, EffectOf | SpreadOf):
        return replace(experiment, experiment=fresh(experiment.experiment, apart))
    if isinstance(experiment, FreshSeeds):
        return FreshSeeds(experiment.experiment, experiment.first_seed + apart)
    return FreshSeeds(experiment, apart)


def _spread(values: list[float]) -> float:
    middle = median(values)
    return fmean(abs(value - middle) for value in values)
