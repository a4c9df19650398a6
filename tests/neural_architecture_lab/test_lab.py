from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from neural_architecture_lab import (
    Arm,
    Hypothesis,
    HypothesisResult,
    LabConfig,
    LabError,
    NeuralArchitectureLab,
    Prediction,
    Stopping,
    Trial,
    Verdict,
)
from neural_architecture_lab.choosing import Chosen, choose_runner
from neural_architecture_lab.configuration import usable_device
from neural_architecture_lab.errors import HypothesisError, StoreError
from neural_architecture_lab.experiments import completed
from neural_architecture_lab.reviewing import Progress, Review, progress_of, review
from neural_architecture_lab.runners import SerialRunner
from neural_architecture_lab.runners.protocol import Limits, Result

CALLS: list[str] = []


def experiment(trial: Trial, *, device: str) -> dict[str, float]:
    """Accuracy that a seed shifts, plus what the arm says."""
    CALLS.append(trial.id)
    if trial.settings.get("fails_at") == trial.seed:
        raise RuntimeError("as told")
    noise = torch.rand(2, generator=torch.Generator().manual_seed(trial.seed)).tolist()
    own = noise[1] if trial.arm == "b" else 0.0
    return {"accuracy": noise[0] + float(str(trial.settings["bonus"])) + 0.1 * own}


def hypothesis(bonus: float = 1.0, **changes: Any) -> Hypothesis:
    said: dict[str, Any] = {
        "name": "h",
        "category": "training",
        "question": "?",
        "prediction": "!",
        "experiment": experiment,
        "arms": (Arm("a", {"bonus": 0.0}, control=True), Arm("b", {"bonus": bonus})),
        "predictions": (Prediction("accuracy", "higher", 0.2),),
        "seeds": 6,
    }
    return Hypothesis(**{**said, **changes})


@pytest.fixture
def lab(tmp_path: Path) -> NeuralArchitectureLab:
    CALLS.clear()
    return NeuralArchitectureLab(LabConfig(results_dir=tmp_path))


def test_a_hypothesis_goes_in_and_a_verdict_comes_out(lab: NeuralArchitectureLab) -> None:
    result = lab.run_hypothesis_test(lab.register_hypothesis(hypothesis()))
    assert isinstance(result, HypothesisResult)
    assert result.verdict is Verdict.SUPPORTED
    assert result.evidence[0].mean is not None
    assert result.evidence[0].mean.value == pytest.approx(1.05, abs=0.05)
    assert str(result).startswith("h: SUPPORTED after 6 of 6 seeds; a difference is shown")
    assert len(CALLS) == 12


@pytest.mark.parametrize(
    ("bonus", "verdict"),
    [(-1.0, Verdict.REFUTED), (-0.05, Verdict.EQUIVALENT)],
)
def test_the_verdict_follows_the_numbers(
    lab: NeuralArchitectureLab, bonus: float, verdict: Verdict
) -> None:
    lab.register_hypothesis(hypothesis(bonus))
    assert lab.run_hypothesis_test("h").verdict is verdict


def test_nothing_is_run_twice(lab: NeuralArchitectureLab, tmp_path: Path) -> None:
    lab.register_hypothesis(hypothesis())
    first = lab.run_hypothesis_test("h")
    again = NeuralArchitectureLab(LabConfig(results_dir=tmp_path))
    again.register_hypothesis(hypothesis())
    second = again.run_hypothesis_test("h")
    assert len(CALLS) == 12
    assert second.review.evidence == first.review.evidence
    assert second.deviations == ()


def test_what_was_interrupted_goes_on_where_it_was(lab: NeuralArchitectureLab) -> None:
    def stop(result: Result, ended: int, of: int) -> None:
        assert of == 12
        if ended == 5:
            raise KeyboardInterrupt

    lab.register_hypothesis(hypothesis())
    with pytest.raises(KeyboardInterrupt):
        lab.run_hypothesis_test("h", on_result=stop)
    assert len(CALLS) == 5
    frozen = lab.archive.hypotheses()["h"]
    assert progress_of(lab.archive, frozen) == Progress(2, 5, 0, pytest.approx(0, abs=5))
    assert lab.run_hypothesis_test("h").verdict is Verdict.SUPPORTED
    assert len(CALLS) == len(set(CALLS)) == 12


def test_a_clear_answer_ends_the_run_early(lab: NeuralArchitectureLab) -> None:
    lab.register_hypothesis(hypothesis(seeds=20, stopping=Stopping((5, 10, 20), "pocock")))
    result = lab.run_hypothesis_test("h")
    assert result.verdict is Verdict.SUPPORTED
    assert result.review.stopped_early
    assert len(CALLS) == 10
    assert lab.run_hypothesis_test("h").review.seeds == 5


def test_a_difference_that_leaves_the_question_open_does_not_end_the_run(
    lab: NeuralArchitectureLab,
) -> None:
    # Seeds differ less than the margin and surely differ: that they are alike needs all seeds.
    lab.register_hypothesis(hypothesis(0.05, seeds=20, stopping=Stopping((5, 10, 20), "pocock")))
    result = lab.run_hypothesis_test("h")
    assert result.evidence[0].adjusted < 0.01
    assert (result.verdict, result.review.seeds) == (Verdict.EQUIVALENT, 20)


def test_what_an_arm_was_told_before_it_was_changed_does_not_count(
    lab: NeuralArchitectureLab, tmp_path: Path
) -> None:
    lab.register_hypothesis(hypothesis(1.0))
    assert lab.run_hypothesis_test("h").verdict is Verdict.SUPPORTED
    changed = NeuralArchitectureLab(LabConfig(results_dir=tmp_path))
    changed.register_hypothesis(hypothesis(-1.0))
    result = changed.run_hypothesis_test("h")
    assert result.verdict is Verdict.REFUTED
    assert result.deviations == ("arms.b.bonus was 1.0 and is -1.0",)
    assert len(CALLS) == 12 + 6  # the other arm's trials are as good as before
    assert result.review.trials == 12


