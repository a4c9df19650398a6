"""Whether trials can be run as they are told, asked before the first of them is.

An arm that cannot be run would fail trial by trial, and its hypothesis end with nothing tested. So
one trial of each arm at each point is looked at beforehand; nothing is trained. An experiment says
what it takes by any of these, all of them optional:

- `replica(trial)`, the plan of the trial: it is made, and held against its data;
- `known_settings`, the names of all settings that it reads;
- `check(trial)`, which raises where the trial cannot be run.
"""

from __future__ import annotations

from collections.abc import Iterable
from copy import deepcopy
from typing import Any

from neural_architecture_lab.errors import HypothesisError, LabError
from neural_architecture_lab.naming import meant
from neural_architecture_lab.replicas.experiment import plan_of
from neural_architecture_lab.replicas.material import check_fit
from neural_architecture_lab.runners.protocol import headline, told_of
from neural_architecture_lab.trials import FreshSeeds, Trial
from structure_net.errors import DatasetError


def check_trials(
    name: str,
    experiment: Any,
    trials: Iterable[Trial],
    *,
    device: str = "cpu",
    elsewhere: bool = False,
) -> None:
    """Refuses trials that cannot be run: one of each arm and point, the first that is given.

    Args:
        name: What the trials are of, for the error.
        experiment: What runs them.
        trials: Any number.
        device: Where they run, as torch writes it.
        elsewhere: Whether they run where other files may lie; data that are absent here are no
            reason then.

    Raises:
        HypothesisError: One cannot be run; says which, and why.
    """
    firsts: dict[tuple[str, int], Trial] = {}
    for trial in trials:
        firsts.setdefault((trial.arm, trial.point), trial)
    for trial in firsts.values():
        try:
            check_trial(experiment, deepcopy(trial), device)
        except DatasetError as reason:
            if not elsewhere:
                raise _refusal(name, trial, reason) from reason
        except (Exception, SystemExit) as reason:  # whatever the user's own plan raises
            raise _refusal(name, trial, reason) from reason


def check_trial(experiment: Any, trial: Trial, device: str = "cpu") -> None:
    """Raises what would keep a trial from being run, as far as its experiment says; trains nothing.

    Raises:
        LabError: Its settings are unknown or cannot be meant.
        DatasetError: There is no such data set.
    """
    if isinstance(experiment, FreshSeeds):
        check_trial(experiment.experiment, experiment.moved(trial), device)
        return
    known = getattr(experiment, "known_settings", None)
    if known is not None and (unknown := sorted(set(trial.settings) - set(known))):
        raise HypothesisError(
            f"The arm {trial.arm!r} has the setting {unknown[0]!r}, which the experiment does not"
            f" know.{meant(unknown[0], known)} It knows {', '.join(known)}."
        )
    plan = plan_of(experiment, trial, device)
    if plan is not None:
        check_fit(plan)
    check = getattr(experiment, "check", None)
    if check is not None:
        check(trial)


def _refusal(name: str, trial: Trial, reason: BaseException) -> HypothesisError:
    known = isinstance(reason, LabError | DatasetError)
    said = str(reason) if known else headline(told_of(reason))
    where = f"The arm {trial.arm!r}"
    if trial.factors:
        where += f" at {', '.join(f'{key}={value!r}' for key, value in trial.factors.items())}"
    said = said if said.startswith(f"The arm {trial.arm!r}") else f"{where} cannot be run: {said}"
    return HypothesisError(
        f"{name!r} cannot be tested. {said.rstrip('.')}. Mend the settings; nothing was run or"
        " written."
    )
