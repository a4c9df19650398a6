from __future__ import annotations

import json
from collections.abc import Sequence

import pytest

from structure_net.errors import MissingAnalysisError, StructureNetError
from structure_net.evolution import (
    All,
    Any,
    Cooldown,
    EfficiencyDrop,
    EpochRecord,
    EveryNEpochs,
    EveryNSteps,
    MaxEvents,
    MaxParameters,
    MetricAbove,
    MetricBelow,
    Not,
    Plateau,
    Progress,
    TrainingHistory,
    Trigger,
    part_from_dict,
    part_to_dict,
)
from structure_net.evolution.triggers import efficiency, smoothed

EVERY = [
    Plateau(2, 0.1, "train_loss", "max"),
    Cooldown(3, 5),
    EveryNSteps(7, min_samples=9),
    EveryNEpochs(2),
    MaxEvents(3),
    MaxParameters(1000),
    EfficiencyDrop(0.7, 4),
    MetricAbove("train_loss", 0.5),
    MetricBelow("train_loss", 0.5),
    All(EveryNEpochs(2), Not(MetricAbove("x", 1.0))),
    Any(EveryNSteps(7), Plateau()),
    Not(EveryNEpochs(2)),
]


def after(losses: Sequence[float], *, growth_epoch: int = 0, step: int = 0) -> Progress:
    records = [
        EpochRecord(n, 0, n, {"validation_loss": loss}, 0, 0) for n, loss in enumerate(losses, 1)
    ]
    return Progress(TrainingHistory(records), step, growth_epoch)


@pytest.mark.parametrize(
    ("losses", "due"),
    [
        ([], False),
        ([1.0], False),
        ([1.0, 0.9, 0.8, 0.7], False),
        ([1.0, 1.0, 1.0], True),
        ([1.0, 1.2, 0.8, 0.85], False),
        ([1.0, 1.2, 0.8, 0.85, 0.75], True),
        ([1.0, 0.95, 0.92], True),
        ([1.0, float("nan"), float("nan")], True),
    ],
)
def test_a_plateau_is_patience_epochs_without_improvement(losses: list[float], due: bool) -> None:
    assert (Plateau(patience=2, min_delta=0.1).due(after(losses)) is not None) == due


def test_a_plateau_counts_from_the_last_growth() -> None:
    losses = [1.0, 1.0, 1.0, 1.0]
    assert Plateau(patience=3).due(after(losses)) is not None
    assert Plateau(patience=3).due(after(losses, growth_epoch=1)) is None


def test_a_plateau_of_a_growing_metric_is_the_mirror_image() -> None:
    rising, flat = after([0.1, 0.2, 0.3]), after([0.3, 0.2, 0.3])
    trigger = Plateau(patience=2, mode="max")
    assert trigger.due(rising) is None
    assert trigger.due(flat) is not None


def test_every_n_counts_from_birth_and_never_fires_at_zero() -> None:
    fired = [n for n in range(10) if EveryNSteps(3).due(after([], step=n))]
    assert fired == [3, 6, 9]
    fired = [n for n in range(7) if EveryNEpochs(2).due(after([1.0] * n))]
    assert fired == [2, 4, 6]


def test_a_cooldown_waits_for_epochs_and_for_steps() -> None:
    trigger = Cooldown(epochs=2, steps=10)
    assert trigger.due(after([1.0, 1.0, 1.0], growth_epoch=2, step=50)) is None
    assert trigger.due(after([1.0, 1.0, 1.0], growth_epoch=1, step=9)) is None
    assert trigger.due(after([1.0, 1.0, 1.0], growth_epoch=1, step=10)) is not None


def test_thresholds_read_the_newest_epoch_and_are_silent_before_the_first() -> None:
    assert MetricBelow("validation_loss", 0.5).due(after([1.0, 0.4])) is not None
    assert MetricAbove("validation_loss", 0.5).due(after([1.0, 0.4])) is None
    assert MetricAbove("validation_loss", 0.5).due(after([])) is None


@pytest.mark.parametrize(
    "trigger",
    [Plateau(metric="val_los"), MetricAbove("val_los", 0.5), Not(MetricBelow("val_los", 0.5))],
)
def test_a_metric_that_no_epoch_measured_is_an_error_and_not_silence(trigger: Trigger) -> None:
    assert trigger.due(after([])) in (None, f"not {getattr(trigger, 'trigger', '')}")
    with pytest.raises(MissingAnalysisError, match=r"'val_los'.*there is: validation_loss"):
        trigger.due(after([1.0]))