def test_a_failed_trial_is_a_record_and_the_others_go_on(lab: NeuralArchitectureLab) -> None:
    arms = (Arm("a", {"bonus": 0.0}, control=True), Arm("b", {"bonus": 1.0, "fails_at": 3}))
    lab.register_hypothesis(hypothesis(arms=arms))
    result = lab.run_hypothesis_test("h")
    assert (result.review.failed, result.review.trials) == (1, 12)
    assert result.evidence[0].comparison.left_out == (3,)
    assert result.verdict is Verdict.SUPPORTED
    (failed,) = [trial for trial in lab.archive.trials("h") if trial.status == "failed"]
    assert "RuntimeError: as told" in failed.error
    assert str(result).endswith(
        "; 1 of 12 trials failed, first h/b/0/3 failed: RuntimeError: as told"
    )


def test_a_batch_is_judged_together(lab: NeuralArchitectureLab) -> None:
    for place in range(3):
        lab.register_hypothesis(hypothesis(name=f"h{place}"))
    results = lab.run_all()
    assert {result.review.family for result in results.values()} == {3}
    alone = review(lab.archive, ["h0"])["h0"]
    assert isinstance(alone, Review)
    together = results["h0"].evidence[0].adjusted
    assert together == pytest.approx(3 * alone.evidence[0].adjusted)


def test_a_metric_that_no_trial_returns_stops_the_run_at_once(
    lab: NeuralArchitectureLab, tmp_path: Path
) -> None:
    lab.register_hypothesis(hypothesis(predictions=[Prediction("acuracy", "higher")]))
    with pytest.raises(HypothesisError, match=r"'acuracy', but .* returned accuracy only. Did you"):
        lab.run_hypothesis_test("h")
    assert len(CALLS) == 1
    mended = NeuralArchitectureLab(LabConfig(results_dir=tmp_path))
    mended.register_hypothesis(hypothesis())
    assert mended.run_hypothesis_test("h").review.trials == len(CALLS) == 12


def test_only_a_hypothesis_can_be_registered(lab: NeuralArchitectureLab) -> None:
    with pytest.raises(HypothesisError, match="can be registered; got 'growth'"):
        lab.register_hypothesis("growth")  # type: ignore[arg-type]


def test_a_changed_hypothesis_says_what_changed(lab: NeuralArchitectureLab, tmp_path: Path) -> None:
    lab.register_hypothesis(hypothesis())
    lab.run_hypothesis_test("h")
    later = NeuralArchitectureLab(LabConfig(results_dir=tmp_path))
    later.register_hypothesis(hypothesis(alpha=0.01))
    result = later.run_hypothesis_test("h")
    assert result.deviations == ("alpha was 0.05 and is 0.01",)
    assert lab.archive.evidence("h")[-1].changed == result.deviations


def test_cuda_without_cuda_is_the_cpu_with_one_warning(tmp_path: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is CUDA here")
    with pytest.warns(UserWarning, match="finds no CUDA device here: the CPU is used") as told:
        lab = NeuralArchitectureLab(LabConfig(results_dir=tmp_path, device="cuda"))
    assert (lab.device, len(told)) == ("cpu", 1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert usable_device("cpu") == "cpu"


def test_names_and_numbers_are_checked(lab: NeuralArchitectureLab) -> None:
    lab.register_hypothesis(hypothesis())
    lab.register_hypothesis(hypothesis())
    with pytest.raises(HypothesisError, match="Another hypothesis is registered as 'h'"):
        lab.register_hypothesis(hypothesis(alpha=0.01))
    with pytest.raises(LabError, match="registered as 'x'; registered: h"):
        lab.run_hypothesis_test("x")
    with pytest.raises(StoreError, match="no results of 'h'; there are of none"):
        review(lab.archive, ["h"])
    assert list(lab.hypotheses) == ["h"]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LabConfig(max_parallel_experiments=0), "a whole number from 1 on; got 0"),
        (lambda: LabConfig(runner="magic"), "runner must be one of auto, serial"),  # type: ignore[arg-type]
        (lambda: LabConfig(results_dir=""), "results_dir must name a folder; got ''"),
        (lambda: Limits(seconds=0), "seconds must be a number above 0, or None; got 0"),
        (lambda: Limits(memory=-1), "memory must be a number above 0, or None; got -1"),
        (lambda: Limits(retries=-1), "retries must be a whole number from 0 on; got -1"),
        (lambda: usable_device("gpu9"), "device must be one that torch knows"),
    ],
)
def test_a_configuration_that_cannot_be_meant_is_refused(
    make: Callable[[], object], message: str
) -> None:
    with pytest.raises(LabError, match=message):
        make()


def test_a_runner_that_was_asked_for_is_used(tmp_path: Path) -> None:
    runner = SerialRunner()
    config = LabConfig(results_dir=tmp_path, runner=runner)
    lab = NeuralArchitectureLab(config)
    lab.register_hypothesis(hypothesis())
    chosen = choose_runner(config, lab.plan("h"))
    assert isinstance(chosen, Chosen)
    assert (chosen.runner, chosen.why) == (runner, "as asked")
    assert lab.run_hypothesis_test("h").runner == "serial"


def test_a_complete_hypothesis_stays_as_it_is() -> None:
    made = hypothesis()
    assert completed(made) is made
    with pytest.raises(HypothesisError, match="has no arms"):
        completed(Hypothesis("x", "training", "?", "!", experiment=experiment))  # type: ignore[arg-type]
