"""The experiment behind most hypotheses: a network trains, and grows where its arm says so.

An arm is plain data: an architecture, a density, strategies with their triggers as
`structure_net.evolution.serialising.part_to_dict` writes them. So whatever an arm does stands in
the frozen statement and in every trial's record.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from neural_architecture_lab.errors import HypothesisError
from neural_architecture_lab.experiments.describing import (
    check_decay,
    outcome_of_replica,
    plan_of_settings,
)
from neural_architecture_lab.experiments.widths import widths_of
from neural_architecture_lab.levels import Setting
from neural_architecture_lab.naming import meant
from neural_architecture_lab.outcomes import Outcome
from neural_architecture_lab.replicas import ReplicaPlan, Trained
from neural_architecture_lab.replicas.material import dataset_of
from neural_architecture_lab.trials import Trial

if TYPE_CHECKING:
    from structure_net.data import Dataset
    from structure_net.evolution import NetworkContext
    from structure_net.evolution.adaptive_learning_rates import UnifiedAdaptiveLearning
    from structure_net.evolution.components import ComposableEvolutionSystem

DEFAULTS: Final[Mapping[str, Setting]] = {
    "dataset": "digits",
    "data_dir": None,
    "hidden": [64, 32],
    "shortcuts": [],
    "density": 1.0,
    "allocation": "erdos_renyi_kernel",
    "activation": "relu",
    "iterations": 6,
    "epochs": 2,
    "batch_size": 64,
    "learning_rate": 0.005,
    "optimizer": "adam",
    "weight_decay": None,
    "schedule": "constant",
    "rates": [],
    "analyzers": [],
    "strategies": [],
}
"""What an arm leaves open. ``hidden``: the widths of the hidden layers at birth, or a mapping that
asks for as many parameters as others have (`widths.widths_of`); ``shortcuts``: pairs of layers,
counted from 0, between which there are projections at birth, which begin at zero; ``density``: the
fraction of connections at birth, spread over the layers by ``allocation``; ``iterations`` of
looking, growing and training for ``epochs`` each; ``weight_decay``: AdamW's, whose own default
stays where it is None; ``rates``: rules of `structure_net.evolution.adaptive_learning_rates` as
mappings, the class under ``kind``, then its arguments; ``analyzers``: parts as plain data;
``strategies``: mappings with ``strategy``, and ``when`` and ``whether`` where they are wanted."""

CURVES: Final = ("train_loss", "validation_loss", "validation_accuracy")


class Evolving:
    """The experiment; `evolve` is the one there is.

    It describes the trials whose network keeps its shape and nobody looks at, so that they can be
    trained as replicas (`neural_architecture_lab.replicas`).

    Attributes:
        replicas_on: Where replicas come to the same numbers: not on CUDA, where trainers compute in
            mixed precision.
    """

    replicas_on: Final = ("cpu",)

    def __call__(self, trial: Trial, *, device: str) -> Outcome:
        """Trains the network of an arm, growing it as the arm says, and tests it.

        Weights and the order of batches follow from the trial's seed: arms of one architecture
        begin with the same weights and see the same batches. The split of the data is the same for
        all.

        Returns:
            ``accuracy`` (of a classification) and ``loss`` on the test split; ``parameters``,
            ``connections``, ``layers`` and ``flops`` (of one sample) at the end; ``edits``: how
            many were made; ``seconds``. Curves by epoch: losses, accuracy, ``parameters``,
            ``connections``. Events: each growth, at its epoch.

        Raises:
            HypothesisError: The arm has a setting that there is not.
        """
        settings = settings_of(trial)
        context = started(trial, settings, device)
        system = system_of(settings)
        begun = time.perf_counter()
        evolved = system.evolve_network(context, settings["iterations"])
        return outcome(evolved, settings, time.perf_counter() - begun)

    def replica(self, trial: Trial) -> ReplicaPlan | None:
        """The same training as a plan; None where the network changes or is looked at."""
        return plan_of_settings(settings_of(trial), trial.seed)

    def check(self, trial: Trial) -> None:
        """Refuses a trial whose network, data or system cannot be made; trains nothing.

        Raises:
            LabError: A setting is unknown, or cannot be meant.
            StructureNetError: Data, network or components cannot be made of the settings.
            ValueError: A value is out of range.
        """
        settings = settings_of(trial)
        if plan_of_settings(settings, trial.seed) is None:
            started(trial, settings, "cpu")
            system_of(settings)

    def brought(self, trial: Trial, trained: Trained) -> Outcome:
        """A replica's metrics and curves, those of `__call__`.

        Raises:
            TrainingDivergedError: A loss is not finite.
        """
        return outcome_of_replica(trained)


evolve: Final = Evolving()


def settings_of(trial: Trial, defaults: Mapping[str, Setting] = DEFAULTS) -> dict[str, Any]:
    """The trial's settings over the defaults, which are all that there are.

    Raises:
        HypothesisError: One of them is not known.
    """
    if unknown := sorted(set(trial.settings) - set(defaults)):
        raise HypothesisError(
            f"The arm {trial.arm!r} has the setting {unknown[0]!r}, which this experiment does not"
            f" know.{meant(unknown[0], defaults)} It knows {', '.join(defaults)}."
        )
    return {**defaults, **trial.settings}


def started(trial: Trial, settings: Mapping[str, Any], device: str) -> NetworkContext:
    """The arm's network at birth, with its data."""
    from structure_net import create_standard_network
    from structure_net.evolution import NetworkContext
    from structure_net.surgery import AddSkipConnection, apply

    data = dataset_of(settings["dataset"], settings["data_dir"])
    inputs, outputs = data.input_shape[0], data.outputs
    widths = [inputs, *widths_of(settings, inputs, outputs), outputs]
    network = create_standard_network(
        widths,
        settings["density"],
        activation=settings["activation"],
        allocation=settings["allocation"],
        seed=trial.seed,
    )
    for source, target in settings["shortcuts"]:
        change = AddSkipConnection(f"layers.{source}", f"layers.{target}")
        apply(network, change, next(iter(data.train.batches(2)))[0], seed=trial.seed)
    size = settings["batch_size"]
    return NetworkContext(
        network.to(device),
        data.train.batches(size, shuffle=True, seed=trial.seed, device=device),
        device=device,
        loss=_loss(data),
        validation_loader=data.validation.batches(512, device=device),
        seed=trial.seed,
    )


