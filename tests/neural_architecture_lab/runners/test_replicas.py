from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial

import pytest

from neural_architecture_lab import Arm, Hypothesis, LabConfig, NeuralArchitectureLab, Prediction
from neural_architecture_lab.choosing import choose_runner
from neural_architecture_lab.errors import PlanError, RunnerError
from neural_architecture_lab.outcomes import Outcome
from neural_architecture_lab.replicas import ReplicaExperiment, ReplicaPlan, Trained
from neural_architecture_lab.replicas.experiment import brought_back, plan_of
from neural_architecture_lab.runners import (
    Job,
    Limits,
    ProcessRunner,
    ReplicaRunner,
    Result,
    Runner,
    SerialRunner,
)
from neural_architecture_lab.runners.replicas import not_described
from neural_architecture_lab.trials import FreshSeeds, Trial, code_of, design
from structure_net.core.sparsity import SparsePattern

PLAN = ReplicaPlan((64, 24, 10), epochs=2, batch_size=128, learning_rate=0.01)
EXPERIMENT = ReplicaExperiment(PLAN)
DOUBLE = ReplicaExperiment(replace(PLAN, dtype="float64"))
TIMED = "seconds"


def plan_by_width(trial: Trial) -> ReplicaPlan:
    return replace(PLAN, sizes=(64, 8 + trial.seed, 10), seed=trial.seed)


def no_plan(trial: Trial) -> ReplicaPlan:
    if trial.seed == 1:
        raise KeyError("width")
    return PLAN if trial.seed else {"sizes": (64, 10)}  # type: ignore[return-value]


def plan_of_width(trial: Trial, width: int) -> ReplicaPlan:
    return replace(PLAN, sizes=(64, width, 10), seed=trial.seed)


def not_described_experiment(trial: Trial, *, device: str) -> dict[str, float]:
    return {"accuracy": 1.0}


@dataclass(frozen=True)
class Rewarded(ReplicaExperiment):
    bonus: float


class OwnWords(ReplicaExperiment):
    def brought(self, trial: Trial, trained: Trained) -> Outcome:
        return Outcome({"first": float(trained.weights[0][0, 0]), "seed": trial.seed})


def job(seed: int, experiment: ReplicaExperiment = EXPERIMENT, **settings: object) -> Job:
    return Job(Trial("h", "a", seed, settings), experiment)  # type: ignore[arg-type]


def numbers(results: Iterator[Result]) -> dict[int, dict[str, float]]:
    found = {}
    for result in results:
        assert result.outcome is not None, result.error
        metrics = {k: v for k, v in result.outcome.metrics.items() if k != TIMED}
        found[result.trial.seed] = metrics
    return found


@pytest.mark.parametrize("density", [1.0, 0.05])
def test_float32_is_the_same_bit_for_bit_at_any_number_of_replicas_and_threads(
    density: float,
) -> None:
    jobs = [job(seed, density=density) for seed in range(6)]
    alone = {k: v for one in jobs for k, v in numbers(ReplicaRunner().run([one])).items()}
    assert numbers(ReplicaRunner(1).run(jobs)) == alone
    assert numbers(ReplicaRunner(3).run(jobs)) == alone


@pytest.mark.parametrize("kind", [SerialRunner, ProcessRunner])
def test_float64_is_what_other_runners_say(kind: type[Runner]) -> None:
    jobs = [job(seed, DOUBLE, density=0.1) for seed in range(2)]
    expected, found = numbers(kind().run(jobs)), numbers(ReplicaRunner(2).run(jobs))
    assert found.keys() == expected.keys()
    for seed, metrics in expected.items():
        assert found[seed] == pytest.approx(metrics, rel=0, abs=1e-10)


