"""Whether what a search may choose can be run at all, asked before anything is chosen.

A single setting that fails is found out by the search itself, as it goes on. A level that nothing
can be run with is a mistake in the space, and would waste a part of all that is tried.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import product
from typing import Any, Final

import numpy as np

from neural_architecture_lab.checking import check_trial, check_trials
from neural_architecture_lab.levels import Range, Setting
from neural_architecture_lab.searching.asking import Asker
from neural_architecture_lab.searching.search import Search
from neural_architecture_lab.trials import Trial

MOST: Final = 64
"""So many settings are looked at; of a space that has no more all of them."""
_ASKED: Final = 8  # of a space that is a function


def probes_of(search: Search) -> tuple[Trial, ...]:
    """Trials of settings from all over the space, every level and both ends of a range among them.

    Raises:
        ImportError: The space is a function of Optuna's trials, and Optuna is not installed.
    """
    if callable(search.space):
        from optuna.samplers import RandomSampler

        asker = Asker(replace(search, sampler=RandomSampler(seed=search.seed)))
        chosen = [dict(asker.ask().settings) for _ in range(_ASKED)]
    else:
        chosen = _spread({name: _levels(levels) for name, levels in search.space.items()})
    if search.rungs is not None:
        chosen = [{**one, search.rungs.setting: search.rungs.levels[0]} for one in chosen]
    return tuple(
        Trial(search.id, "setting", 0, {**search.settings, **one}, place, one)
        for place, one in enumerate(chosen)
    )


def check_space(
    search: Search, probes: Sequence[Trial], *, device: str = "cpu", elsewhere: bool = False
) -> None:
    """Refuses a space of which a level cannot be run with anything else.

    Args:
        search: Whose space it is.
        probes: What `probes_of` returned.
        device: Where trials run, as torch writes it.
        elsewhere: Whether they run where other files may lie.

    Raises:
        HypothesisError: A level, or whatever is chosen, cannot be run; says why.
    """
    failing = [one for one in probes if not _runs(search.experiment, one, device)]
    if not failing:
        return
    wanted: Mapping[str, Any] = {} if callable(search.space) else search.space
    good = [one.factors for one in probes if one not in failing]
    for one in failing:
        alone = [name for name in wanted if all(one.factors[name] != f[name] for f in good)]
        if alone or not good:
            levels = {name: one.factors[name] for name in alone[:1]} if good else one.factors
            told = Trial(one.hypothesis, one.arm, 0, one.settings, one.point, levels)
            check_trials(search.name, search.experiment, [told], device=device, elsewhere=elsewhere)


def _runs(experiment: Any, trial: Trial, device: str) -> bool:
    try:
        check_trial(experiment, trial, device)
    except (Exception, SystemExit):  # noqa: BLE001 - whatever the user's own plan raises
        return False
    return True


def _levels(levels: Sequence[Setting] | Range) -> Sequence[Setting]:
    return (levels.at(0.0), levels.at(1.0)) if isinstance(levels, Range) else levels


def _spread(levels: Mapping[str, Sequence[Setting]]) -> list[dict[str, Setting]]:
    """All combinations of levels; where they are too many, some that have every level in them."""
    count = int(np.prod([float(len(some)) for some in levels.values()]).clip(max=MOST + 1))
    if count <= MOST:
        return [dict(zip(levels, one, strict=True)) for one in product(*levels.values())]
    generator = np.random.default_rng(0)
    rounds = max(MOST, *map(len, levels.values()))
    columns = {
        name: [some[place % len(some)] for place in generator.permutation(rounds)]
        for name, some in levels.items()
    }
    return [{name: column[at] for name, column in columns.items()} for at in range(rounds)]