def test_a_metric_that_is_not_measured_every_epoch_is_none_where_it_is_absent() -> None:
    records = [
        EpochRecord(1, 0, 1, {"validation_loss": 1.0}, 0, 0),
        EpochRecord(2, 0, 2, {"train_loss": 1.0}, 0, 0),
    ]
    progress = Progress(TrainingHistory(records))
    assert MetricAbove("validation_loss", 0.5).due(progress) is None
    assert Plateau(patience=1).due(progress) is None


def test_combinations_follow_logic_and_say_all_their_reasons() -> None:
    yes, no = Cooldown(), MetricAbove("validation_loss", 2.0)
    progress = after([1.0])
    assert All(yes, yes).due(progress) == " and ".join([str(yes.due(progress))] * 2)
    assert All(yes, no).due(progress) is None
    assert Any(no, yes).due(progress) is not None
    assert Any(no, no).due(progress) is None
    assert Not(no).due(progress) is not None
    assert Not(yes).due(progress) is None
    assert (yes & ~no) == All(yes, Not(no))
    assert (no | yes) == Any(no, yes)


def test_step_triggers_are_found_within_combinations() -> None:
    assert All(Plateau(), EveryNSteps(5)).in_steps
    assert Not(Any(Plateau(), EveryNSteps(5))).in_steps
    assert not All(Plateau(), Cooldown(steps=5)).in_steps


@pytest.mark.parametrize("trigger", EVERY, ids=lambda trigger: type(trigger).__name__)
def test_a_trigger_survives_json(trigger: Trigger) -> None:
    assert part_from_dict(json.loads(json.dumps(part_to_dict(trigger)))) == trigger


