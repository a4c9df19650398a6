"""Experiments that describe their trials, so that any engine can train them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from neural_architecture_lab.errors import PlanError
from neural_architecture_lab.naming import meant
from neural_architecture_lab.outcomes import Outcome
from neural_architecture_lab.replicas.alone import train_alone
from neural_architecture_lab.replicas.plan import FIELDS, ReplicaPlan
from neural_architecture_lab.replicas.trained import Trained
from neural_architecture_lab.trials import FreshSeeds, Trial, code_of


@dataclass(frozen=True)
class ReplicaExperiment:
    """Trains the network that a plan describes.

    Under `ReplicaRunner` many are trained at once, compiled; under every other runner each by
    itself, in plain PyTorch, with the same numbers to rounding.

    Args:
        plan: What to train. A trial's settings replace the fields of the same name, and its seed
            the plan's. Or a function, at the top of a module, that makes the plan of a trial.

    Example:
        >>> experiment = ReplicaExperiment(ReplicaPlan((64, 32, 10), epochs=1))
        >>> trial = Trial("h", "sparse", seed=3, settings={"density": 0.1})
        >>> experiment.replica(trial).density
        0.1
    """

    plan: ReplicaPlan | Callable[[Trial], ReplicaPlan]

    @property
    def described(self) -> str:
        """The plan in words, or the function that makes plans: for the record of what was run."""
        if isinstance(self.plan, ReplicaPlan):
            return repr(self.plan)
        said = code_of(self.plan)
        held = f", made with {said['made_with']}" if "made_with" in said else ""
        return f"plans by {said['experiment']}, {said['source']}{held}"

    def replica(self, trial: Trial) -> ReplicaPlan:
        """The plan of a trial.

        Raises:
            PlanError: A setting is none of a plan, is its seed, or is out of range; or a function
                made no plan.
        """
        if not isinstance(self.plan, ReplicaPlan):
            return _checked(self.plan(trial), trial)
        if unknown := sorted(set(trial.settings) - set(FIELDS)):
            raise PlanError(
                f"The arm {trial.arm!r} has the setting {unknown[0]!r}, which a plan does not"
                f" know.{meant(unknown[0], FIELDS)} It knows {', '.join(FIELDS)}."
            )
        if "seed" in trial.settings:
            raise PlanError(
                f"The arm {trial.arm!r} sets the seed to {trial.settings['seed']!r}, which is that"
                " of the trial: another one each time, so that differences can be tested. Leave it"
                " out; pattern_seed and order_seed may be fixed."
            )
        settings: dict[str, Any] = {"seed": trial.seed, **trial.settings}
        return replace(self.plan, **settings)

    def __call__(self, trial: Trial, *, device: str) -> Outcome:
        """Trains the replica of a trial by itself, in plain PyTorch."""
        return train_alone(self.replica(trial), device).outcome()


def plan_of(experiment: Any, trial: Trial, device: str = "cpu") -> ReplicaPlan | None:
    """The plan of a trial; None where the experiment, or this trial of it, has none.

    An experiment whose replicas come to the same numbers on some devices only names these, in an
    attribute ``replicas_on``.

    Raises:
        PlanError: What describes the trial is no plan.
    """
    if isinstance(experiment, FreshSeeds):
        return plan_of(experiment.experiment, experiment.moved(trial), device)
    places = getattr(experiment, "replicas_on", None)
    if places is not None and device.partition(":")[0] not in places:
        return None
    describe = getattr(experiment, "replica", None)
    plan = None if describe is None else describe(trial)
    return None if plan is None else _checked(plan, trial)


def _checked(plan: object, trial: Trial) -> ReplicaPlan:
    if not isinstance(plan, ReplicaPlan):
        raise PlanError(f"The trial {trial.id!r} must be described by a ReplicaPlan; got {plan!r}.")
    return plan


def brought_back(experiment: Any, trial: Trial, trained: Trained) -> Outcome:
    """What a trained replica counts as: what the experiment's method ``brought`` says, if any."""
    if isinstance(experiment, FreshSeeds):
        return brought_back(experiment.experiment, experiment.moved(trial), trained)
    say = getattr(experiment, "brought", None)
    outcome: Outcome = trained.outcome() if say is None else say(trial, trained)
    return outcome