def test_a_replica_that_fails_is_a_record_and_the_others_go_on() -> None:
    jobs = [job(0), job(1, widht=3), job(2, dataset="no such"), job(3, learning_rate=1e300), job(4)]
    results = {result.trial.seed: result for result in ReplicaRunner(2).run(jobs)}
    assert sorted(results) == [0, 1, 2, 3, 4]
    failed = {seed for seed, result in results.items() if result.status == "failed"}
    assert failed == {1, 2}
    assert "has the setting 'widht', which a plan does not know" in results[1].error
    assert "no such" in results[2].error


def test_a_replica_that_takes_too_long_is_told_apart() -> None:
    runner = ReplicaRunner(1, Limits(seconds=1e-6))
    (result,) = runner.run([job(0)])
    assert (result.status, result.outcome) == ("timed_out", None)
    assert "longer than the 1e-06 s that it may take" in result.error


def test_jobs_are_taken_as_threads_come_free_and_nothing_runs_once_nobody_listens() -> None:
    taken = []

    def jobs() -> Iterator[Job]:
        for seed in range(100):
            taken.append(seed)
            yield job(seed, epochs=100_000 if seed else 1)

    results = ReplicaRunner(1).run(jobs())
    assert next(results).trial.seed == 0
    results.close()  # type: ignore[attr-defined]
    assert len(taken) <= 3
    assert not [one for one in threading.enumerate() if one.name.startswith("replicas")]


def test_an_experiment_that_does_not_describe_its_trials_is_refused_with_the_way_out() -> None:
    plain = Job(Trial("h", "a", 0, {}), not_described_experiment)
    with pytest.raises(RunnerError, match="use runner='processes', or give the experiment"):
        list(ReplicaRunner().run([plain]))
    assert "'h/a/0/0'" in str(not_described(plain.trial))


@pytest.mark.parametrize(
    ("workers", "limits", "words"),
    [
        (0, Limits(), "workers must be a whole number from 1 on; got 0"),
        (1, Limits(memory=100), "holds none of them to a limit of memory"),
    ],
)
def test_a_runner_that_cannot_be_is_refused(workers: int, limits: Limits, words: str) -> None:
    with pytest.raises(RunnerError, match=words):
        ReplicaRunner(workers, limits)


def test_an_experiment_may_say_what_its_replicas_count_as() -> None:
    own = OwnWords(PLAN)
    (result,) = ReplicaRunner().run([job(5, own)])
    assert result.outcome is not None
    assert set(result.outcome.metrics) == {"first", "seed"}
    moved = FreshSeeds(own, 100)
    trial = Trial("h", "a", 5, {})
    plan = plan_of(moved, trial)
    assert plan is not None
    assert plan.seed == 105
    (result,) = ReplicaRunner().run([Job(trial, moved)])
    assert result.outcome is not None
    assert result.outcome.metrics["seed"] == 105
    assert callable(brought_back)


def test_plans_may_come_from_a_function_and_its_source_is_on_record() -> None:
    experiment = ReplicaExperiment(plan_by_width)
    found = numbers(ReplicaRunner().run([job(1, experiment), job(2, experiment)]))
    assert [found[seed]["connections"] for seed in (1, 2)] == [9 * 74, 10 * 74]
    assert "plan_by_width" in code_of(experiment)["described"]
    assert "sizes=(64, 24, 10)" in code_of(EXPERIMENT)["described"]
    assert code_of(EXPERIMENT)["described"] != code_of(DOUBLE)["described"]
    with pytest.raises(PlanError, match="which a plan does not know"):
        EXPERIMENT.replica(Trial("h", "a", 0, {"widht": 3}))


def test_what_a_plan_is_made_of_is_on_record() -> None:
    corners = [SparsePattern.from_pairs([(0, at)], (10, 64)) for at in (0, 0, 5)]
    for made in (
        [ReplicaExperiment(partial(plan_of_width, width=width)) for width in (8, 8, 9)],
        [ReplicaExperiment(ReplicaPlan((64, 10), patterns=[one])) for one in corners],
        [Rewarded(PLAN, bonus) for bonus in (1, 1, 2)],
    ):
        one, same, other = map(code_of, made)
        assert one == same != other