def system_of(settings: Mapping[str, Any]) -> ComposableEvolutionSystem:
    """Analyzers, strategies and the trainer of an arm.

    Raises:
        HypothesisError: One of ``strategies`` is no mapping with a strategy.
    """
    from structure_net.evolution.components import (
        ComposableEvolutionSystem,
        StandardNetworkTrainer,
    )
    from structure_net.evolution.serialising import part_from_dict

    system = ComposableEvolutionSystem()
    for analyzer in settings["analyzers"]:
        system.add_component(part_from_dict(analyzer))
    for said in settings["strategies"]:
        if "strategy" not in said:
            raise HypothesisError(
                "Each of strategies must be a mapping with 'strategy', and 'when' and 'whether'"
                f" where they are wanted, as `growing` makes them; got {said!r:.80}."
            )
        when, whether = (
            part_from_dict(said[key]) if said.get(key) else None for key in ("when", "whether")
        )
        system.add_component(part_from_dict(said["strategy"]), when=when, whether=whether)
    return system.add_component(
        StandardNetworkTrainer(
            settings["epochs"],
            settings["learning_rate"],
            optimizer=_optimizer(settings),
            schedule=settings["schedule"],
            rates=_rates(settings["rates"]),
        )
    )


def outcome(evolved: NetworkContext, settings: Mapping[str, Any], seconds: float) -> Outcome:
    """What a trained network came to, on the test split."""
    from structure_net.core import count_flops, network_stats
    from structure_net.evolution.measuring import measured

    data = dataset_of(settings["dataset"], settings["data_dir"])
    batches = data.test.batches(512, device=str(evolved.device))
    score = measured(evolved.network, batches, evolved.loss)
    assert score is not None  # a data set has test samples
    stats = network_stats(evolved.network)
    example, _ = next(iter(data.test.batches(1)))
    flops = count_flops(evolved.network, example.to(evolved.device))
    metrics = {
        "loss": score.loss,
        "parameters": float(stats["total_parameters"]),
        "connections": float(stats["total_connections"]),
        "layers": float(len(stats["layers"])),
        "flops": float(flops.total),
        "edits": float(len(evolved.journal.edits)),
        "seconds": seconds,
    }
    if score.accuracy is not None:
        metrics["accuracy"] = score.accuracy
    return Outcome(metrics, _curves(evolved), _events(evolved))