@pytest.mark.parametrize(
    ("stored", "message"),
    [
        ({"kind": "Sometimes"}, "kind must be one of All, Always, Any.*got 'Sometimes'"),
        ({"kind": "EveryNEpochs"}, "must have the fields n; got none"),
        ({"kind": "EveryNEpochs", "n": 0}, "n must be 1 or more; got 0"),
        ({"kind": "All", "triggers": []}, "at least one trigger"),
        ({"kind": "Not", "trigger": 3}, "must be a Trigger; got 3"),
    ],
)
def test_a_damaged_trigger_is_refused(stored: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        part_from_dict(stored)


class Mine(Trigger):
    """A trigger of one's own."""

    def __init__(self, level: float) -> None:
        self.level = level

    def due(self, progress: Progress) -> str | None:
        return None


def test_a_trigger_of_ones_own_is_read_where_its_class_is_named() -> None:
    stored = json.loads(json.dumps(part_to_dict(All(Mine(0.5), Plateau()))))
    with pytest.raises(ValueError, match="got 'Mine'"):
        part_from_dict(stored)
    again = part_from_dict(stored, known=[Mine])
    assert again.triggers[0].level == 0.5
    assert again.triggers[1] == Plateau()


def test_what_a_part_does_not_keep_or_json_cannot_hold_is_refused() -> None:
    class Forgetful(Mine):
        def __init__(self, level: float) -> None:
            self.other = level

    with pytest.raises(TypeError, match="does not keep its argument 'level'"):
        part_to_dict(Forgetful(1.0))
    with pytest.raises(TypeError, match=r"Mine.level is <function.*cannot be stored"):
        part_to_dict(Mine(lambda: 0.5))  # type: ignore[arg-type] # the mistake
    with pytest.raises(TypeError, match="can be stored; got 3"):
        part_to_dict(3)  # type: ignore[arg-type] # the mistake


def test_samples_since_the_last_growth_hold_a_step_trigger_back() -> None:
    trigger = EveryNSteps(10, min_samples=100)
    empty = TrainingHistory()
    assert trigger.due(Progress(empty, 10, samples=99)) is None
    assert trigger.due(Progress(empty, 11, samples=500)) is None
    assert trigger.due(Progress(empty, 20, samples=100)) is not None
    with pytest.raises(StructureNetError, match=r"after_step\(loss, samples=len\(inputs\)\)"):
        trigger.due(Progress(empty, 20))


def test_limits_are_due_below_them_alone() -> None:
    empty = TrainingHistory()
    assert MaxEvents(2).due(Progress(empty, growths=1)) == "growth 2 of at most 2"
    assert MaxEvents(2).due(Progress(empty, growths=2)) is None
    assert MaxParameters(1000).due(Progress(empty, parameters=999)) is not None
    assert MaxParameters(1000).due(Progress(empty, parameters=1000)) is None


def test_efficiency_is_performance_for_each_thousand_parameters() -> None:
    assert efficiency(0.5, 1000) == 1.0
    with pytest.raises(ValueError, match="positive loss; got 0"):
        efficiency(0.0, 10)


def losses(*values: float) -> Progress:
    records = [
        EpochRecord(n, 0, n, {"train_loss": loss}, 1000, 0) for n, loss in enumerate(values, 1)
    ]
    return Progress(TrainingHistory(records))


@pytest.mark.parametrize("none", [0.0, -1.0, float("nan")])
def test_an_epoch_without_efficiency_is_passed_over(none: float) -> None:
    trigger = EfficiencyDrop(0.8, window=2)
    assert trigger.due(losses(0.5, 0.5, none)) is None
    assert trigger.due(losses(0.5, 0.5, 2.0, none)) is None
    reason = "efficiency 0.25 fell below 80% of its mean 1"
    assert trigger.due(losses(0.5, none, 0.5, 2.0)) == reason


def test_a_loss_that_was_no_number_once_is_no_plateau() -> None:
    nan, improving = float("nan"), (1.0, 0.9, 0.8, 0.7)
    trigger = Plateau(2, metric="train_loss")
    assert trigger.due(losses(nan, *improving)) is None
    assert trigger.due(losses(1.0, nan, *improving[1:])) is None
    assert trigger.due(losses(1.0, nan, nan)) is not None
    smooth = Plateau(2, metric="train_loss", smoothing=0.5)
    assert smooth.due(losses(nan, *improving)) is None
    assert smoothed([nan, 4.0, 2.0], 0.5)[1:] == [4.0, 3.0]


def test_a_drop_of_efficiency_is_against_the_mean_of_the_window() -> None:
    def at(parameters: Sequence[int]) -> Progress:
        records = [
            EpochRecord(n, 0, n, {"train_loss": 0.5}, count, 0)
            for n, count in enumerate(parameters, 1)
        ]
        return Progress(TrainingHistory(records))

    trigger = EfficiencyDrop(0.8, window=2)
    # 2 / (1 + n / 1000): 2, 2, then 1.6 at 250 (not below 80 %) and 1.599 at 251.
    assert trigger.due(at([0, 0, 250])) is None
    assert trigger.due(at([0, 0, 251])) is not None
    assert trigger.due(at([0, 251])) is None


def test_smoothing_is_the_exponential_moving_average() -> None:
    assert smoothed([1.0, 0.0, 0.0], 0.5) == [1.0, 0.5, 0.25]
    assert smoothed([3.0, 1.0], 0.0) == [3.0, 1.0]
    smooth = MetricBelow("validation_loss", 0.5, smoothing=0.9)
    assert smooth.due(after([1.0, 0.4])) is None
    assert MetricBelow("validation_loss", 0.5).due(after([1.0, 0.4])) is not None


@pytest.mark.parametrize(
    "make",
    [
        lambda: Plateau(patience=0),
        lambda: Plateau(min_delta=-1.0),
        lambda: Plateau(mode="up"),  # type: ignore[arg-type]
        lambda: Cooldown(epochs=-1),
        lambda: EveryNEpochs(0),
        lambda: MaxEvents(0),
        lambda: MaxParameters(0),
        lambda: EfficiencyDrop(1.5),
        lambda: Plateau(smoothing=1.0),
        All,
    ],
)
def test_impossible_triggers_are_refused(make: object) -> None:
    with pytest.raises(ValueError, match="got"):
        make()  # type: ignore[operator]


@pytest.mark.parametrize("count", [1.5, "2"])
def test_a_count_that_is_not_whole_is_refused(count: object) -> None:
    for make in (EveryNEpochs, EveryNSteps, Plateau, Cooldown):
        with pytest.raises(TypeError, match="must be a whole number; got"):
            make(count)  # type: ignore[operator]