@pytest.mark.parametrize("kind", [SerialRunner, ReplicaRunner])
def test_a_trial_of_which_no_plan_is_made_is_a_record_and_the_others_go_on(
    kind: type[Runner],
) -> None:
    experiment = ReplicaExperiment(no_plan)
    chosen = choose_runner(LabConfig(), design(HYPOTHESIS), experiment)
    assert chosen.runner.name == "replicas"
    jobs = [job(seed, experiment) for seed in range(3)]
    results = {result.trial.seed: result for result in kind().run(jobs)}
    assert "must be described by a ReplicaPlan; got {'sizes'" in results[0].error
    assert "KeyError: 'width'" in results[1].error
    assert [results[seed].status for seed in range(3)] == ["failed", "failed", "finished"]


def test_a_runner_of_ones_own_is_refused_before_anything_runs() -> None:
    with pytest.raises(RunnerError, match="does not describe it"):
        choose_runner(
            LabConfig(runner=ReplicaRunner()), design(HYPOTHESIS), not_described_experiment
        )


HYPOTHESIS = Hypothesis(
    name="h",
    category="sparsity",  # type: ignore[arg-type]
    question="?",
    prediction="!",
    experiment=EXPERIMENT,
    arms=(Arm("dense", {}, control=True), Arm("sparse", {"density": 0.05})),
    predictions=(Prediction("accuracy", "lower", 0.02),),
    seeds=5,
)


def test_a_lab_trains_replicas_where_it_can_and_says_so(tmp_path: object) -> None:
    lab = NeuralArchitectureLab(LabConfig(results_dir=str(tmp_path)))
    result = lab.run_hypothesis_test(lab.register_hypothesis(HYPOTHESIS))
    assert result.runner == "replicas"
    assert result.why == (
        "the experiment describes its trials, which are trained as replicas, one at a time"
    )
    assert result.verdict.value == "supported"
    trials = list(lab.archive.trials("h"))
    assert {one.status for one in trials} == {"finished"}
    assert {one.runner for one in trials} == {"replicas"}
    assert all(len(one.curves["validation_accuracy"]) == 2 for one in trials)


def test_a_lab_takes_another_runner_where_it_must() -> None:
    laid = design(HYPOTHESIS)
    held = LabConfig(limits=Limits(memory=100))
    assert choose_runner(held, laid, EXPERIMENT).runner.name == "processes"
    assert choose_runner(LabConfig(), laid, not_described_experiment).runner.name == "serial"
    asked = LabConfig(runner="replicas", max_parallel_experiments=2)
    assert choose_runner(asked, laid, EXPERIMENT).why == "as asked"
    with pytest.raises(RunnerError, match="does not describe it"):
        choose_runner(asked, laid, not_described_experiment)


def test_stacked_replicas_are_records_too_each_with_its_share_of_the_time() -> None:
    tanh = ReplicaExperiment(replace(PLAN, activation="tanh", dtype="float64"))
    jobs = [job(0, tanh), job(1, tanh), job(2, tanh, sizes=(64, 24, 11)), job(3, EXPERIMENT)]
    results = {result.trial.seed: result for result in ReplicaRunner(2).run(jobs)}
    assert results[2].status == "failed"
    assert "end with its 10 outputs" in results[2].error
    for seed in (0, 1):
        alone = tanh(jobs[seed].trial, device="cpu")
        found = results[seed].outcome
        assert found is not None
        assert found.metrics["loss"] == pytest.approx(alone.metrics["loss"], abs=1e-10)
        assert results[seed].seconds == found.metrics["seconds"]
    late = ReplicaRunner(1, Limits(seconds=1e-6)).run(jobs[:2])
    assert [one.status for one in late] == ["timed_out", "timed_out"]