def described(*parts: Any) -> list[Setting]:
    """Analyzers as the plain data of an arm."""
    from structure_net.evolution.serialising import part_to_dict

    return [part_to_dict(part) for part in parts]


def growing(strategy: Any, when: Any = None, whether: Any = None) -> dict[str, Setting]:
    """A strategy, its trigger and its acceptance policy as the plain data of an arm."""
    from structure_net.evolution.serialising import part_to_dict

    parts = {"strategy": strategy, "when": when, "whether": whether}
    return {name: part_to_dict(part) for name, part in parts.items() if part is not None}


def grown(hidden: Sequence[int], analyzer: Any, strategy: Any, when: Any) -> dict[str, Setting]:
    """The settings of an arm whose network is born so wide, and grown by one strategy.

    Args:
        hidden: The units of its hidden layers at birth.
        analyzer: What the strategy reads.
        strategy: What proposes growth.
        when: Its trigger.
    """
    return {
        "hidden": list(hidden),
        "analyzers": described(analyzer),
        "strategies": [growing(strategy, when)],
    }


def _loss(data: Dataset) -> Any:
    from torch.nn import functional as F

    return F.cross_entropy if data.task == "classification" else F.mse_loss


def _optimizer(settings: Mapping[str, Any]) -> Any:
    """The optimizer's name, or what makes an AdamW of a given weight decay.

    Raises:
        HypothesisError: Another optimizer is to have a weight decay.
    """
    check_decay(settings)
    decay = settings["weight_decay"]
    if decay is None:
        return settings["optimizer"]
    from torch.optim import AdamW

    return lambda parameters, rate: AdamW(parameters, lr=rate, weight_decay=decay)


def _rates(said: Sequence[Mapping[str, Any]]) -> UnifiedAdaptiveLearning | None:
    """The rules of an arm for learning rates; None without any.

    Raises:
        HypothesisError: There is no rule of that kind.
    """
    from structure_net.evolution import adaptive_learning_rates as known

    rules = []
    for one in said:
        arguments = dict(one)
        kind = getattr(known, str(arguments.pop("kind", None)), None)
        if not (isinstance(kind, type) and issubclass(kind, known.RateRule)):
            raise HypothesisError(
                f"A rule for learning rates needs a kind, such as 'AgeBasedRates'; got {one!r}."
            )
        rules.append(kind(**arguments))
    return known.UnifiedAdaptiveLearning(*rules) if rules else None


def _curves(evolved: NetworkContext) -> dict[str, Sequence[float]]:
    curves: dict[str, Sequence[float]] = {}
    for name in CURVES:
        if series := evolved.history.series(name):
            curves[name] = tuple(series)
    for name in ("parameters", "connections"):
        curves[name] = tuple(float(getattr(record, name)) for record in evolved.history)
    return curves


def _events(evolved: NetworkContext) -> list[tuple[float, str]]:
    found = []
    for event in evolved.journal.events("grew"):
        found.append((float(event.detail["epoch"]), event.component))
    return found
