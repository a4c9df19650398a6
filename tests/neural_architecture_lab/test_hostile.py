"""Experiments and hypotheses that nobody should write: the lab says what is wrong, and goes on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from neural_architecture_lab import (
    Arm,
    Hypothesis,
    LabConfig,
    LabError,
    NeuralArchitectureLab,
    Outcome,
    Prediction,
    Range,
    Stopping,
    Trial,
    Verdict,
)
from neural_architecture_lab.levels import checked_factors, is_number
from neural_architecture_lab.runners.protocol import headline
from neural_architecture_lab.trials import design


class WithoutWords:
    def __repr__(self) -> str:
        raise RuntimeError("no repr")


def _raise(error: BaseException) -> None:
    raise error


RETURNED: dict[str, Callable[[Trial, float], Any]] = {
    "nothing": lambda trial, usual: None,
    "text": lambda trial, usual: "0.5",
    "nested": lambda trial, usual: {"accuracy": {"x": 1}},
    "complex": lambda trial, usual: {"accuracy": 1j},
    "too large": lambda trial, usual: {"accuracy": 10**400},
    "no repr": lambda trial, usual: WithoutWords(),
    "notes that are no data": lambda trial, usual: Outcome({"accuracy": 1.0}, notes={"x": set()}),
    "half an event": lambda trial, usual: Outcome({"accuracy": 1.0}, events=[(1,)]),  # type: ignore[list-item]
    "no curve": lambda trial, usual: Outcome({"accuracy": 1.0}, {"c": None}),  # type: ignore[dict-item]
    "generator's end": lambda trial, usual: _raise(GeneratorExit()),
    "own kind": lambda trial, usual: _raise(BaseException("odd")),
    "without bottom": lambda trial, usual: _without_bottom(trial),
    "infinite": lambda trial, usual: {"accuracy": float("inf")},
    "another metric now and then": lambda trial, usual: {"ab"[trial.seed % 2]: 1.0},
}
FINE: dict[str, tuple[Callable[[Trial, float], Any], Verdict]] = {
    "tensor with a gradient": (lambda trial, usual: {"accuracy": _grown(usual)}, Verdict.SUPPORTED),
    "negative zero": (lambda trial, usual: {"accuracy": -0.0}, Verdict.REFUTED),
    "truth": (lambda trial, usual: {"accuracy": True}, Verdict.SUPPORTED),
    "keys of their own": (
        lambda trial, usual: {"accuracy": usual + 0.1, f"only {trial.seed}": 1.0},
        Verdict.SUPPORTED,
    ),
    "the same": (lambda trial, usual: {"accuracy": usual}, Verdict.EQUIVALENT),
    "names that are no words": (
        lambda trial, usual: {"accuracy": usual, "": 1.0, "a\nb|c": 2.0, "\ud800": 3.0},
        Verdict.EQUIVALENT,
    ),
    "written into its trial": (
        lambda trial, usual: {"accuracy": usual + _written(trial)},
        Verdict.EQUIVALENT,
    ),
}


def _grown(usual: float) -> Any:
    import torch

    return torch.tensor(usual + 0.1, dtype=torch.float64, requires_grad=True)


def _without_bottom(trial: Trial) -> Any:
    return _without_bottom(trial)


def _written(trial: Trial) -> float:
    trial.settings["kind"] = "x"  # type: ignore[index]
    trial.settings["more"].append(1)  # type: ignore[union-attr]
    return 0.0


def experiment(trial: Trial, *, device: str) -> Any:
    usual = 0.5 + 0.01 * (trial.seed * 7 % 5)
    if trial.arm == "a":
        return {"accuracy": usual}
    kind = str(trial.settings["kind"])
    made = RETURNED[kind] if kind in RETURNED else FINE[kind][0]
    return made(trial, usual)


def hypothesis(**changes: Any) -> Hypothesis:
    said: dict[str, Any] = {
        "name": "Hostile",
        "category": "training",
        "question": "?",
        "prediction": "!",
        "experiment": experiment,
        "arms": (Arm("a", control=True), Arm("b", {"kind": "the same", "more": [0]})),
        "predictions": (Prediction("accuracy", "higher", 0.01),),
        "seeds": 5,
    }
    return Hypothesis(**{**said, **changes})


def lab_after(kind: str, folder: Path) -> NeuralArchitectureLab:
    lab = NeuralArchitectureLab(LabConfig(results_dir=folder))
    arms = (Arm("a", control=True), Arm("b", {"kind": kind, "more": [0]}))
    lab.run_hypothesis_test(lab.register_hypothesis(hypothesis(arms=arms)))
    return lab


@pytest.mark.parametrize("kind", RETURNED)
def test_what_cannot_be_counted_is_a_record_and_nothing_is_claimed(
    kind: str, tmp_path: Path
) -> None:
    lab = lab_after(kind, tmp_path)
    trials = [one for one in lab.archive.trials("hostile") if one.arm == "b"]
    assert len(trials) == 5
    for one in trials:
        assert one.status == "finished" or headline(one.error)
    assert lab.run_hypothesis_test("hostile").verdict is Verdict.INCONCLUSIVE
    assert len(list(lab.archive.trials("hostile"))) == 10
    assert "INCONCLUSIVE" in str(lab.generate_report())
    assert not [one for one in lab.extract_insights() if "hostile/b" in str(one)]


@pytest.mark.parametrize("kind", FINE)
def test_what_can_be_counted_is_counted(kind: str, tmp_path: Path) -> None:
    lab = lab_after(kind, tmp_path)
    result = lab.run_hypothesis_test("hostile")
    assert result.verdict is FINE[kind][1]
    assert (result.review.failed, result.review.trials) == (0, 10)
    assert {one.settings.get("kind") for one in lab.archive.trials("hostile")} == {None, kind}
    assert str(lab.generate_report())


def itself() -> list[Any]:
    held: list[Any] = []
    held.append(held)
    return held


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"alpha": "x"}, "alpha must lie between 0 and 0.5; got 'x'"),
        ({"alpha": 0.9}, "alpha must lie between 0 and 0.5; got 0.9"),
        ({"power": None}, "power must lie between 0 and 1; got None"),
        ({"assumed_effect": "large"}, "assumed_effect must be a number"),
        ({"assumed_effect": 1e-9, "seeds": None}, "No number of seeds serves 'Hostile'"),
        ({"seeds": 10**9}, "would have 2,000,000,000 trials"),
        (
            {"factors": {f"f{place}": list(range(10)) for place in range(9)}},
            "has 1,000,000,000 points",
        ),
        ({"factors": {"f": [1]}}, "needs two levels or more"),
        ({"factors": {"f": [1, 2]}, "layout": "random", "points": "5"}, "needs points=.* got '5'"),
    ],
    ids=str,
)
def test_numbers_that_cannot_be_meant_are_refused_before_anything_runs(
    changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(LabError, match=words):
        design(hypothesis(**changes))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Stopping((3, 2)), r"ascending; got \(3, 2\)"),
        (lambda: Stopping(("x",)), "looks must be numbers of seeds"),  # type: ignore[arg-type]
        (lambda: Stopping(5), "looks must be numbers of seeds .* got 5"),  # type: ignore[arg-type]
        (lambda: Stopping((3,), "all"), "spending must be"),  # type: ignore[arg-type]
        (lambda: Range("a", 1), "must go up from low to high.* got 'a' to 1"),  # type: ignore[arg-type]
        (lambda: Arm("b", {"x": itself()}), "got what holds itself"),
        (lambda: Arm("b", {"x": b"ab"}), "must be plain data"),
        (lambda: Arm("b", {1: 2, "1": 3}), "must differ in their names as texts"),  # type: ignore[dict-item]
        (lambda: checked_factors({}, "spiral", None), "layout must be 'grid'"),
    ],
)
def test_parts_that_cannot_be_meant_are_refused(make: Callable[[], object], words: str) -> None:
    with pytest.raises(LabError, match=words):
        make()
    assert is_number(3)
    assert not is_number(True)


def test_many_arms_are_run_and_told_of(tmp_path: Path) -> None:
    arms = [Arm(f"a{place}", {"kind": "the same"}, control=not place) for place in range(60)]
    predictions = [Prediction("accuracy", "same", 0.01, arm=f"a{place}") for place in (1, 59)]
    lab = NeuralArchitectureLab(LabConfig(results_dir=tmp_path))
    key = lab.register_hypothesis(hypothesis(arms=arms, predictions=predictions, seeds=2))
    assert lab.run_hypothesis_test(key).review.trials == 120
    assert "a59" in str(lab.generate_report())
